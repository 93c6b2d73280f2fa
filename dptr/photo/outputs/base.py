"""Common parts of the output formats."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO

from PIL import Image

from dptr.photo.page import Page
from dptr.version import __version__

Shown = tuple[Page, Image.Image | None]
"""A page, and the picture that it was read from, RGB, of the same size; None for formats that need no picture."""

XML_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- dptr {__version__} -->\n'
"""The start of every XML file; by the comment, ``dptr.utils.outputs`` recognizes files that DPTR wrote."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


_SPACES = {ord(each): f"&#{ord(each)};" for each in "\t\n\r"}


@dataclass(frozen=True)
class Format:
    """An output format.

    Attributes:
        write: a function that writes pages, as they come, to an open binary file.
        suffixes: of files in this format, in lower case; files in a folder get the first one.
        draws: whether it needs the pictures.
        single: whether a file contains only one page.
        plain: whether an incomplete file is useful: lines of text are, half a document is not.
    """

    write: Callable[[Iterable[Shown], IO[bytes]], None]
    suffixes: tuple[str, ...]
    draws: bool = False
    single: bool = False
    plain: bool = False


def encode(text: str) -> bytes:
    """Encode a text as UTF-8; characters that UTF-8 cannot encode, as in file names, are escaped with a backslash."""
    return text.encode("utf-8", "backslashreplace")


def attributes(**values: object) -> str:
    """The attributes of an XML element, each after a space.

    Attributes whose value is None are omitted. A ``_`` at the end of a name is removed.
    """
    return "".join(f" {key.rstrip('_')}={quoted(value)}" for key, value in values.items() if value is not None)


def quoted(value: object) -> str:
    """The value of an XML attribute, in quotes; white space is escaped, so that parsers keep it."""
    return f'"{escape(str(value)).translate(_SPACES)}"'


def escape(text: str) -> str:
    """Escape a text for XML; characters that XML does not allow become U+FFFD."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def probability(value: float) -> str:
    """A probability with four decimal places, clipped to 0 to 1."""
    return f"{min(max(value, 0.0), 1.0):.4f}"
