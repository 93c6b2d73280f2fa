"""Word accuracy: the one loop in which anything that reads is compared with what is right.

``read_batches`` feeds batches to a function that reads them, ``compare`` sets what was read beside the labels. Training
validates with the two, ``dptr.evaluation.calibration`` fits temperatures on what they yield, and
``dptr.evaluation.evaluate`` reports on data sets with them. What a batch holds is up to the caller: crops, the views of
pictures, words, or tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from dptr.data.crops import LabeledCrops
from dptr.evaluation.metrics import PROTOCOLS, one_minus_ned, word_accuracy
from dptr.inference.prediction import has_repeated_ending
from dptr.inference.views import read_by_size, read_views
from dptr.text.charset import normalize_label
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError

Batch = TypeVar("Batch")
Output = TypeVar("Output")
Indices = Sequence[int]  # which samples a batch holds
Rows = Float[np.ndarray, "n t classes"]  # probabilities by character
Recognized = Rows | tuple[Rows, Float[np.ndarray, "n positions classes"]]  # and by position of a CTC network
Recognize = Callable[[UInt8[np.ndarray, "n h w 3"]], Recognized]  # crops of one width


class HasText(Protocol):
    """Something that was read: a ``Reading``, or a ``dptr.inference.prediction.Prediction``."""

    @property
    def text(self) -> str: ...


ReadingT = TypeVar("ReadingT", bound=HasText)


@dataclass(frozen=True)
class Reading:
    """What a model read in one sample, at temperature 1.

    Attributes:
        text: the characters.
        product: 0 to 1, of the probabilities of the characters and of the end.
        runaway: the word does not end and repeats itself (``dptr.inference.prediction.has_repeated_ending``).
        probabilities: of the characters, spaces at the ends of the text too, and of the end, where there is one:
            (characters + 1 or characters, classes).
        path: of a CTC network the probabilities of its positions, where the caller asked for them.
    """

    text: str
    product: float
    runaway: bool
    probabilities: Float[np.ndarray, "t classes"]
    path: Float[np.ndarray, "positions classes"] | None = None


@dataclass(frozen=True)
class Comparison(Generic[ReadingT]):
    """One sample: what was read and what is right.

    Attributes:
        index: of the sample among the labels.
        reading: what was read, unfolded.
        prediction, truth: the text that was read and the label, both folded by the protocol; a prediction for an empty
            label is not folded, so that nothing but an empty text equals it.
    """

    index: int
    reading: ReadingT
    prediction: str
    truth: str

    @property
    def correct(self) -> bool:
        return self.prediction == self.truth


def read_batches(
    batches: Iterable[tuple[Indices, Batch]], read: Callable[[Batch], Sequence[Output]]
) -> Iterator[tuple[int, Output]]:
    """Read batch after batch; yield what was read of each sample, with the index of the sample."""
    for indices, batch in batches:
        yield from zip(indices, read(batch), strict=True)


def compare(
    readings: Iterable[tuple[int, ReadingT]], labels: Sequence[str], fold: Callable[[str], str] = str
) -> Iterator[Comparison[ReadingT]]:
    """Compare readings with the labels of their samples, both folded by a protocol; as they are without one.

    A label of which ``normalize_label`` leaves nothing is an empty one.
    """
    for index, reading in readings:
        label = labels[index].strip() if normalize_label(labels[index]) else ""
        yield Comparison(index, reading, fold(reading.text) if label else reading.text, fold(label))


def share_correct(comparisons: Iterable[Comparison]) -> float:
    """Word accuracy of samples that all count, 0 to 1.

    Raises:
        ZeroDivisionError: there is no sample.
    """
    outcomes = [comparison.correct for comparison in comparisons]
    return sum(outcomes) / len(outcomes)


def decode(tokenizer: Tokenizer, recognized: Recognized) -> list[Reading]:
    """Turn a model's probabilities into readings."""
    probabilities, paths = recognized if isinstance(recognized, tuple) else (recognized, None)
    by_crop = repeat(None, len(probabilities)) if paths is None else paths
    return [
        Reading(
            text=word.text,
            product=word.confidence,
            runaway=not word.ended and has_repeated_ending(word.written),
            probabilities=rows[: word.length + 1],
            path=path,
        )
        for word, rows, path in zip(tokenizer.decode(probabilities), probabilities, by_crop, strict=True)
    ]


def slice_batches(samples: Any, batch_size: int) -> Iterator[tuple[Indices, Any]]:
    """Cut a sequence, an array or a tensor into batches of at most ``batch_size`` samples, for ``read_batches``."""
    for start in range(0, len(samples), batch_size):
        batch = samples[start : start + batch_size]
        yield range(start, start + len(batch)), batch


@dataclass(frozen=True)
class Team:
    """Processes that read a set together, each its share of the batches.

    Attributes:
        gather: takes what this process found, and returns that of all.
    """

    rank: int = 0
    processes: int = 1
    gather: Callable[[list[Any]], Iterable[list[Any]]] = lambda found: [found]


ALONE = Team()


def read_crops(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, team: Team = ALONE
) -> Iterator[tuple[int, Reading]]:
    """Read labeled crops, tall ones turned too, doubtful ones upside down; in order of the batches.

    ``dptr.inference.views.read_views`` chooses, as it does for ``dptr.inference.reader.Reader``, but here confidences
    are those of temperature 1.

    Args:
        crops: their ``turned`` holds the turned views of tall crops.
        tokenizer: the model's.
        recognize: crops of one width to probabilities, 0 to 1.
        team: every so many-th batch is read here; batches are those of one process.
    """

    def read(batch: np.ndarray) -> list[Reading]:
        return decode(tokenizer, recognize(batch))

    def open_views() -> Iterator[tuple[list[int], list[list[np.ndarray]]]]:
        for rows, upright in islice(crops.batches(), team.rank, None, team.processes):
            yield rows, [[crop, *crops.turned.get(row, ())] for row, crop in zip(rows, upright, strict=True)]

    def choose(views: list[list[np.ndarray]]) -> list[Reading]:
        chosen = read_views(views, lambda flat: read_by_size(flat, len(views), read))
        return [reading for reading, _ in chosen]

    return read_batches(open_views(), choose)


def compare_crops(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, protocol: str, team: Team = ALONE
) -> Iterator[Comparison[Reading]]:
    """Read labeled crops (``read_crops``) and compare under a protocol.

    Labels of which the protocol leaves nothing are left out; empty ones count, as pictures without text.

    Args:
        protocol: a key of ``dptr.evaluation.metrics.PROTOCOLS``.
    """
    comparisons = compare(read_crops(crops, tokenizer, recognize, team), crops.labels, PROTOCOLS[protocol])
    return (comparison for comparison in comparisons if comparison.truth or not crops.labels[comparison.index])


def score_crops(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, protocol: str, team: Team = ALONE
) -> dict[str, float]:
    """Word accuracy and 1-NED, 0 to 1 each, of labeled crops under a protocol: see ``compare_crops``.

    Args:
        team: reads them together; each of its processes gets the scores of all.

    Raises:
        UserError: the protocol leaves nothing of any label.
    """
    compared = compare_crops(crops, tokenizer, recognize, protocol, team)
    found = team.gather([(each.index, each.prediction, each.truth) for each in compared])
    pairs = [(prediction, truth) for _, prediction, truth in sorted(chain.from_iterable(found))]
    if not pairs:
        raise UserError(
            f"none of {len(crops)} validation labels has a letter or digit (protocol {protocol}); add crops that have, "
            "or pass others as data.validation"
        )
    return {"word_accuracy": word_accuracy(pairs), "one_minus_ned": one_minus_ned(pairs)}
