"""Calibration: the temperature at which a confidence says how likely a word is right.

It is fitted on crops that training did not see. Temperature scaling is after Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017, section 4.2. They fit it for each decision of a classifier; here it is fitted for what a
reader reports, the product over a word's characters and its end, and for whether the word is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from jaxtyping import Float

from dptr.data.crops import LabelledCrops
from dptr.evaluation.accuracy import Comparison, Reading, Recognize, compare_crops
from dptr.text.tokenizer import Tokenizer

MAX_WORDS = 2000  # that a model is calibrated on
MIN_WORDS = 100  # the fit of fewer says little
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.2, 10.0
_GRID = 41  # temperatures, evenly spread by their logarithm, thrice: each time between the best one's neighbors


def calibrate(crops: LabelledCrops, tokenizer: Tokenizer, recognize: Recognize, protocol: str) -> float:
    """Fit a model's temperature on labeled crops, for whether words are right under a protocol.

    The arguments are those of ``dptr.evaluation.accuracy.compare_crops``. The crops are read for this alone, for the
    probabilities of all validation crops may not fit in memory; at most the first ``MAX_WORDS`` count.

    Returns:
        See ``fit_temperature``.
    """
    return calibrate_on(compare_crops(crops, tokenizer, recognize, protocol))


def calibrate_on(comparisons: Iterable[Comparison[Reading]]) -> float:
    """Fit the temperature on the first ``MAX_WORDS`` comparisons; see ``fit_temperature``."""
    words: list[np.ndarray] = []
    correct: list[bool] = []
    for comparison in islice(comparisons, MAX_WORDS):
        words.append(comparison.reading.probabilities.copy())  # else its whole batch would stay in memory
        correct.append(comparison.correct)
    return fit_temperature(words, correct)


def fit_temperature(words: Sequence[Float[np.ndarray, "t classes"]], correct: Sequence[bool]) -> float:
    """Find the temperature at which the words' confidences best predict whether they are right.

    Args:
        words: of each word the probabilities of its characters and of its end, 0 to 1, at least one row each.
        correct: whether each word was read correctly.

    Returns:
        The temperature of the least negative log-likelihood, from ``MIN_TEMPERATURE`` to ``MAX_TEMPERATURE``; 1 where
        there are fewer than ``MIN_WORDS`` words, or all are right, or none.

    Raises:
        ValueError: lengths differ.
    """
    if len(words) != len(correct):
        raise ValueError(f"{len(words)} words for {len(correct)} outcomes; give as many")
    if len(words) < MIN_WORDS or len(set(correct)) < 2:
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

    low, high = MIN_TEMPERATURE, MAX_TEMPERATURE
    for _ in range(3):
        temperatures = np.geomspace(low, high, _GRID)
        best = int(np.argmin([loss(temperature) for temperature in temperatures]))
        low, high = temperatures[max(best - 1, 0)], temperatures[min(best + 1, _GRID - 1)]
    return float(temperatures[best])
