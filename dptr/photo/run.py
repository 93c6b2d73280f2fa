"""Read sheets in order: pages with a text layer in use are passed on, the others are read by OCR."""

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
    """An object that reads pictures, such as ``dptr.photo.ocr.OCR``."""

    def stream(self, pictures: Iterable[tuple[str, int, Image.Image | UserError]]) -> Iterator[Page | UserError]:
        """Yield a page or an error for each picture, in order."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A page that was read, or the error; with its picture, if pictures are kept."""

    source: str
    number: int
    page: Page | UserError
    picture: Image.Image | None = None


def run_ocr(ocr: PageReader, sheets: Iterable[Sheet | Failure], keep_pictures: bool) -> Iterator[Outcome]:
    """Read sheets, and yield an outcome for each, in order, as soon as it and those before it are available.

    Memory holds at most the pictures that ``ocr`` takes ahead.

    Args:
        keep_pictures: whether to include the pictures in the outcomes.
    """
    for has_text, group in groupby(sheets, key=lambda sheet: isinstance(sheet, Sheet) and sheet.page is not None):
        if has_text:
            yield from _pass_on(group)
        else:
            yield from _read(ocr, group, keep_pictures)


def _pass_on(sheets: Iterable[Sheet | Failure]) -> Iterator[Outcome]:
    for sheet in sheets:
        assert isinstance(sheet, Sheet) and sheet.page is not None
        yield Outcome(sheet.source, sheet.number, sheet.page, sheet.picture)


def _read(ocr: PageReader, sheets: Iterable[Sheet | Failure], keep_pictures: bool) -> Iterator[Outcome]:
    pending: deque[tuple[str, int, Image.Image | None]] = deque()  # sheets that the reader took, in order

    def pictures() -> Iterator[tuple[str, int, Image.Image | UserError]]:
        for sheet in sheets:
            picture = None if isinstance(sheet, Failure) else sheet.picture
            pending.append((sheet.source, sheet.number, picture if keep_pictures else None))
            if isinstance(sheet, Failure):
                yield sheet.source, sheet.number, sheet.error
            else:
                assert picture is not None, "a sheet without text has a picture"
                yield sheet.source, sheet.number, picture

    for page in ocr.stream(pictures()):
        source, number, picture = pending.popleft()
        yield Outcome(source, number, page, picture)


def keep_confident(page: Page, least: float) -> tuple[Page, int]:
    """Remove words with a confidence below a limit, and count them.

    Lines without remaining words are removed too. The boxes of the other lines shrink to the remaining words.

    Args:
        least: 0 to 1, the limit.
    """
    lines = []
    for line in page.lines:
        words = tuple(word for word in line.words if word.confidence >= least)
        if words:
            lines.append(line if len(words) == len(line.words) else make_line(words, line.angle, line.block))
    confident_page = replace(page, lines=tuple(lines))
    return confident_page, len(page.words) - len(confident_page.words)
