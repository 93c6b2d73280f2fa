from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.inference.prediction import Prediction, note_cut, note_photograph, note_picture
from dptr.inference.reader import Prepared, Reader


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


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (5000, 32, ["156 times as long as high, squeezed to the 20 "]),
        (1600, 32, []),
        (60, 5, ["5 pixels high; letters need 6 or more"]),
        (60, 6, []),
        (400, 3, ["3 pixels high", "133 times as long"]),
    ],
)
def test_what_is_too_small_or_too_long_is_said(width: int, height: int, said: list[str]) -> None:
    notes = note_picture(width, height, 20, 0.9)
    assert len(notes) == len(said)
    assert all(part in note and "\n" not in note for part, note in zip(said, notes, strict=True))


def test_a_turned_picture_is_as_long_as_it_was_read(tmp_path: Path) -> None:
    reader = Reader("dptr-en-tiny")
    prediction = replace(reader(Image.new("RGB", (40, 40), "white")), text="x")
    assert not reader._note(replace(prediction, turned=90), Prepared([], 32, 300)).notes
    (note,) = reader._note(replace(prediction, turned=90, confidence=0.9), Prepared([], 32, 2000)).notes
    assert note.startswith("62 times as long")


def test_further_frames_are_not_left_out_in_silence(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (40, 20), color) for color in ("white", "red", "blue")]
    for name in ("pages.tiff", "moves.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        (note,) = Reader("dptr-en-tiny")(tmp_path / name).notes
        assert note == "the first of 3 frames; 'dptr ocr' reads all"
    frames[0].save(tmp_path / "one.tiff")
    assert Reader("dptr-en-tiny")(tmp_path / "one.tiff").notes == ()


def test_a_word_longer_than_the_model_writes_is_not_cut_in_silence() -> None:
    """A word of as many characters as the model has places for: its end is not among them."""
    reader = Reader("dptr-en-tiny")
    length, classes = reader.tokenizer.max_length, reader.tokenizer.classes
    rows = np.full((1, length + 1, classes), 1e-6, np.float32)
    rows[0, np.arange(length + 1), 1 + np.arange(length + 1) % 10] = 1
    reader.backend.probabilities = lambda crops: rows[:, : length + 1]  # type: ignore[method-assign]
    prediction = reader(Image.new("RGB", (40, 40), "white"))
    assert prediction.notes == (note_cut(length + 1),) and not prediction.runaway
    rows[0, length] = 0
    rows[0, length, 0] = 1
    assert not reader(Image.new("RGB", (40, 40), "white")).notes


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
