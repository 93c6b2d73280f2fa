"""Confidence that means something: a temperature, fitted on crops that training did not see.

Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2), but fitted for
what a reader reports, the product over a word's characters and its end, and whether the word is right; the published
fit is for each decision of a classifier alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

FEWEST = 100  # outcomes; the fit of fewer says little
LOWEST, HIGHEST = 0.2, 10.0
_GRID = 41  # temperatures, evenly spread by their logarithm, thrice: each time between the best one's neighbours


def fit_temperature(words: Sequence[Float[np.ndarray, "t classes"]], correct: Sequence[bool]) -> float:
    """The temperature under which the words' confidences best predict whether they are right.

    Args:
        words: probabilities of the characters of each word and of its end, at least one row each.
        correct: whether each was read rightly.

    Returns:
        That of the least negative log-likelihood, from ``LOWEST`` to ``HIGHEST``; 1 where there are fewer than
        ``FEWEST`` words, or all are right, or none.

    Raises:
        ValueError: lengths differ.
    """
    if len(words) != len(correct):
        raise ValueError(f"{len(words)} words for {len(correct)} outcomes; give as many")
    if len(words) < FEWEST or len(set(correct)) < 2:
        return 1.0
    with np.errstate(divide="ignore"):
        logs = np.log(np.concatenate(words).astype(np.float64))
    starts = np.cumsum([0, *(len(word) for word in words[:-1])])
    right = np.array(correct)
    logs -= logs.max(1, keepdims=True)

    def loss(temperature: float) -> float:
        certainty = -np.log(np.exp(logs / temperature).sum(1))  # the log-probability of the likeliest class
        confidence = np.exp(np.add.reduceat(certainty, starts)).clip(1e-12, 1 - 1e-12)
        return -float(np.log(np.where(right, confidence, 1 - confidence)).sum())

    low, high = LOWEST, HIGHEST
    for _ in range(3):
        temperatures = np.geomspace(low, high, _GRID)
        best = int(np.argmin([loss(temperature) for temperature in temperatures]))
        low, high = temperatures[max(best - 1, 0)], temperatures[min(best + 1, _GRID - 1)]
    return float(temperatures[best])
