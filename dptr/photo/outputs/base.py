"""What all output formats have in common."""

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
"""A page, and the picture that it was read from: RGB, of the page's size; None for formats that need none."""

XML_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- dptr {__version__} -->\n'
"""Begins every XML file; ``dptr.utils.outputs`` knows by the comment that DPTR wrote it."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


_SPACES = {ord(each): f"&#{ord(each)};" for each in "\t\n\r"}


@dataclass(frozen=True)
class Format:
    """A way to write pages.

    Attributes:
        write: writes pages, as they come, to an open binary file.
        suffixes: of files in this format, in lower case; the first is given to files in a folder.
        draws: whether it needs the pictures.
        single: whether a file holds one page only.
        plain: whether the first pages alone are of use, as lines are and half a document is not.
    """

    write: Callable[[Iterable[Shown], IO[bytes]], None]
    suffixes: tuple[str, ...]
    draws: bool = False
    single: bool = False
    plain: bool = False


def encode(text: str) -> bytes:
    """As UTF-8; what is none, as in the name of a file, is escaped."""
    return text.encode("utf-8", "backslashreplace")


def attributes(**values: object) -> str:
    """Attributes of an XML element, each after a space; None is left out, and ``_`` at the end of a name."""
    return "".join(f" {key.rstrip('_')}={quoted(value)}" for key, value in values.items() if value is not None)


def quoted(value: object) -> str:
    """The value of an XML attribute, in quotes; white space in it stays what it is."""
    return f'"{escape(str(value)).translate(_SPACES)}"'


def escape(text: str) -> str:
    """The text as XML writes it, with U+FFFD for what XML cannot hold."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def probability(value: float) -> str:
    """With four digits."""
    return f"{min(max(value, 0.0), 1.0):.4f}"
