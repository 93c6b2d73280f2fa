"""Output formats for pages, by name, and the choice of a format.

A format is a function that writes pages, as they come, to an open binary file. To add one, write such a function in a
file of this folder, and add it to ``FORMATS``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO

from dptr.photo.outputs.alto import write_alto
from dptr.photo.outputs.base import Format, Shown
from dptr.photo.outputs.hocr import write_hocr
from dptr.photo.outputs.page_xml import write_page_xml
from dptr.photo.outputs.pdf import write_pdf
from dptr.photo.outputs.plain import write_csv, write_json, write_text, write_tsv
from dptr.utils.errors import UserError
from dptr.utils.files import atomic_file
from dptr.utils.terminal import print_unfinished, say

__all__ = ["FORMATS", "Format", "Shown", "choose_formats", "is_folder", "write_pages"]

FORMATS: dict[str, Format] = {
    "text": Format(write_text, (".txt", ".text"), plain=True),
    "json": Format(write_json, (".json", ".jsonl", ".ndjson"), plain=True),
    "tsv": Format(write_tsv, (".tsv",), plain=True),
    "csv": Format(write_csv, (".csv",), plain=True),
    "hocr": Format(write_hocr, (".hocr", ".html")),
    "alto": Format(write_alto, (".alto.xml", ".alto")),
    "page": Format(write_page_xml, (".page.xml", ".page"), single=True),
    "pdf": Format(write_pdf, (".pdf",), draws=True),
}

STANDARD_OUTPUT = "-"


def choose_formats(styles: str | None, out: str) -> tuple[str, ...]:
    """The names of the output formats: ``styles`` if they are given, otherwise by the suffix of the output.

    Args:
        styles: names in ``FORMATS``, with commas between them; None = by the suffix, and text for ``-`` and for
            folders.
        out: a file, a folder, or ``-`` for standard output.

    Raises:
        UserError: there is no such format, or no format has this suffix.
    """
    if styles is not None:
        names = tuple(dict.fromkeys(styles.split(",")))
        if unknown := [name for name in names if name not in FORMATS]:
            raise UserError(f"format {unknown[0]!r}: there are {', '.join(FORMATS)}")
        return names
    if out == STANDARD_OUTPUT or is_folder(out):
        return ("text",)
    name = os.path.basename(out).lower()
    format_name = next((key for key, each in FORMATS.items() if name.endswith(each.suffixes)), None)
    if format_name is None:
        raise UserError(f"{out}: its suffix is no format's; pass --format ({', '.join(FORMATS)})")
    return (format_name,)


def is_folder(out: str) -> bool:
    """Whether ``out`` is a folder for output files: it ends in a slash, or it is an existing folder."""
    return out.endswith(("/", os.sep)) or os.path.isdir(out)


@contextmanager
def open_binary(out: str | Path, plain: bool = False, replaces: bool = False) -> Iterator[IO[bytes]]:
    """Open a file that appears only when it is complete; or standard output, for ``-``.

    If the file cannot be completed, a message says so. An incomplete file of a ``plain`` format is copied to standard
    output, so that it is not lost.

    Raises:
        UserError: see ``dptr.utils.files.atomic_file``.
    """
    if str(out) == STANDARD_OUTPUT:
        yield sys.stdout.buffer
        return
    with atomic_file(out, replaces) as aside, open(aside, "wb") as file:
        try:
            yield file
        except BaseException:
            with suppress(OSError):  # a full disk
                file.flush()
            if plain:
                print_unfinished(aside, out)
            else:
                say(f"dptr: {out} is not written; -o DIR/ keeps the file of each input as it is finished", level=-1)
            raise


def write_pages(pages: Iterable[Shown], style: str, out: str | Path, replaces: bool = False) -> None:
    """Write pages to a file, as they come. Without a page, nothing is written.

    Args:
        style: a name in ``FORMATS``.
        out: a file, or ``-`` for standard output.
        replaces: see ``dptr.utils.files.atomic_file``.

    Raises:
        UserError: the file cannot be written; it exists, and DPTR did not write it; or the format holds fewer pages.
    """
    rest = iter(pages)
    for first in rest:
        with open_binary(out, FORMATS[style].plain, replaces) as file:
            FORMATS[style].write(chain([first], rest), file)
