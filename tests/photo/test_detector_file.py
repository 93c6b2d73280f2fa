"""The detector that ships is PP-OCRv6's, rounded to 8 bits, and marks the same pixels as text."""

from __future__ import annotations

import importlib

import numpy as np
import onnx
import pytest
from helpers_docs import ROOT
from helpers_photo import PHOTOGRAPH
from PIL import Image

from dptr.photo.detect import EMBEDDED, DBDetector, find_rapidocr


def test_its_file_is_what_the_script_makes_of_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    script = importlib.import_module("detector")
    assert onnx.load(EMBEDDED) == script.round_detector(onnx.load(find_rapidocr()))


def test_its_map_is_nearly_that_of_the_published_one() -> None:
    image = Image.open(PHOTOGRAPH).convert("RGB")
    ours, published = (DBDetector(path, bgr=True).map_text(image) for path in (EMBEDDED, find_rapidocr()))
    text = published > 0.3
    assert text.sum() > 1000
    assert np.abs(ours - published).mean() < 1e-3
    assert ((ours > 0.3) != text).sum() < 0.02 * text.sum()
