"""What a set of labels holds: photographs, and the words in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dptr.photo.page import Outline
from dptr.text.charset import normalize_label
from dptr.utils.errors import UserError

State = Literal["open", "sure", "labeled", "illegible"]
"""Of a word: waits for somebody; accepted because the recognizer was sure; labeled by somebody; nobody can read it."""

STATES: tuple[State, ...] = get_args(State)
ACCEPTED: tuple[State, ...] = ("sure", "labeled")
LONGEST = 200  # characters of a label


@dataclass(frozen=True)
class Photo:
    """A photograph, a page, or a crop.

    Attributes:
        path: of the file; of one whose bytes are kept in the set, its name.
        number: of the page or frame in its file, from 1.
        width, height: in pixels; 0 where it could not be opened.
        error: why it could not be opened; empty if it could.
    """

    id: int
    path: str
    number: int
    width: int
    height: int
    error: str = ""


@dataclass(frozen=True)
class Proposal:
    """A word that was found.

    Attributes:
        outline: as ``dptr.photo.page.Word.polygon``; empty = the whole picture.
        text: what was read.
        confidence: 0 to 1.
        state: what becomes of it.
    """

    outline: Outline
    text: str
    confidence: float
    state: State = "open"


@dataclass(frozen=True)
class Item:
    """A word of the set.

    Attributes:
        photo: where it stands.
        outline: as of ``Proposal``.
        proposed, confidence: what the recognizer read, and how sure it was, 0 to 1.
        text: the label; of an open word what is proposed, or what somebody has begun to write.
        version: of this state of it, from 1.
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
    """Somebody else changed the word; ``item`` is what it is now."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"word {item.id}: changed by somebody else meanwhile, to '{item.text}' ({item.state})")
        self.item = item


def check_text(text: str, empty: bool = False) -> str:
    """A label as it is kept: Unicode NFC, each run of white space inside one space, and none at its ends.

    Args:
        empty: whether it may be empty.

    Raises:
        UserError: it holds controls, is too long, or is empty.
    """
    text = normalize_label(text, spaces=True)
    if any(ord(each) < 32 or each == "\x7f" for each in text) or storable(text) != text:
        raise UserError(f"label {text[:40]!r}: holds a control or half a character; write what is to be read")
    if len(text) > LONGEST:
        raise UserError(f"label of {len(text)} characters: {LONGEST} are kept at most; cut the box into words")
    if not text and not empty:
        raise UserError("an empty label; write what is to be read, or mark it illegible")
    return text


def as_label(text: str) -> str:
    """What a recognizer has read, as ``check_text`` keeps it: whoever accepts it unchanged has changed nothing."""
    return normalize_label(storable(text), spaces=True)


def storable(text: str) -> str:
    """Text that can be stored as UTF-8: halves of characters are replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
