"""DPTR: decoder pre-training with only text for scene text recognition.

``from dptr import Reader; Reader().read("crop.png")`` reads a crop of one word with the default recognizer, and
``OCR().read("photo.jpg")`` finds and reads the words of a photograph.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from dptr.version import __version__
from dptr.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from dptr.inference.auto import AutoReader as AutoReader
    from dptr.inference.prediction import Prediction as Prediction
    from dptr.inference.reader import Reader as Reader
    from dptr.photo.ocr import OCR as OCR
    from dptr.photo.page import Page as Page
    from dptr.utils.errors import UserError as UserError

__all__ = ["DEFAULT_MODEL", "OCR", "AutoReader", "Page", "Prediction", "Reader", "UserError", "__version__"]

# From 1.29 on, onnxruntime writes a device id and a database of events when it is imported, and sends them some seconds
# later. It reads this variable on import only, so it is set before any module of dptr can import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_LAZY = {
    "AutoReader": "dptr.inference.auto",
    "OCR": "dptr.photo.ocr",
    "Page": "dptr.photo.page",
    "Prediction": "dptr.inference.prediction",
    "Reader": "dptr.inference.reader",
    "UserError": "dptr.utils.errors",
}


def __getattr__(name: str) -> Any:
    """``Reader`` brings numpy and Pillow along, so public names are imported when they are first asked for."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dptr' has no attribute '{name}'")
