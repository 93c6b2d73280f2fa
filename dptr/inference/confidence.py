"""Confidence at a temperature, which ``dptr.evaluation.calibration`` fits."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def apply_temperature(
    probabilities: Float[np.ndarray, "*b classes"], temperature: float
) -> Float[np.ndarray, "*b classes"]:
    """Turn softmax(logits) into softmax(logits / ``temperature``); the order of the classes stays the same.

    Args:
        probabilities: 0 to 1, summing to 1 over the classes.
        temperature: > 0; above 1 the probabilities move together, below 1 apart.
    """
    if temperature == 1:
        return probabilities
    scaled = probabilities ** (1 / temperature)
    return scaled / scaled.sum(-1, keepdims=True)
