"""Evaluation: reports on a reader's accuracy on labeled data sets, under one or more protocols.

All labeled crops count, even if the model cannot write the label (characters outside its charset, too long a word): the
protocol folds the truth, not the model. Left out, and counted by reason, are only unreadable pictures, truths that the
protocol folds to nothing, and empty labels, unless these count as pictures without text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from dptr.data.crops import UNREADABLE
from dptr.data.labeled import LabeledDataset, open_labeled, parts_of
from dptr.data.report import DropReport
from dptr.evaluation import metrics
from dptr.evaluation.accuracy import Comparison, compare, read_batches
from dptr.inference.prediction import Prediction
from dptr.text.charset import EMPTY, normalize_label
from dptr.text.unicode import graphemes
from dptr.utils.errors import UserError
from dptr.utils.html import Card, Section, render_page
from dptr.utils.terminal import align_columns, markdown_table
from dptr.version import __version__

EMPTY_UNDER_PROTOCOL = "empty under protocol"

Progress = Callable[[str, int, int], None]  # data set, crops done, crops in all


@runtime_checkable
class CropReader(Protocol):
    """The interface of readers that can be evaluated, such as ``dptr.inference.reader.Reader``.

    Attributes:
        name: of the model, for the report.
        batch_size: maximal number of pictures for ``predict_views``.
    """

    name: str
    batch_size: int

    def views(self, image: Image.Image, /) -> list[np.ndarray]:
        """The crops that an RGB picture is read from."""

    def predict_views(self, views: Sequence[Sequence[np.ndarray]], /) -> list[Prediction]:
        """A prediction for each picture, given its views."""


@dataclass(frozen=True)
class Result:
    """The result on one data set under one protocol. Rates are 0 to 1 (``cer`` may exceed 1); None if ``n`` is 0."""

    data: str
    protocol: str
    n: int  # crops compared
    correct: int
    word_accuracy: float | None
    one_minus_ned: float | None
    cer: float | None
    calibration_error: float | None  # ECE, 15 bins
    sure_from: float | None  # threshold on the confidence above which 99 % are right; None if there is none
    sure_share: float | None  # share of crops with this confidence or more
    runaway: int  # readings that repeat themselves up to the model's longest word (``Prediction.runaway``)
    dropped: dict[str, int]  # reason -> crops that are not among the n
    images_per_second: float  # from file to text: opening, resizing, recognition


@dataclass(frozen=True)
class Mean:
    """The result on several data sets under one protocol: their unweighted mean, and that over all crops."""

    protocol: str
    sets: int
    n: int
    word_accuracy: float
    one_minus_ned: float
    word_accuracy_of_all: float  # over all crops, so that large sets count more


@dataclass(frozen=True)
class Misread:
    """A misread crop; ``truth`` and ``prediction`` are folded, ``label`` and ``text`` are not.

    ``index`` and ``key`` identify the crop in the data set.
    """

    data: str
    protocol: str
    index: int
    key: str
    truth: str
    prediction: str
    label: str
    text: str
    confidence: float


@dataclass(frozen=True)
class Report:
    """Results in the order of data sets and protocols, misread crops, and crops that were left out."""

    model: str
    results: list[Result]
    errors: list[Misread]
    drops: DropReport

    def to_json(self) -> dict[str, Any]:
        """``{"dptr", "model", "results": [{"data", "protocol", "n", "word_accuracy", ...}], "means", "dropped"}``."""
        return {
            "dptr": __version__,
            "model": self.model,
            "results": [asdict(result) for result in self.results],
            "means": [asdict(mean) for mean in self.means],
            "dropped": self.drops.to_json(),
        }

    @property
    def means(self) -> list[Mean]:
        """The mean for each protocol with results on two data sets or more."""
        means = []
        for protocol in dict.fromkeys(result.protocol for result in self.results):
            results = [result for result in self.results if result.protocol == protocol and result.n]
            if len(results) < 2:
                continue
            n, correct = sum(result.n for result in results), sum(result.correct for result in results)
            accuracy = sum(result.word_accuracy or 0.0 for result in results) / len(results)
            one_minus_ned = sum(result.one_minus_ned or 0.0 for result in results) / len(results)
            means.append(Mean(protocol, len(results), n, accuracy, one_minus_ned, correct / n))
        return means

    def to_terminal(self) -> str:
        """A table with aligned columns, followed by the means."""
        return align_columns(self._table())

    def to_markdown(self) -> str:
        """The same table in Markdown."""
        return markdown_table(self._table())

    def _table(self) -> list[tuple[str, ...]]:
        return [_COLUMNS, *map(_cells, self.results), *self._mean_rows()]

    def _mean_rows(self) -> list[tuple[str, ...]]:
        return [row for mean in self.means for row in _mean_rows(mean)]

    def to_html(self, limit: int = 500, introduction: str = "") -> str:
        """A self-contained page with the pictures of misread crops, by falling confidence.

        Args:
            limit: crops to show for each data set and protocol; the page has their total number.
            introduction: text above the table; empty = the one for labels that may be wrong.

        Raises:
            UserError: a data set cannot be opened again.
        """
        sections = []
        for result in self.results:
            errors = [e for e in self.errors if (e.data, e.protocol) == (result.data, result.protocol)]
            errors.sort(key=lambda error: -error.confidence)
            facts = dict(zip(_COLUMNS, _cells(result), strict=True))
            sections.append(Section(facts, _cards(result.data, errors[:limit]), len(errors)))
        return render_page(f"Errors of {self.model}", introduction or _INTRODUCTION, sections, self._mean_rows())


def evaluate(
    reader: CropReader,
    paths: Sequence[str | Path],
    protocols: Sequence[str] = ("36",),
    progress: Progress = lambda data, done, total: None,
    allow_empty: bool = False,
) -> Report:
    """Read every labeled crop of each data set once, and score it under each protocol.

    Args:
        reader: the recognizer.
        paths: data sets, or root folders of several, which get a result each. All labels are read before the first
            picture.
        protocols: keys of ``dptr.evaluation.metrics.PROTOCOLS``, or languages.
        progress: called at the start of each data set, and after each batch.
        allow_empty: include crops with an empty label, which show no text.

    Raises:
        UserError: a data set cannot be opened, or a protocol is unknown.
    """
    folds = {name: metrics.protocol(name) for name in protocols}
    datasets = {f"{path}/{name}".rstrip("/"): part for path in paths for name, part in parts_of(open_labeled(path))}
    labels = {data: [dataset.label(i) for i in range(len(dataset))] for data, dataset in datasets.items()}
    report = Report(reader.name, [], [], DropReport())
    for data, dataset in datasets.items():
        read = _read(reader, data, dataset, progress)
        for index, error in read.unreadable:
            where = f"{data}/{dataset.key(index)}"
            report.drops.add(UNREADABLE, where, str(error))
        for name, fold in folds.items():
            _score(report, read, labels[data], name, fold, allow_empty)
    return report


@dataclass(frozen=True)
class _DatasetReadings:
    data: str
    dataset: LabeledDataset
    readings: list[tuple[int, Prediction]]  # (index of the crop, reading)
    unreadable: list[tuple[int, UserError]]
    images_per_second: float


def _read(reader: CropReader, data: str, dataset: LabeledDataset, progress: Progress) -> _DatasetReadings:
    unreadable: list[tuple[int, UserError]] = []
    start = time.perf_counter()
    batches = _open_batches(reader, data, dataset, unreadable, progress)
    readings = list(read_batches(batches, reader.predict_views))
    seconds = time.perf_counter() - start
    return _DatasetReadings(data, dataset, readings, unreadable, round(len(dataset) / seconds, 1))


def _open_batches(
    reader: CropReader, data: str, dataset: LabeledDataset, unreadable: list[tuple[int, UserError]], progress: Progress
) -> Iterator[tuple[list[int], list[list[np.ndarray]]]]:
    """Yield the indices and views of each batch of pictures; append unreadable pictures to ``unreadable``."""
    total = len(dataset)
    progress(data, 0, total)
    for start in range(0, total, reader.batch_size):
        end = min(start + reader.batch_size, total)
        indices, views = [], []
        for index in range(start, end):
            try:
                views.append(reader.views(dataset.image(index)))
                indices.append(index)
            except UserError as error:
                unreadable.append((index, error))
        if views:
            yield indices, views
        progress(data, end, total)


def _score(
    report: Report,
    read: _DatasetReadings,
    labels: list[str],
    protocol: str,
    fold: Callable[[str], str],
    allow_empty: bool,
) -> None:
    counted: list[Comparison[Prediction]] = []
    dropped: dict[str, int] = {}
    first = all(result.data != read.data for result in report.results)
    for each in compare(read.readings, labels, fold):
        label = labels[each.index]
        blank = not normalize_label(label)
        if each.truth or (blank and allow_empty):
            counted.append(each)
            continue
        reason = EMPTY if blank else EMPTY_UNDER_PROTOCOL
        dropped[reason] = dropped.get(reason, 0) + 1
        if first or not blank:  # list an empty label only once, not for each protocol
            named = reason if blank else f"{reason} {protocol}"
            report.drops.add(named, f"{read.data}/{read.dataset.key(each.index)}", repr(label))
    report.errors.extend(
        Misread(
            read.data, protocol, each.index, read.dataset.key(each.index), each.truth, each.prediction,
            labels[each.index], each.reading.text, each.reading.confidence,
        )
        for each in counted
        if not each.correct
    )  # fmt: skip
    report.results.append(_summarize(read, protocol, counted, dropped))


def _summarize(
    read: _DatasetReadings, protocol: str, counted: Sequence[Comparison[Prediction]], dropped: dict[str, int]
) -> Result:
    pairs = [(each.prediction, each.truth) for each in counted]
    confidences = [each.reading.confidence for each in counted]
    correct = [each.correct for each in counted]
    threshold = metrics.confidence_threshold(confidences, correct) if pairs else None
    unreadable = {UNREADABLE: len(read.unreadable)} if read.unreadable else {}
    return Result(
        data=read.data,
        protocol=protocol,
        n=len(pairs),
        correct=sum(correct),
        word_accuracy=metrics.word_accuracy(pairs) if pairs else None,
        one_minus_ned=metrics.one_minus_ned(pairs) if pairs else None,
        cer=metrics.cer(pairs) if any(truth for _, truth in pairs) else None,
        calibration_error=metrics.expected_calibration_error(confidences, correct) if pairs else None,
        sure_from=threshold[0] if threshold else None,
        sure_share=threshold[1] if threshold else None,
        runaway=sum(each.reading.runaway for each in counted),
        dropped=unreadable | dropped,
        images_per_second=read.images_per_second,
    )


def _cards(data: str, errors: Sequence[Misread]) -> Iterator[Card]:
    dataset = open_labeled(data)
    for error in errors:
        folded = (error.truth, error.prediction) != (error.label, error.text)
        notes = [error.key, f"label {error.label!r}, read {error.text!r}"] if folded else [error.key]
        truth, prediction = graphemes(error.truth), graphemes(error.prediction)
        yield Card(dataset.image(error.index), truth, prediction, error.confidence, notes)


_INTRODUCTION = (
    "The most confident errors come first: there a wrong label is likely, and there a threshold on the confidence "
    "would not help. Characters that differ are marked."
)
_RATES = ("word accuracy", "1-NED", "CER", "ECE")
_COLUMNS = ("data", "protocol", "crops", *_RATES, "99 % right from", "dropped", "images/s")


def _mean_rows(mean: Mean) -> list[tuple[str, ...]]:
    where = (mean.protocol, str(mean.n))
    each = (f"{100 * mean.word_accuracy:.2f} %", f"{100 * mean.one_minus_ned:.2f} %")
    rows = [
        (f"mean of {mean.sets} sets", *where, *each),
        ("all crops together", *where, f"{100 * mean.word_accuracy_of_all:.2f} %"),
    ]
    return [(*row, *("-" for _ in _COLUMNS[len(row) :])) for row in rows]


def _sure(result: Result) -> str:
    """The threshold with as many digits as ``--min-confidence`` needs to accept the same crops, and their share."""
    if result.sure_from is None or result.sure_share is None:
        return "-"
    return f"{metrics.round_down(result.sure_from):.6g} ({100 * result.sure_share:.1f} %)"


def _cells(result: Result) -> tuple[str, ...]:
    rates = (result.word_accuracy, result.one_minus_ned, result.cer, result.calibration_error)
    return (
        result.data,
        result.protocol,
        str(result.n),
        *("-" if rate is None else f"{100 * rate:.2f} %" for rate in rates),
        _sure(result),
        ", ".join(f"{count} {reason}" for reason, count in result.dropped.items()) or "0",
        f"{result.images_per_second:.0f}",
    )
