"""Reading sheets in order: those whose own text is used pass by the reader, the others go through it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

from PIL import Image

from dptr.photo.assemble import make_line
from dptr.photo.inputs import Failure, Sheet
from dptr.photo.page import Page
from dptr.utils.errors import UserError


class PageReader(Protocol):
    """What reads pictures: ``dptr.photo.ocr.OCR``."""

    def stream(self, pictures: Iterable[tuple[str, int, Image.Image | UserError]]) -> Iterator[Page | UserError]:
        """An outcome for each picture, in order."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A page that was read, or why it could not be; and its picture, where pictures are kept."""

    source: str
    number: int
    page: Page | UserError
    picture: Image.Image | None = None


def run_ocr(ocr: PageReader, sheets: Iterable[Sheet | Failure], keep_pictures: bool) -> Iterator[Outcome]:
    """Read sheets, and yield an outcome for each, in order, as soon as it and those before it are there.

    In memory are at most the pictures that ``ocr`` takes ahead.

    Args:
        keep_pictures: yield the pictures too.
    """
    for ready, run in groupby(sheets, key=lambda sheet: isinstance(sheet, Sheet) and sheet.page is not None):
        if ready:
            yield from _pass_on(run)
        else:
            yield from _read(ocr, run, keep_pictures)


def _pass_on(sheets: Iterable[Sheet | Failure]) -> Iterator[Outcome]:
    for sheet in sheets:
        assert isinstance(sheet, Sheet) and sheet.page is not None
        yield Outcome(sheet.source, sheet.number, sheet.page, sheet.picture)


def _read(ocr: PageReader, sheets: Iterable[Sheet | Failure], keep_pictures: bool) -> Iterator[Outcome]:
    waiting: deque[tuple[str, int, Image.Image | None]] = deque()  # what the reader has taken, in order

    def pictures() -> Iterator[tuple[str, int, Image.Image | UserError]]:
        for sheet in sheets:
            picture = None if isinstance(sheet, Failure) else sheet.picture
            waiting.append((sheet.source, sheet.number, picture if keep_pictures else None))
            if isinstance(sheet, Failure):
                yield sheet.source, sheet.number, sheet.error
            else:
                assert picture is not None, "a sheet without text has a picture"
                yield sheet.source, sheet.number, picture

    for page in ocr.stream(pictures()):
        source, number, picture = waiting.popleft()
        yield Outcome(source, number, page, picture)


def keep_confident(page: Page, least: float) -> tuple[Page, int]:
    """A page without the words below a confidence, and how many they are; lines that lose all of theirs go too, and
    others reach around what is left.

    Args:
        least: 0 to 1.
    """
    lines = []
    for line in page.lines:
        words = tuple(word for word in line.words if word.confidence >= least)
        if words:
            lines.append(line if len(words) == len(line.words) else make_line(words, line.angle, line.block))
    kept = replace(page, lines=tuple(lines))
    return kept, len(page.words) - len(kept.words)
