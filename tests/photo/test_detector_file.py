"""The detector that ships is PP-OCRv6's, rounded to 8 bits, and marks the same pixels as text."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers_docs import ROOT
from helpers_photo import PHOTOGRAPH
from PIL import Image

from dptr.photo.detect import EMBEDDED, DBDetector, find_rapidocr, open_detector


def test_its_file_is_what_the_script_makes_of_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    script = importlib.import_module("detector")
    assert onnx.load(EMBEDDED) == script.round_detector(onnx.load(find_rapidocr()))


def test_its_map_is_nearly_that_of_the_published_one() -> None:
    image = Image.open(PHOTOGRAPH).convert("RGB")
    ours, published = (DBDetector(path).map_text(image) for path in (EMBEDDED, find_rapidocr()))
    text = published > 0.3
    assert text.sum() > 1000
    assert np.abs(ours - published).mean() < 1e-3
    assert ((ours > 0.3) != text).sum() < 0.02 * text.sum()


def test_a_network_of_paddle_reads_the_same_by_name_and_as_a_file(tmp_path: Path) -> None:
    """In the order blue, green, red."""
    image = Image.open(PHOTOGRAPH).convert("RGB").resize((400, 300))
    colored = Image.merge("RGB", (image.getchannel(0).point(lambda value: value // 3), *image.split()[1:]))
    copy = shutil.copyfile(EMBEDDED, tmp_path / "other.onnx")
    named, by_path = (open_detector(each).map_text(colored) for each in ("ppocr", copy))
    assert np.array_equal(named, by_path)
    assert not np.array_equal(named, DBDetector(copy, bgr=False).map_text(colored))
