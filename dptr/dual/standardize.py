"""Standardization of the tokens of one side of a dual encoder to mean 0 and standard deviation 1.

The tokens of a tower have a large constant component, which differs between text and image side: the modality gap
(Liang et al., NeurIPS 2022). Differences between characters are small compared to it (a fifth in a random CLIP,
docs/LOG.md), and a decoder learns them slowly. Subtracting the mean of each side closes the gap (Zhang et al., C3, ICLR
2024). The published code of DPTR does not do so.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Scale:
    """``(tokens - mean) / deviation``, with a mean per dimension and one standard deviation for all."""

    mean: Float[Tensor, " d"]
    deviation: Float[Tensor, ""]

    def apply(self, tokens: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Standardize tokens of the measured side."""
        return (tokens - self.mean) / self.deviation


def measure(tokens: Float[Tensor, "n d"]) -> Scale:
    """The scale of a sample of tokens; n >= 2, not all equal."""
    mean = tokens.mean(0)
    return Scale(mean, (tokens - mean).square().mean().sqrt())
