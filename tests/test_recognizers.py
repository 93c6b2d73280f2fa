"""The recognizers of other scripts that the project ships: what they read, and how large they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_docs import ROOT

from dptr.evaluation.metrics import protocol
from dptr.inference.onnx_backend import OnnxModel
from dptr.inference.reader import Reader
from dptr.text.languages import LANGUAGES
from dptr.weights.packages import read_catalog

CROPS = Path(__file__).parent / "golden" / "recognizers"  # rendered without photographs, in fonts of the held-out part
GOLDEN: dict[str, list[list[str]]] = json.loads((CROPS / "readings.json").read_text(encoding="utf-8"))
"""By recognizer: each crop's file, what is written on it, and what is read."""
NAMES = sorted(read_catalog())


def model_of(name: str) -> Path:
    return ROOT / "recognizers" / name / f"dptr_{name}" / "model.onnx"


def test_every_recognizer_has_golden_readings() -> None:
    assert sorted(GOLDEN) == NAMES and len(NAMES) > 1


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_what_it_read(name: str) -> None:
    rows, card = GOLDEN[name], json.loads(model_of(name).with_name("card.json").read_text(encoding="utf-8"))
    fold = protocol(card["results"][0]["protocol"])
    readings = Reader(model_of(name)).read([CROPS / file for file, _, _ in rows])
    assert [reading.text for reading in readings] == [text for _, _, text in rows]
    assert sum(fold(written) == fold(text) for _, written, text in rows) >= len(rows) / 2
    assert all(0 < reading.confidence <= 1 for reading in readings)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_and_writes_its_languages(name: str) -> None:
    file, package = model_of(name), read_catalog()[name]
    assert file.stat().st_size < 8e6
    held = OnnxModel(file).metadata
    assert held["name"] == name and held["numbers"] in ("int8 weights", "float16 weights")
    for code in package.languages:
        letters = {each for each in LANGUAGES[code].charset if each.isalpha()}
        assert letters <= {*held["charset"]["characters"]}, code
    assert "/" not in held["charset"]["name"]
    card = json.loads(file.with_name("card.json").read_text(encoding="utf-8"))
    assert card["results"][0]["n"] >= 490 and package.word_accuracy == card["results"][0]["word_accuracy"]


@pytest.mark.parametrize("name", NAMES)
def test_its_page_says_where_it_comes_from(name: str) -> None:
    page = model_of(name).with_name("README.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in page and "\n## License\n" in page
    assert "PP-OCRv6_rec_small" in page or "continue from those of `dptr-en` alone" in page
