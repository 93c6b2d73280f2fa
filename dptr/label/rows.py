"""Words as rows of the database, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from dptr.label.item import Item, Photo
from dptr.photo.page import Outline

ITEM = (
    "SELECT item.id, photo, path, number, width, height, outline, proposed, confidence, text, state, version "
    "FROM item JOIN photo ON photo.id = item.photo"
)
"""The query whose rows ``make_item`` takes."""


def make_item(row: Sequence[Any]) -> Item:
    """A word from a row of ``ITEM``."""
    id, photo, path, number, width, height, outline, proposed, confidence, text, state, version = row
    place = Photo(photo, os.fsdecode(path), number, width, height)
    return Item(id, place, _load_outline(outline), proposed, confidence, text, state, version)


def dump_outline(outline: Outline) -> str:
    """An outline as it is stored; empty for a word that is a whole picture."""
    return json.dumps([[round(x, 1), round(y, 1)] for x, y in outline]) if outline else ""


def _load_outline(outline: str) -> Outline:
    return tuple((x, y) for x, y in json.loads(outline)) if outline else ()
