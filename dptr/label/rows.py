"""Converts words to rows of the database and back."""

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
"""The query whose rows ``make_item`` converts."""

ADD = (
    "INSERT INTO item (id, photo, outline, proposed, confidence, text, state, version, changed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)"
)
"""The statement whose parameters ``new_row`` returns."""

HIGHEST = "highest id"
"""The key of the note with the highest id that any word has had.

Ids are never reused, because somebody's page may still show a word that was removed.
"""


def make_item(row: Sequence[Any]) -> Item:
    """The word in a row of ``ITEM``."""
    id, photo_id, path, number, width, height, outline, proposed, confidence, text, state, version = row
    photo = Photo(photo_id, os.fsdecode(path), number, width, height)
    return Item(id, photo, _load_outline(outline), proposed, confidence, text, state, version)


def new_row(id: int, photo: int, word: Proposal, now: float) -> tuple[Any, ...]:
    """The parameters of ``ADD`` for a new word.

    Args:
        id: of the word, from ``next_id``.
        photo: the id of its photograph.
        word: its text is normalized by ``as_label``.
        now: seconds since the epoch.
    """
    text = as_label(word.text)
    return id, photo, dump_outline(word.outline), text, word.confidence, text, word.state, now


def next_id(connection: Connection) -> int:
    """The id for the next word. The caller has to add the word in the same transaction."""
    query = (
        "SELECT max(coalesce((SELECT max(id) FROM item), 0), "
        "coalesce((SELECT CAST(value AS INTEGER) FROM note WHERE key = ?), 0)) + 1"
    )
    return int(connection.execute(query, (HIGHEST,)).fetchone()[0])


def dump_outline(outline: Outline) -> str:
    """An outline as JSON, rounded to 0.1 pixels; an empty string for an empty outline."""
    return json.dumps([[round(x, 1), round(y, 1)] for x, y in outline]) if outline else ""


def _load_outline(outline: str) -> Outline:
    return tuple((x, y) for x, y in json.loads(outline)) if outline else ()
