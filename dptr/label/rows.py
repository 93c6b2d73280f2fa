"""Words as rows of the database, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

from dptr.label.item import Item, Photo, Proposal, as_label
from dptr.photo.page import Outline

ITEM = (
    "SELECT item.id, photo, path, number, width, height, outline, proposed, confidence, text, state, version "
    "FROM item JOIN photo ON photo.id = item.photo"
)
"""The query whose rows ``make_item`` takes."""

ADD = (
    "INSERT INTO item (id, photo, outline, proposed, confidence, text, state, version, changed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)"
)
"""The statement whose values ``new_row`` gives."""

HIGHEST = "highest id"
"""The note of the highest id that a word has had: none is used again, for somebody may still look at the former."""


def make_item(row: Sequence[Any]) -> Item:
    """A word from a row of ``ITEM``."""
    id, photo, path, number, width, height, outline, proposed, confidence, text, state, version = row
    place = Photo(photo, os.fsdecode(path), number, width, height)
    return Item(id, place, _load_outline(outline), proposed, confidence, text, state, version)


def new_row(id: int, photo: int, word: Proposal, now: float) -> tuple[Any, ...]:
    """A new word as the values of ``ADD``."""
    text = as_label(word.text)
    return id, photo, dump_outline(word.outline), text, word.confidence, text, word.state, now


def next_id(connection: Connection) -> int:
    """The id of the next word; the transaction that asks uses it."""
    query = (
        "SELECT max(coalesce((SELECT max(id) FROM item), 0), "
        "coalesce((SELECT CAST(value AS INTEGER) FROM note WHERE key = ?), 0)) + 1"
    )
    return int(connection.execute(query, (HIGHEST,)).fetchone()[0])


def dump_outline(outline: Outline) -> str:
    """An outline as it is stored; empty for a word that is a whole picture."""
    return json.dumps([[round(x, 1), round(y, 1)] for x, y in outline]) if outline else ""


def _load_outline(outline: str) -> Outline:
    return tuple((x, y) for x, y in json.loads(outline)) if outline else ()
