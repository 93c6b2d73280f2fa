"""Word accuracy: the loop that compares readings with labels, shared by validation, calibration, and evaluation.

``read_batches`` feeds batches to a function that reads them; ``compare`` pairs the readings with labels. A batch can
contain anything that the function reads: crops, views of pictures, words, or tokens.
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
Indices = Sequence[int]  # of a batch's samples
Rows = Float[np.ndarray, "n t classes"]  # probabilities by character
Recognized = Rows | tuple[Rows, Float[np.ndarray, "n positions classes"]]  # for a CTC network, also by position
Recognize = Callable[[UInt8[np.ndarray, "n h w 3"]], Recognized]  # crops of one width


class HasText(Protocol):
    """A reading: a ``Reading``, or a ``dptr.inference.prediction.Prediction``."""

    @property
    def text(self) -> str: ...


ReadingT = TypeVar("ReadingT", bound=HasText)


@dataclass(frozen=True)
class Reading:
    """A model's reading of one sample, at temperature 1.

    Attributes:
        text: the characters.
        product: 0 to 1, of the probabilities of the characters and of the end.
        runaway: whether the word does not end and repeats itself (``dptr.inference.prediction.has_repeated_ending``).
        probabilities: at the characters, including spaces at the ends of the text, and at the end if there is one:
            (characters + 1 or characters, classes).
        path: for a CTC network, the probabilities by position, if they were requested.
    """

    text: str
    product: float
    runaway: bool
    probabilities: Float[np.ndarray, "t classes"]
    path: Float[np.ndarray, "positions classes"] | None = None


@dataclass(frozen=True)
class Comparison(Generic[ReadingT]):
    """A reading and its label.

    Attributes:
        index: of the sample's label.
        reading: not folded.
        prediction, truth: the text of the reading and the label, both folded by the protocol. The prediction for an
            empty label is not folded, so that only an empty text equals it.
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
    """Read batches; yield the index and the reading of each sample."""
    for indices, batch in batches:
        yield from zip(indices, read(batch), strict=True)


def compare(
    readings: Iterable[tuple[int, ReadingT]], labels: Sequence[str], fold: Callable[[str], str] = str
) -> Iterator[Comparison[ReadingT]]:
    """Compare readings with their labels, both folded by ``fold``.

    A label is empty if ``normalize_label`` leaves nothing of it.
    """
    for index, reading in readings:
        label = labels[index].strip() if normalize_label(labels[index]) else ""
        yield Comparison(index, reading, fold(reading.text) if label else reading.text, fold(label))


def share_correct(comparisons: Iterable[Comparison]) -> float:
    """Word accuracy, 0 to 1.

    Raises:
        ZeroDivisionError: there are no samples.
    """
    outcomes = [comparison.correct for comparison in comparisons]
    return sum(outcomes) / len(outcomes)


def decode(tokenizer: Tokenizer, recognized: Recognized) -> list[Reading]:
    """Decode a model's probabilities to readings."""
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
    """Processes that each read a share of the batches of a set.

    Attributes:
        gather: from a list of this process to the lists of all processes.
    """

    rank: int = 0
    processes: int = 1
    gather: Callable[[list[Any]], Iterable[list[Any]]] = lambda found: [found]


ALONE = Team()


def read_crops(
    crops: LabeledCrops, tokenizer: Tokenizer, recognize: Recognize, team: Team = ALONE
) -> Iterator[tuple[int, Reading]]:
    """Read labeled crops in the order of batches; tall crops are also read turned, doubtful ones upside down.

    ``dptr.inference.views.read_views`` chooses between the readings, as for ``dptr.inference.reader.Reader``, but at
    temperature 1.

    Args:
        crops: with the turned views of tall crops in ``turned``.
        tokenizer: of the model.
        recognize: from crops of one width to probabilities, 0 to 1.
        team: processes among which the batches are dealt in turn.
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
    """Read labeled crops (``read_crops``) and compare them under a protocol.

    Labels that the protocol folds to nothing are left out; empty labels are kept, as those of pictures without text.

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
        team: its processes all get the scores of the whole set.

    Raises:
        UserError: the protocol folds all labels to nothing.
    """
    compared = compare_crops(crops, tokenizer, recognize, protocol, team)
    by_rank = team.gather([(each.index, each.prediction, each.truth) for each in compared])
    pairs = [(prediction, truth) for _, prediction, truth in sorted(chain.from_iterable(by_rank))]
    if not pairs:
        raise UserError(
            f"none of {len(crops)} validation labels has a letter or digit (protocol {protocol}); add crops that have, "
            "or pass others as data.validation"
        )
    return {"word_accuracy": word_accuracy(pairs), "one_minus_ned": one_minus_ned(pairs)}
