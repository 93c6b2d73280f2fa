"""Finds and reads words, and adds them to a label set: from photographs and PDFs, or from crops of one word each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from dptr.inference.prediction import OF_NO_RECOGNIZER, Prediction
from dptr.label.item import Proposal, State, as_label
from dptr.label.pictures import check_outline
from dptr.label.store import Store
from dptr.photo.detect import grow
from dptr.photo.inputs import Failure, InputOptions, Sheet, open_sheets
from dptr.photo.ocr import ALL_PAGES, OCR
from dptr.photo.page import Outline, Page, Word
from dptr.photo.run import run_ocr
from dptr.photo.shapes import from_left
from dptr.utils.errors import UserError

THRESHOLD = 0.99  # confidence from which a word is accepted unseen
MARGIN = 0.12  # added around the box of a word, in heights of the word

Done = Callable[[int], None]
Tell = Callable[[str], None]


@dataclass
class Proposed:
    """The counts of one call of ``propose``.

    Attributes:
        photos: photographs added to the label set.
        failed: pictures or files that could not be opened.
        words: words added.
        sure: words that were accepted unseen; they are among ``words``.
        slivers: words left out because their outline cannot be cut out.
        known: files that were in the set before.
    """

    photos: int = 0
    failed: int = 0
    words: int = 0
    sure: int = 0
    slivers: int = 0
    known: int = 0

    def describe(self) -> str:
        """A summary in one line."""
        parts = [f"{self.photos} pictures", f"{self.words} words", f"{self.sure} accepted unseen"]
        parts += [f"{self.known} files known before"] if self.known else []
        parts += [f"{self.slivers} slivers left out"] if self.slivers else []
        parts += [f"{self.failed} not readable"] if self.failed else []
        return f"dptr: {', '.join(parts)}"


def propose(
    store: Store,
    sources: Iterable[str],
    ocr: OCR,
    crops: bool = False,
    threshold: float = THRESHOLD,
    options: InputOptions = ALL_PAGES,
    done: Done = lambda files: None,
    stopped: Callable[[], bool] = lambda: False,
    complain: Callable[[UserError], None] = lambda error: None,
    tell: Tell = lambda note: None,
) -> Proposed:
    """Find and read words, and add them to a label set.

    A photograph and its words are added in one transaction. A call after an interrupted one continues it: files that
    are complete in the set are skipped, and files that could not be opened are tried again. Memory holds only the
    pictures that are being read.

    Args:
        store: the label set.
        sources: paths of pictures and PDFs.
        ocr: finds and reads the words. For crops, only its reader is used.
        crops: whether each picture is one word.
        threshold: words of this confidence or more are accepted unseen; above 1 none is.
        options: which pages to read, and at which resolution.
        done: called with the number of files so far.
        stopped: called before each file; if it returns True, no further file is read.
        complain: called with the error of each picture that could not be opened.
        tell: called with a sentence, once for each script that no installed recognizer reads.

    Raises:
        UserError: the label set cannot be written, or ``threshold`` is below 0.
    """
    if not threshold >= 0:
        raise UserError(f"threshold {threshold:g}: below 0; pass a confidence, 0 to 1")
    adding = _Adding(store, done, tell)
    before, whole = "", True
    read = _read_crops if crops else _read_photographs
    for path, number, outcome in read(adding.unfinished(sources, stopped), ocr, options, threshold):
        if path != before:
            adding.finish(before, whole)
            before, whole = path, True
        if isinstance(outcome, UserError):
            complain(outcome)
            adding.fail(path, number, outcome)
            whole = False
        else:
            adding.add(path, number, outcome)
    adding.finish(before, whole)
    return adding.proposed


@dataclass(frozen=True)
class _PictureWords:
    """The words of a picture.

    Attributes:
        size: the width and the height of the picture in pixels.
        slivers: how many words were left out.
        missing: a note for each script in it that no installed recognizer reads.
    """

    words: list[Proposal]
    size: tuple[int, int]
    slivers: int = 0
    missing: tuple[str, ...] = ()


class _Adding:
    """Adds the words of pictures to a label set, and counts them; the arguments are those of ``propose``."""

    def __init__(self, store: Store, done: Done, tell: Tell) -> None:
        self.proposed = Proposed()
        self._store, self._done, self._tell = store, done, tell
        self._started = 0
        self._told: set[str] = set()

    def unfinished(self, sources: Iterable[str], stopped: Callable[[], bool]) -> Iterator[str]:
        """The absolute paths of the files that are not complete in the set."""
        for path in map(os.path.abspath, sources):
            if stopped():
                return
            self._started += 1
            if self._store.is_finished(path):
                self.proposed.known += 1
                self._done(self._started)
            else:
                yield path

    def add(self, path: str, number: int, found: _PictureWords, error: str = "") -> None:
        """Add a picture, which is page or frame ``number`` of a file, and its words."""
        for note in found.missing:
            if note not in self._told:
                self._told.add(note)
                self._tell(note)
        if not self._store.add(path, number, found.size, found.words, error=error):
            return
        self.proposed.photos += not error
        self.proposed.words += len(found.words)
        self.proposed.sure += sum(word.state == "sure" for word in found.words)
        self.proposed.slivers += found.slivers

    def fail(self, path: str, number: int, error: UserError) -> None:
        """Add a picture that could not be opened; ``number`` is 0 if its file could not."""
        self.proposed.failed += 1
        self.add(path, max(number, 1), _PictureWords([], (0, 0)), " ".join(str(error).split()))

    def finish(self, path: str, whole: bool) -> None:
        """Mark a file as complete if all its pictures were opened; an empty path is none."""
        if path and whole:
            self._store.finish(path)
        self._done(self._started)


_Outcomes = Iterator[tuple[str, int, _PictureWords | UserError]]


def _read_photographs(sources: Iterable[str], ocr: OCR, options: InputOptions, threshold: float) -> _Outcomes:
    for outcome in run_ocr(ocr, open_sheets(sources, options), keep_pictures=False):
        if isinstance(outcome.page, UserError):
            yield outcome.source, outcome.number, outcome.page
            continue
        words = words_of(outcome.page, threshold)
        size = outcome.page.width, outcome.page.height
        slivers, missing = len(outcome.page.words) - len(words), missing_of(outcome.page.notes)
        yield outcome.source, outcome.number, _PictureWords(words, size, slivers, missing)


def _read_crops(sources: Iterable[str], ocr: OCR, options: InputOptions, threshold: float) -> _Outcomes:
    reader = ocr.reader
    sheets = open_sheets(sources, options)
    while batch := list(islice(sheets, reader.batch_size)):
        pictures = [each.picture for each in batch if isinstance(each, Sheet)]
        prepared = [reader.prepare(picture) for picture in pictures if picture is not None]
        readings = iter(reader.read_prepared(prepared))
        for each in batch:
            if isinstance(each, Failure):
                yield each.source, each.number, each.error
            else:
                assert each.picture is not None, "pages without text of their own are drawn"
                reading = next(readings)
                result = _PictureWords(
                    [crop_of(reading, threshold)], each.picture.size, missing=missing_of(reading.notes)
                )
                yield each.source, each.number, result


def missing_of(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes of a picture that report a script which no installed recognizer reads."""
    return tuple(note for note in notes if note.endswith(OF_NO_RECOGNIZER))


def crop_of(reading: Prediction, threshold: float) -> Proposal:
    """The word of a picture that shows one word.

    Args:
        reading: the recognizer's result for the whole picture.
        threshold: as for ``propose``.
    """
    return Proposal((), reading.text, reading.confidence, _state(reading.text, reading.confidence, threshold))


def words_of(page: Page, threshold: float) -> list[Proposal]:
    """The words of a page, with a margin around each. Words whose outline cannot be cut out are left out.

    The text of a word is what its crop alone reads as (``Word.alone``), where that differs from its text in the line:
    recognizers are trained on crops alone.

    Args:
        page: the result of OCR.
        threshold: as for ``propose``.
    """
    words = []
    for word in page.words:
        outline, text = _outline(word, (page.width, page.height)), word.alone or word.text
        if outline:
            words.append(Proposal(outline, text, word.confidence, _state(text, word.confidence, threshold)))
    return words


def _outline(word: Word, size: tuple[int, int]) -> Outline:
    """The clockwise outline of a word (``from_left``) with a margin; empty if the word cannot be cut out."""
    points = np.array(from_left(word.polygon), np.float64)
    if len(points) == 4:
        heights = np.linalg.norm(points[3] - points[0]), np.linalg.norm(points[2] - points[1])
        points = grow(points, MARGIN * float(np.mean(heights)))
    outline = tuple((float(x), float(y)) for x, y in points)
    try:
        check_outline(outline, size)
    except UserError:
        return ()
    return outline


def _state(text: str, confidence: float, threshold: float) -> State:
    return "sure" if as_label(text) and confidence >= threshold else "open"
