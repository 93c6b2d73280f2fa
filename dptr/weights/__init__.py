"""The models that ship: names, and the folders beside this file that hold them."""

from __future__ import annotations

from pathlib import Path

_WEIGHTS = Path(__file__).parent

DEFAULT_MODEL = "dptr-en"

SHIPPED: dict[str, Path] = {
    "dptr-en": _WEIGHTS / "dptr-en",
    "dptr-en-tiny": _WEIGHTS / "dptr-en-tiny",
    "glyph-en": _WEIGHTS / "glyph-en",
}


def model_folder(model: str | Path) -> Path:
    """The folder of a shipped name, or the path itself."""
    return SHIPPED.get(str(model), Path(model))
