"""Calibration of confidences on crops that training did not see: temperature, exponent, length, and thresholds.

Temperature scaling is after Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2. They fit it
for each decision of a classifier; here it is fitted so that the product over a word's characters and its end predicts
whether the word is right.

The confidence of a word then takes the protocol into account (``WordConfidence``, ours). Its exponent and length are
fitted with equal weights of all data sets, since a reader will meet other kinds of crops than those of the largest set.
docs/evidence/confidence.md compares it with alternatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from dptr.data.crops import LabeledCrops
from dptr.evaluation.accuracy import Comparison, Reading, Recognize, compare_crops
from dptr.evaluation.metrics import PROTOCOLS, confidence_threshold, round_down
from dptr.inference.confidence import UNCOUNTED, WordConfidence, apply_temperature
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

MAX_WORDS = 2000  # to calibrate on at most, equally many of each data set
MIN_WORDS = 100  # to calibrate on at least
FULL_SET = 50  # data sets with this many words or more have equal weights; smaller ones less, in proportion
PRECISIONS = (0.9, 0.95, 0.98, 0.99, 0.995)  # for which a card has thresholds
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.2, 10.0
MIN_EXPONENT, MAX_EXPONENT = 0.2, 10.0
LENGTHS = tuple(step / 20 for step in range(21))  # candidates
EXPECTED_LENGTH = 0.5  # deviation of a normal prior at 0, for few words, or words of similar lengths
_GRID = 41  # log-spaced values per grid search, of which there are three, each between the best one's neighbors
_TINY = 1e-12  # least argument of a logarithm


@dataclass(frozen=True)
class Calibration:
    """The calibration of a model's confidence.

    Attributes:
        temperature: see ``fit_temperature``.
        word: the confidence of a word; see ``fit_power``. None for fewer than ``MIN_WORDS`` words.
        thresholds: for each reached precision of ``PRECISIONS``, the threshold on the confidence of ``word``, and the
            share of words above it; both 0 to 1 (``dptr.evaluation.metrics.confidence_threshold``). Empty for fewer
            than ``MIN_WORDS`` words.
        words: number of words.
    """

    temperature: float
    word: WordConfidence | None = None
    thresholds: dict[float, tuple[float, float]] = field(default_factory=dict)
    words: int = 0

    def to_card(self) -> dict[str, Any]:
        """The entries of the model card; {} without ``word``.

        Returns:
            ``WordConfidence.to_card`` and, if there are thresholds, ``{"thresholds": {"n": words, "0.9": [confidence,
            share], ...}}``.
        """
        card = {} if self.word is None else self.word.to_card()
        if self.thresholds:
            rows = {
                f"{precision:g}": [round_down(threshold), round(share, 6)]
                for precision, (threshold, share) in self.thresholds.items()
            }
            card["thresholds"] = {"n": self.words, **rows}
        return card


def calibrate(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, protocol: str, temperature: float | None = None
) -> Calibration:
    """Fit a model's confidence on labeled crops, so that it predicts whether words are right under a protocol.

    At most ``MAX_WORDS`` crops are read (``choose_words``). They are read anew, since the probabilities of all
    validation crops may not fit in memory.

    Args:
        crops, tokenizer, protocol: see ``dptr.evaluation.accuracy.compare_crops``.
        recognize: likewise; for a CTC network with probabilities by position, for sums over paths.
        temperature: to keep; None = fit it.
    """
    fold = PROTOCOLS[protocol]
    compared = np.array([row for row, label in enumerate(crops.labels) if fold(label) or not label], np.int64)
    chosen = crops.choose(compared[choose_words([crops.sources[row] for row in compared])])
    comparisons = _Comparisons(chosen, tokenizer, recognize, protocol)
    return calibrate_on(comparisons, tokenizer, protocol, chosen.sources, temperature)


def choose_words(sources: Sequence[int]) -> np.ndarray:
    """Choose at most ``MAX_WORDS`` words, equally many of each data set, evenly spread; all of smaller sets.

    The result does not depend on the order of the sets.

    Args:
        sources: the data set of each word.

    Returns:
        Indices, ascending.
    """
    of_set = np.array(sources, np.int64)
    rows = [np.flatnonzero(of_set == each) for each in np.unique(of_set)]
    most = next((most for most in range(MAX_WORDS, 0, -1) if sum(min(len(own), most) for own in rows) <= MAX_WORDS), 0)
    chosen = [own if len(own) <= most else own[np.arange(most) * len(own) // most] for own in rows]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def calibrate_on(
    comparisons: Iterable[Comparison[Reading]],
    tokenizer: Tokenizer,
    protocol: str,
    sources: Sequence[int] = (),
    temperature: float | None = None,
) -> Calibration:
    """Fit a model's confidence on comparisons, and find thresholds on the same.

    Args:
        comparisons: readings of the model. If all have a ``Reading.path``, confidences are sums over paths. Then they
            are iterated over twice, since paths may not fit in memory.
        tokenizer: of the model.
        protocol: of the comparisons, a key of ``dptr.evaluation.metrics.PROTOCOLS``.
        sources: the data set of each sample, by index; only the samples of ``choose_words`` are used. Empty = use all,
            as of one data set.
        temperature: to keep; None = fit it.
    """
    words: list[np.ndarray] = []
    lengths: list[int] = []
    correct: list[bool] = []
    of_set: list[int] = []
    of_paths = True
    chosen = set(choose_words(sources).tolist())

    def counted() -> Iterator[Comparison[Reading]]:
        return (comparison for comparison in comparisons if not sources or comparison.index in chosen)

    for comparison in counted():
        reading = comparison.reading
        of_paths = of_paths and reading.path is not None
        words.append(reading.probabilities.copy())  # a copy, since a view would keep the whole batch in memory
        lengths.append(len(reading.text))
        correct.append(comparison.correct)
        of_set.append(sources[comparison.index] if sources else 0)
    if temperature is None:
        temperature = fit_temperature(words, correct)
    if len(words) < MIN_WORDS:
        return Calibration(temperature, words=len(words))
    plain = WordConfidence(counted_as=count_as(tokenizer.charset, protocol), of_paths=of_paths)
    if of_paths:
        probabilities = [_sum_paths(plain, each.reading, tokenizer, temperature) for each in counted()]
    else:
        probabilities = [plain.product(apply_temperature(rows, temperature)) for rows in words]
    exponent, length = fit_power(probabilities, lengths, correct, of_set)
    word = replace(plain, exponent=exponent, length=length)
    confidences = [word.scale(*pair) for pair in zip(probabilities, lengths, strict=True)]
    thresholds = {precision: confidence_threshold(confidences, correct, precision) for precision in PRECISIONS}
    reached = {precision: pair for precision, pair in thresholds.items() if pair is not None}
    return Calibration(temperature, word, reached, len(words))


@dataclass(frozen=True)
class _Comparisons:
    """``compare_crops`` as an iterable that can be iterated over several times."""

    crops: LabeledCrops
    tokenizer: Tokenizer
    recognize: Recognize
    protocol: str

    def __iter__(self) -> Iterator[Comparison[Reading]]:
        return compare_crops(self.crops, self.tokenizer, self.recognize, self.protocol)


def _sum_paths(plain: WordConfidence, reading: Reading, tokenizer: Tokenizer, temperature: float) -> float:
    assert reading.path is not None
    path = apply_temperature(reading.path, temperature)[None]
    return float(plain.path_probabilities(path, [tokenizer.symbols(reading.text)])[0])


def count_as(charset: Charset, protocol: str) -> str:
    """``WordConfidence.counted_as`` for a protocol.

    A character that the protocol folds to several is only equal to itself.
    """
    folded = [PROTOCOLS[protocol](character) or UNCOUNTED for character in charset.characters]
    pairs = zip(folded, charset.characters, strict=True)
    counted = "".join(each if len(each) == 1 else character for each, character in pairs)
    return "" if counted == "".join(charset.characters) else counted


def fit_temperature(words: Sequence[Float[np.ndarray, "t classes"]], correct: Sequence[bool]) -> float:
    """Find the temperature at which the words' confidences best predict whether they are right.

    Args:
        words: for each word, the probabilities at its characters and its end, 0 to 1, at least one row.
        correct: whether each word was read correctly.

    Returns:
        The temperature with the least negative log-likelihood, from ``MIN_TEMPERATURE`` to ``MAX_TEMPERATURE``; 1 if
        there are fewer than ``MIN_WORDS`` words, or all or none are right.

    Raises:
        ValueError: lengths differ.
    """
    if not _tells(correct, len(words)):
        return 1.0
    with np.errstate(divide="ignore"):
        logs = np.log(np.concatenate(words).astype(np.float64))
    starts = np.cumsum([0, *(len(word) for word in words[:-1])])
    right = np.array(correct)
    logs -= logs.max(1, keepdims=True)

    def loss(temperature: float) -> float:
        certainty = -np.log(np.exp(logs / temperature).sum(1))  # the log-probability of the likeliest class
        confidence = np.exp(np.add.reduceat(certainty, starts)).clip(_TINY, 1 - _TINY)
        return -float(np.log(np.where(right, confidence, 1 - confidence)).sum())

    return _least(loss, MIN_TEMPERATURE, MAX_TEMPERATURE)


def fit_power(
    shares: Sequence[float], lengths: Sequence[int], correct: Sequence[bool], sources: Sequence[int]
) -> tuple[float, float]:
    """Find the exponent and the length (``WordConfidence``) at which confidences best predict whether words are right.

    Args:
        shares: p of each word, 0 to 1 (``WordConfidence.product`` or ``path_probabilities``).
        lengths: of each word, in characters.
        correct: whether each word was read correctly.
        sources: the data set of each word, numbered from 0. All sets of ``FULL_SET`` words or more have equal weights.

    Returns:
        The exponent, from ``MIN_EXPONENT`` to ``MAX_EXPONENT``, and the length, of ``LENGTHS``, with the least weighted
        negative log-likelihood including the prior on the length; 1 and 0 if there are fewer than ``MIN_WORDS`` words,
        or all or none are right.

    Raises:
        ValueError: the arguments differ in number.
    """
    if not _tells(correct, len(shares), len(lengths), len(sources)):
        return 1.0, 0.0
    right, of_set = np.array(correct), np.array(sources)
    weights = (1 / np.maximum(np.bincount(of_set), FULL_SET))[of_set]
    weights *= len(weights) / weights.sum()
    logs = np.log(np.maximum(shares, np.finfo(np.float64).tiny))
    sizes = 1.0 + np.array(lengths)

    def loss(exponent: float, length: float) -> float:
        confidence = np.exp(exponent * sizes**-length * logs).clip(_TINY, 1 - _TINY)
        return -float((weights * np.log(np.where(right, confidence, 1 - confidence))).sum())

    tried = []
    for length in LENGTHS:
        exponent = _least(partial(loss, length=length), MIN_EXPONENT, MAX_EXPONENT)
        tried.append((loss(exponent, length) + (length / EXPECTED_LENGTH) ** 2 / 2, exponent, length))
    return min(tried)[1:]


def _tells(correct: Sequence[bool], *lengths: int) -> bool:
    """Whether there are enough outcomes for a fit; ``lengths`` of other arguments must equal their number."""
    for length in lengths:
        if length != len(correct):
            raise ValueError(f"{length} words for {len(correct)} outcomes; give as many")
    return len(correct) >= MIN_WORDS and len(set(correct)) == 2


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """The argument with the least ``loss``, by search on successively finer grids."""
    for _ in range(3):
        values = np.geomspace(low, high, _GRID)
        best = int(np.argmin([loss(value) for value in values]))
        low, high = values[max(best - 1, 0)], values[min(best + 1, _GRID - 1)]
    return float(values[best])
