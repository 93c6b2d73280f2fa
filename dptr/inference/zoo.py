"""The models that ship: which there are, and what is known of each. ``dptr.weights`` holds their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dptr.weights
from dptr.utils.errors import UserError
from dptr.utils.files import read_json


def model_cards(name: str | None = None) -> list[dict[str, Any]]:
    """The cards of all models that ship, or of one.

    Returns:
        Each card as JSON holds it (``kind``, ``trained_on``, ``results``, ``version``, ...), after the keys ``name``
        and ``megabytes`` (10^6 bytes, of all files).

    Raises:
        UserError: no model of that name ships.
    """
    folders = dptr.weights.SHIPPED if name is None else {name: _folder(name)}
    return [
        {"name": shipped, "megabytes": _megabytes(folder), **read_json(folder / "card.json", "model card")}
        for shipped, folder in folders.items()
    ]


def model_readme(name: str) -> str | None:
    """All that is known of a model that ships, in Markdown; None where its folder has no such page.

    Raises:
        UserError: no model of that name ships.
    """
    page = _folder(name) / "README.md"
    return page.read_text(encoding="utf-8") if page.exists() else None


def _folder(name: str) -> Path:
    shipped = dptr.weights.SHIPPED
    if name not in shipped:
        raise UserError(f"no model '{name}' ships; there are {', '.join(shipped)}")
    return shipped[name]


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
