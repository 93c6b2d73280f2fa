"""Confidence at a temperature (``dptr.evaluation.calibration`` fits it)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def tempered(probabilities: Float[np.ndarray, "*b classes"], temperature: float) -> Float[np.ndarray, "*b classes"]:
    """softmax(logits / ``temperature``), from softmax(logits). What is likeliest stays so."""
    if temperature == 1:
        return probabilities
    scaled = probabilities ** (1 / temperature)
    return scaled / scaled.sum(-1, keepdims=True)
