"""Tokens of one side of a dual encoder, brought to mean zero and deviation one.

A tower's tokens share a large constant part, another on the text side than on the image side: the modality gap (Liang
et al., NeurIPS 2022). What tells characters apart is small beside it (a fifth in a random CLIP, docs/LOG.md), and a
decoder is slow to find it. Taking each side's own mean away closes the gap (Zhang et al., C3, ICLR 2024). The published
code of DPTR does not do it.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Scale:
    """``(tokens - mean) / deviation``: one mean a dimension, one deviation for all."""

    mean: Float[Tensor, " d"]
    deviation: Float[Tensor, ""]

    def apply(self, tokens: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Standardize tokens of the side that was measured."""
        return (tokens - self.mean) / self.deviation


def measure(tokens: Float[Tensor, "n d"]) -> Scale:
    """The scale of a sample of tokens; n >= 2, not all equal."""
    mean = tokens.mean(0)
    return Scale(mean, (tokens - mean).square().mean().sqrt())
