from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from dptr.inference.prediction import Prediction, note_photograph
from dptr.inference.reader import Reader


def test_a_prediction_is_its_text_and_json() -> None:
    prediction = Prediction("né", 0.123456789, (("n", 0.98765432), ("é", 1.0)), turned=90, notes=("small",))
    assert str(prediction) == f"{prediction}" == "né"
    assert "Prediction(text='né'" in repr(prediction)
    assert prediction.to_dict() == {
        "text": "né",
        "confidence": 0.123457,
        "runaway": False,
        "turned": 90,
        "characters": [["n", 0.987654], ["é", 1.0]],
        "notes": ["small"],
    }
    assert json.loads(json.dumps(prediction.to_dict())) == prediction.to_dict()


@pytest.mark.parametrize(
    ("width", "height", "confidence", "noted"),
    [
        (1280, 720, 0.01, True),
        (720, 1280, 0.01, True),
        (4032, 3024, 0.95, False),  # a close-up of one word
        (2500, 700, 0.1, False),  # longer than a photograph
        (640, 299, 0.01, False),
        (299, 299, 0.01, False),
        (750, 300, 0.4, True),
    ],
)
def test_a_whole_photograph_is_large_not_long_and_read_with_little_confidence(
    width: int, height: int, confidence: float, noted: bool
) -> None:
    notes = note_photograph(width, height, confidence)
    assert len(notes) == noted
    assert not noted or (f"{width}x{height}" in notes[0] and "dptr ocr" in notes[0] and "\n" not in notes[0])


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="DPTR_DATA names no folder with iiit5k, ic15 and natural")
@pytest.mark.parametrize("name", ["dptr-en", "dptr-en-tiny"])
def test_photographs_get_the_note_and_word_crops_do_not(name: str) -> None:
    """Of 22,835 crops for training, those with a shorter side of 300 pixels and more are in these two sets."""
    data = Path(os.environ["DPTR_DATA"])
    crops = [path for data_set in ("iiit5k", "ic15") for path in sorted((data / data_set / "train/images").iterdir())]
    scenes = sorted(path for path in (data / "ic15/scenes").rglob("*") if path.suffix in (".jpg", ".png"))
    photographs = sorted((data / "natural").glob("*.jpg"))[::10]
    assert len(crops) > 6000 and len(scenes) == 60 and len(photographs) == 50
    reader = Reader(name)
    crops = [path for path in crops if min(size(path)) >= 300]
    noted = [sum(bool(read.notes) for read in reader.read(paths)) for paths in (crops, scenes, photographs)]
    assert noted[0] <= 2, "more than 1 in 10,000"
    assert noted[1] >= 58 and noted[2] >= 45


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
