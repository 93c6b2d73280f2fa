"""DPTR: decoder pre-training with only text for scene text recognition.

``from dptr import Reader; Reader().read("photo.png")`` reads a word crop with the recogniser that ships.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dptr.reader import Prediction as Prediction
    from dptr.reader import Reader as Reader

__version__ = "0.1.0"
__all__ = ["DEFAULT_MODEL", "Prediction", "Reader", "__version__"]

DEFAULT_MODEL = "dptr-en"


def __getattr__(name: str) -> Any:
    """``Reader`` and ``Prediction`` bring numpy and Pillow along, so they are imported when first asked for."""
    if name in ("Prediction", "Reader"):
        return getattr(importlib.import_module("dptr.reader"), name)
    raise AttributeError(f"module 'dptr' has no attribute '{name}'")
