"""DPTR: decoder pre-training with only text for scene text recognition.

``from dptr import Reader; Reader().read("photo.png")`` reads a word crop with the recognizer that ships.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dptr.version import __version__
from dptr.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from dptr.inference.reader import Prediction as Prediction
    from dptr.inference.reader import Reader as Reader

__all__ = ["DEFAULT_MODEL", "Prediction", "Reader", "__version__"]


def __getattr__(name: str) -> Any:
    """``Reader`` and ``Prediction`` bring numpy and Pillow along, so they are imported when first asked for."""
    if name in ("Prediction", "Reader"):
        return getattr(importlib.import_module("dptr.inference.reader"), name)
    raise AttributeError(f"module 'dptr' has no attribute '{name}'")
