"""Confidence intervals for differences of word accuracy, over crops and seeds together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class Difference:
    """A mean difference of word accuracy and its confidence interval, from -1 to 1; printed in percentage points."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


def compare_arms(
    one: Sequence[Bool[np.ndarray, "seeds crops"]],
    other: Sequence[Bool[np.ndarray, "seeds crops"]],
    draws: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Estimate the difference of word accuracy, ``one`` minus ``other``, with a two-level percentile bootstrap.

    The method is that of Davison and Hinkley (1997), section 3.8. Seeds are resampled with replacement, then the crops
    of each test set. The arms are paired: both use the same resamples, because seed i of both arms starts from the same
    alignment, and both arms read the same crops. All test sets have equal weight.

    Args:
        one, other: which crops each arm reads correctly, for each test set.
        draws: number of bootstrap samples.
        seed: of the resampling.
        level: the confidence level of the interval, 0 to 1.

    Raises:
        ValueError: the arms have different test sets, seeds, or crops.
    """
    if [part.shape for part in one] != [part.shape for part in other]:
        shapes = [part.shape for part in one], [part.shape for part in other]
        raise ValueError(f"arms of shapes {shapes[0]} and {shapes[1]} cannot be paired")
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    gains = [a.astype(float) - b.astype(float) for a, b in zip(one, other, strict=True)]
    seeds = len(gains[0])
    means = np.empty(draws)
    for draw in range(draws):
        weights = np.bincount(random.integers(seeds, size=seeds), minlength=seeds) / seeds
        means[draw] = np.mean([_resample(weights @ part, random) for part in gains])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float(np.mean([part.mean() for part in gains])), float(low), float(high))


def _resample(values: np.ndarray, random: np.random.Generator) -> float:
    """The mean of one bootstrap sample of the values."""
    return float(values[random.integers(len(values), size=len(values))].mean())
