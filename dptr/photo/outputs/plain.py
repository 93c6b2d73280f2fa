"""Text, TSV, CSV, and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import IO

from dptr.photo.outputs.base import Shown, encode
from dptr.photo.page import Page
from dptr.utils.escapes import dump_json, escape
from dptr.version import __version__

PAGE_BREAK = "\f"
COLUMNS = (
    *("image", "page", "block", "line", "word"),
    *("x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4", "confidence", "text", "outline"),
)


def write_text(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write the text of each page, with a form feed between pages."""
    for index, (page, _) in enumerate(pages):
        file.write(encode(PAGE_BREAK * (index > 0) + escape(page.text, keep="\n") + "\n" * bool(page.lines)))
        file.flush()


def write_tsv(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write a line of column names (``COLUMNS``), then a line for each word, with its confidence, and its corners in
    pixels.

    Page, block, line, and word are numbered from 1: blocks and lines within the page, words within the line. In the
    name of the image, tabs, line ends, other control characters, and backslashes are escaped with a backslash. Curved
    text also has its outline: points ``x,y`` separated by spaces, along its top and back along its bottom.
    """
    file.write(encode("\t".join(COLUMNS) + "\n"))
    for page, _ in pages:
        name = escape(page.source.replace("\\", "\\\\"))
        for row in _rows(page):
            cells = [name, *row[1:-2], escape(row[-2]), row[-1]]
            file.write(encode("\t".join(cells) + "\n"))
        file.flush()


def write_csv(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write the rows of ``write_tsv``, separated by commas, with quotes where needed.

    Names and texts are not escaped, except for control characters on a terminal.
    """
    convert = escape if file.isatty() else str
    file.write(encode(",".join(COLUMNS) + "\n"))
    for page, _ in pages:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(map(convert, row) for row in _rows(page))
        file.write(encode(table.getvalue()))
        file.flush()


def write_json(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write a line for each page: ``Page.to_dict`` as a JSON object, with DPTR's version as the first key."""
    for page, _ in pages:
        file.write(encode(dump_json({"dptr": __version__, **page.to_dict()}) + "\n"))
        file.flush()


def _rows(page: Page) -> Iterator[list[str]]:
    """The cells of each word, in the order of ``COLUMNS``."""
    for number, line in enumerate(page.lines, 1):
        for place, word in enumerate(line.words, 1):
            box = [_format_number(value) for point in word.box for value in point]
            outline = " ".join(f"{_format_number(x)},{_format_number(y)}" for x, y in word.outline)
            numbers = [str(each) for each in (page.number, line.block + 1, number, place)]
            yield [page.source, *numbers, *box, f"{word.confidence:.4f}", word.text, outline]


def _format_number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
