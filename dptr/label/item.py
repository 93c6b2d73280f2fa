"""The contents of a label set: photographs, and the words in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dptr.photo.page import Outline
from dptr.text.charset import normalize_label
from dptr.utils.errors import UserError

State = Literal["open", "sure", "labeled", "illegible"]
"""The state of a word.

- ``open``: it waits for a person.
- ``sure``: it was accepted unseen, because the recognizer's confidence reached the threshold.
- ``labeled``: a person labeled it.
- ``illegible``: a person marked it illegible.
"""

STATES: tuple[State, ...] = get_args(State)
ACCEPTED: tuple[State, ...] = ("sure", "labeled")
LONGEST = 200  # characters in a label


@dataclass(frozen=True)
class Photo:
    """A photograph, a page, or a crop.

    Attributes:
        id: its number in the database.
        path: the path of the file. If the label set stores the file itself, only a name.
        number: the page or frame in the file, from 1.
        width, height: in pixels; 0 if the file could not be opened.
        error: why the file could not be opened; empty if it could.
    """

    id: int
    path: str
    number: int
    width: int
    height: int
    error: str = ""


@dataclass(frozen=True)
class Proposal:
    """A word to be added to a label set.

    Attributes:
        outline: the corners in pixels, as in ``dptr.photo.page.Word.polygon``; empty = the whole picture.
        text: the text that the recognizer read.
        confidence: the recognizer's confidence, 0 to 1.
        state: the state that the word gets.
    """

    outline: Outline
    text: str
    confidence: float
    state: State = "open"


@dataclass(frozen=True)
class Item:
    """A word of a label set.

    Attributes:
        id: its number in the database, from 1.
        photo: the photograph that shows the word.
        outline: the corners in pixels; empty = the whole picture.
        proposed: the text that the recognizer read.
        confidence: the recognizer's confidence in ``proposed``, 0 to 1.
        text: the label. For an open word: the proposed text, or a draft that a person has begun.
        state: see ``State``.
        version: the version of the word, from 1; each change adds 1.
    """

    id: int
    photo: Photo
    outline: Outline
    proposed: str
    confidence: float
    text: str
    state: State
    version: int


class Conflict(UserError):
    """The word was changed by somebody else meanwhile; ``item`` is its present version."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"word {item.id}: changed by somebody else meanwhile, to '{item.text}' ({item.state})")
        self.item = item


def check_text(text: str, empty: bool = False) -> str:
    """Check a label, and normalize it to Unicode NFC with single spaces between words and none at the ends.

    Args:
        text: the label as a person or a file gives it.
        empty: whether an empty label is valid.

    Raises:
        UserError: the label holds control characters or lone surrogates, is longer than ``LONGEST``, or is empty.
    """
    text = normalize_label(text, spaces=True)
    if any(ord(character) < 32 or character == "\x7f" for character in text) or storable(text) != text:
        raise UserError(f"label {text[:40]!r}: holds a control or half a character; write what is to be read")
    if len(text) > LONGEST:
        raise UserError(f"label of {len(text)} characters: {LONGEST} are kept at most; cut the box into words")
    if not text and not empty:
        raise UserError("an empty label; write what is to be read, or mark it illegible")
    return text


def as_label(text: str) -> str:
    """A recognizer's text, normalized as by ``check_text``: then accepting it unchanged does not look like a change."""
    return normalize_label(storable(text), spaces=True)


def storable(text: str) -> str:
    """The text with each lone surrogate, which UTF-8 cannot encode, replaced by ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")
