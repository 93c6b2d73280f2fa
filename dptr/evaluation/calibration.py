"""Calibration: at which temperature and exponent a confidence says how likely a word is right, and which to trust.

All come from crops that training did not see. Temperature scaling is after Guo et al., "On Calibration of Modern
Neural Networks", ICML 2017, section 4.2. They fit it for each decision of a classifier; here it is fitted for what a
reader reports, the product over a word's characters and its end, and for whether the word is right.

The confidence of a word is then computed from what counts under the protocol (``WordConfidence``, ours). Its two
numbers, exponent and length, are fitted with all data sets weighted alike: a reader meets other kinds of crops than the
largest. How it was chosen among others is in docs/evidence/confidence.md.
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
from dptr.evaluation.metrics import PROTOCOLS, confidence_threshold
from dptr.inference.confidence import UNCOUNTED, WordConfidence, apply_temperature
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

MAX_WORDS = 2000  # that a model is calibrated on, as many of each data set
MIN_WORDS = 100  # the fit of fewer says little
FULL_SET = 50  # words from which on a data set weighs as much as larger ones; below, in proportion to its words
PRECISIONS = (0.9, 0.95, 0.98, 0.99, 0.995)  # shares of right words that a card names confidences for
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.2, 10.0
MIN_EXPONENT, MAX_EXPONENT = 0.2, 10.0
LENGTHS = tuple(step / 20 for step in range(21))  # that are tried
EXPECTED_LENGTH = 0.5  # standard deviation of a normal prior at 0: few words, or words of one length, say little
_GRID = 41  # values, evenly spread by their logarithm, thrice: each time between the best one's neighbors
_TINY = 1e-12  # of what a logarithm is taken, at least


@dataclass(frozen=True)
class Calibration:
    """What labeled crops say of a model's confidence.

    Attributes:
        temperature: see ``fit_temperature``.
        word: the confidence of a word; ``fit_power``. None for fewer than ``MIN_WORDS`` words.
        thresholds: for each of ``PRECISIONS`` that is reached, the lowest confidence, of ``word``, from which on that
            share of words or more is right, and the share of all words that these are; both 0 to 1
            (``dptr.evaluation.metrics.confidence_threshold``). Empty for fewer than ``MIN_WORDS`` words.
        words: how many words were read.
    """

    temperature: float
    word: WordConfidence | None = None
    thresholds: dict[float, tuple[float, float]] = field(default_factory=dict)
    words: int = 0

    def to_card(self) -> dict[str, Any]:
        """What the model card says of the model's confidence; {} without ``word``.

        Returns:
            ``WordConfidence.to_card`` and, if there are thresholds, ``{"thresholds": {"n": words, "0.9": [confidence,
            share], ...}}``.
        """
        card = {} if self.word is None else self.word.to_card()
        if self.thresholds:
            rows = {
                f"{precision:g}": [round(value, 6) for value in pair] for precision, pair in self.thresholds.items()
            }
            card["thresholds"] = {"n": self.words, **rows}
        return card


def calibrate(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, protocol: str, temperature: float | None = None
) -> Calibration:
    """Fit a model's confidence on labeled crops, for whether words are right under a protocol.

    The first four arguments are those of ``dptr.evaluation.accuracy.compare_crops``. The crops are read for this alone,
    for the probabilities of all validation crops may not fit in memory; at most ``MAX_WORDS`` are (``choose_words``).

    Args:
        recognize: of a CTC network the positions of its path too, for sums over paths.
        temperature: keep this one; None = fit it.
    """
    count = PROTOCOLS[protocol]
    compared = np.array([row for row, label in enumerate(crops.labels) if count(label) or not label], np.int64)
    chosen = crops.choose(compared[choose_words([crops.sources[row] for row in compared])])
    comparisons = _Comparisons(chosen, tokenizer, recognize, protocol)
    return calibrate_on(comparisons, tokenizer, protocol, chosen.sources, temperature)


def choose_words(sources: Sequence[int]) -> np.ndarray:
    """Which words a model is calibrated on: at most ``MAX_WORDS``, as many of each data set, evenly spread over it.

    All of a set that has fewer. The order of the sets does not matter.

    Args:
        sources: which data set each word is from.

    Returns:
        Their numbers, ascending.
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
    """Fit a model's confidence on comparisons, and find the thresholds on the same.

    Args:
        comparisons: what the model read. Where all have a ``Reading.path``, confidences are sums over paths; then they
            are iterated over a second time, at the temperature, for paths may not fit in memory.
        tokenizer: the model's.
        protocol: that words were compared under, a key of ``dptr.evaluation.metrics.PROTOCOLS``.
        sources: of each sample, by index, which data set it is from; then only those count that ``choose_words`` takes.
            None = all are from one, and count.
        temperature: keep this one; None = fit it.
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
        words.append(reading.probabilities.copy())  # else its whole batch would stay in memory
        lengths.append(len(reading.text))
        correct.append(comparison.correct)
        of_set.append(sources[comparison.index] if sources else 0)
    if temperature is None:
        temperature = fit_temperature(words, correct)
    if len(words) < MIN_WORDS:
        return Calibration(temperature, words=len(words))
    plain = WordConfidence(counted_as=count_as(tokenizer.charset, protocol), of_paths=of_paths)
    if of_paths:
        shares = [_sum_paths(plain, each.reading, tokenizer, temperature) for each in counted()]
    else:
        shares = [plain.product(apply_temperature(word, temperature)) for word in words]
    exponent, length = fit_power(shares, lengths, correct, of_set)
    own = replace(plain, exponent=exponent, length=length)
    confidences = [own.scale(*pair) for pair in zip(shares, lengths, strict=True)]
    found = {precision: confidence_threshold(confidences, correct, precision) for precision in PRECISIONS}
    return Calibration(temperature, own, {each: pair for each, pair in found.items() if pair is not None}, len(words))


@dataclass(frozen=True)
class _Comparisons:
    """``compare_crops``, as often as it is iterated over."""

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
    """What each character counts as under a protocol, for ``WordConfidence.counted_as``.

    A character that the protocol turns into several counts as itself.
    """
    folded = [PROTOCOLS[protocol](character) or UNCOUNTED for character in charset.characters]
    pairs = zip(folded, charset.characters, strict=True)
    counted = "".join(each if len(each) == 1 else character for each, character in pairs)
    return "" if counted == "".join(charset.characters) else counted


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
        shares: of each word its probability, 0 to 1 (``WordConfidence.product`` or ``path_probabilities``).
        lengths: of each word, in characters.
        correct: whether each word was read correctly.
        sources: which data set each word is from, numbered from 0. All sets of ``FULL_SET`` words or more weigh alike.

    Returns:
        Those of the least weighted negative log-likelihood, as of so many words, and of the prior: the exponent from
        ``MIN_EXPONENT`` to ``MAX_EXPONENT``, the length one of ``LENGTHS``. 1 and 0 where there are fewer than
        ``MIN_WORDS`` words, or all are right, or none.

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
    """Whether outcomes suffice for a fit; ``lengths`` are those of what goes with them."""
    for length in lengths:
        if length != len(correct):
            raise ValueError(f"{length} words for {len(correct)} outcomes; give as many")
    return len(correct) >= MIN_WORDS and len(set(correct)) == 2


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where ``loss`` is least, on finer and finer grids."""
    for _ in range(3):
        values = np.geomspace(low, high, _GRID)
        best = int(np.argmin([loss(value) for value in values]))
        low, high = values[max(best - 1, 0)], values[min(best + 1, _GRID - 1)]
    return float(values[best])
