"""Calibration: the temperature at which a confidence says how likely a word is right, and confidences to trust.

Both come from crops that training did not see. Temperature scaling is after Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017, section 4.2. They fit it for each decision of a classifier; here it is fitted for what a
reader reports, the product over a word's characters and its end, and for whether the word is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float

from dptr.data.crops import LabeledCrops
from dptr.evaluation.accuracy import Comparison, Reading, Recognize, compare_crops
from dptr.evaluation.metrics import confidence_threshold
from dptr.inference.confidence import apply_temperature
from dptr.text.tokenizer import Tokenizer

MAX_WORDS = 2000  # that a model is calibrated on
MIN_WORDS = 100  # the fit of fewer says little
PRECISIONS = (0.9, 0.95, 0.98, 0.99, 0.995)  # shares of right words that a card names confidences for
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.2, 10.0
_GRID = 41  # temperatures, evenly spread by their logarithm, thrice: each time between the best one's neighbors


@dataclass(frozen=True)
class Calibration:
    """What labeled crops say of a model's confidence.

    Attributes:
        temperature: see ``fit_temperature``.
        thresholds: for each of ``PRECISIONS`` that is reached, the lowest confidence, at this temperature, from which
            on that share of words or more is right, and the share of all words that these are; both 0 to 1
            (``dptr.evaluation.metrics.confidence_threshold``). Empty for fewer than ``MIN_WORDS`` words.
        words: how many words were read.
    """

    temperature: float
    thresholds: dict[float, tuple[float, float]] = field(default_factory=dict)
    words: int = 0

    def to_card(self) -> dict[str, Any]:
        """``{"thresholds": {"n": words, "0.9": [confidence, share], ...}}``, for the model card; {} without any."""
        if not self.thresholds:
            return {}
        rows = {f"{precision:g}": [round(value, 6) for value in pair] for precision, pair in self.thresholds.items()}
        return {"thresholds": {"n": self.words, **rows}}


def calibrate(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, protocol: str, temperature: float | None = None
) -> Calibration:
    """Fit a model's temperature on labeled crops, for whether words are right under a protocol.

    The first four arguments are those of ``dptr.evaluation.accuracy.compare_crops``. The crops are read for this alone,
    for the probabilities of all validation crops may not fit in memory; at most the first ``MAX_WORDS`` count.

    Args:
        temperature: keep this one, and find the thresholds alone; None = fit it.
    """
    return calibrate_on(compare_crops(crops, tokenizer, recognize, protocol), temperature)


def calibrate_on(comparisons: Iterable[Comparison[Reading]], temperature: float | None = None) -> Calibration:
    """Fit the temperature on the first ``MAX_WORDS`` comparisons, and find the thresholds on the same."""
    words: list[np.ndarray] = []
    correct: list[bool] = []
    for comparison in islice(comparisons, MAX_WORDS):
        words.append(comparison.reading.probabilities.copy())  # else its whole batch would stay in memory
        correct.append(comparison.correct)
    if temperature is None:
        temperature = fit_temperature(words, correct)
    if len(words) < MIN_WORDS:
        return Calibration(temperature, words=len(words))
    confidences = [float(apply_temperature(word, temperature).max(-1).prod()) for word in words]
    found = {precision: confidence_threshold(confidences, correct, precision) for precision in PRECISIONS}
    return Calibration(temperature, {each: pair for each, pair in found.items() if pair is not None}, len(words))


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
