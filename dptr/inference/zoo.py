"""The models that ship: which are installed, and what is known of each."""

from __future__ import annotations

from typing import Any

from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.weights import SHIPPED, model_file, model_folders


def model_cards(name: str | None = None) -> list[dict[str, Any]]:
    """The cards of all models that are installed, or of one.

    Returns:
        Each card as JSON holds it (``kind``, ``trained_on``, ``results``, ``version``, ...), after the keys ``name``
        and ``megabytes`` (10^6 bytes, of all files that are installed).

    Raises:
        UserError: no model of that name ships, or it is in dptr-weights, which is not installed.
    """
    names = [shipped for shipped in SHIPPED if model_folders(shipped)] if name is None else [_check(name)]
    return [
        {"name": each, "megabytes": _megabytes(each), **read_json(model_file(each, "card.json"), "model card")}
        for each in names
    ]


def model_readme(name: str) -> str | None:
    """All that is known of a model that ships, in Markdown; None where its folder has no such page.

    Raises:
        UserError: see ``model_cards``.
    """
    page = model_file(_check(name), "README.md")
    return page.read_text(encoding="utf-8") if page.exists() else None


def _check(name: str) -> str:
    if name not in SHIPPED:
        raise UserError(f"no model '{name}' ships; there are {', '.join(SHIPPED)}")
    return name


def _megabytes(name: str) -> float:
    return sum(file.stat().st_size for folder in model_folders(name) for file in folder.iterdir()) / 1e6
