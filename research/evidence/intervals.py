"""Intervals for differences of accuracy, over crops and seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.stats import norm, t


@dataclass(frozen=True)
class Difference:
    """A mean difference of word accuracy and its interval, from -1 to 1."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def compare_arms(
    one: Sequence[Bool[np.ndarray, "seeds crops"]],
    other: Sequence[Bool[np.ndarray, "seeds crops"]],
    level: float = 0.95,
) -> Difference:
    """How much more ``one`` reads than ``other``, with an interval for other seeds and other crops.

    Seed i of one arm stands beside seed i of the other, which shares its alignment, and both read the same crops. Each
    set counts alike. The differences by seed and crop are a two-way layout with random effects of both and one value a
    cell, so the variance of their mean is that between seeds plus what crops add. The first part is estimated from a
    few seeds and has Student's quantile; the second is estimated from many crops and has the normal one. Half of the
    interval is the root of the sum of both squares (Howe 1974, "Approximate confidence limits on the mean of X + Y",
    JASA 69).

    A percentile bootstrap over both is too narrow with few seeds: at three it seldom leaves the range of the seeds.

    Args:
        one, other: which crops each arm read correctly, by test set. With one seed the interval is for other crops.
        level: of the interval, 0 to 1.

    Raises:
        ValueError: the arms have other sets, seeds, or crops.
    """
    if [part.shape for part in one] != [part.shape for part in other]:
        shapes = [part.shape for part in one], [part.shape for part in other]
        raise ValueError(f"arms of shapes {shapes[0]} and {shapes[1]} cannot be paired")
    gains = [a.astype(float) - b.astype(float) for a, b in zip(one, other, strict=True)]
    seeds = len(gains[0])
    by_seed = np.mean([part.mean(1) for part in gains], 0)
    of_crops = sum(_variance_of_crops(part) for part in gains) / len(gains) ** 2
    square = norm.ppf((1 + level) / 2) ** 2 * max(of_crops, 0.0)
    if seeds > 1:
        square += t.ppf((1 + level) / 2, seeds - 1) ** 2 * by_seed.var(ddof=1) / seeds
    mean, half = float(by_seed.mean()), float(square**0.5)
    return Difference(mean, mean - half, mean + half)


def _variance_of_crops(gains: np.ndarray) -> float:
    """What the choice of crops adds to the variance of the mean, beyond what the variance between seeds holds."""
    seeds, crops = gains.shape
    by_crop = gains.mean(0)
    total = by_crop.var(ddof=1) / crops
    if seeds == 1:
        return float(total)
    rest = gains - by_crop - gains.mean(1, keepdims=True) + gains.mean()
    return float(total - np.square(rest).sum() / ((seeds - 1) * (crops - 1)) / (seeds * crops))
