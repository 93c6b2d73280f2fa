"""The callables for pandas, Spark, and Dask."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import pandas as pd
import pytest
from helpers_batch import MODEL, draw_words

from dptr.batch import FrameReader
from dptr.inference.reader import Reader
from dptr.utils.errors import UserError

PICTURES = draw_words(6)


def test_tables_get_text_confidence_and_error(tmp_path: Path) -> None:
    (tmp_path / "crop.png").write_bytes(PICTURES[5])
    reader = Reader(MODEL)
    frame = pd.DataFrame({"id": range(8), "image": [*PICTURES[:5], str(tmp_path / "crop.png"), b"no picture", None]})
    found = FrameReader(reader)(frame)
    assert [*found.columns] == ["id", "image", "text", "confidence", "error"] and len(frame.columns) == 2
    expected = reader.read(PICTURES)
    assert [*found["text"][:6]] == [each.text for each in expected]
    assert found["confidence"][:6].tolist() == pytest.approx([each.confidence for each in expected])
    assert found["error"][:6].isna().all() and found["text"][6:].isna().all()
    assert "row 6" in found["error"][6] and "holds no picture" in found["error"][7]


def test_columns_that_are_missing_or_taken_are_refused() -> None:
    with pytest.raises(UserError, match="no column 'image', but picture"):
        FrameReader(Reader(MODEL))(pd.DataFrame({"picture": PICTURES}))
    with pytest.raises(UserError, match="column 'text' is there already"):
        FrameReader(Reader(MODEL))(pd.DataFrame({"image": PICTURES, "text": "x"}))


def _map_partition(function: bytes, frames: list[pd.DataFrame]) -> list[list[str]]:
    """What Spark and Dask do: the function comes by pickle, and gets a part of the table at a time."""
    return [[*frame["text"]] for frame in pickle.loads(function)(iter(frames))]


def test_the_function_travels_to_other_processes() -> None:
    frames = [pd.DataFrame({"image": PICTURES[start : start + 2]}) for start in range(0, 6, 2)]
    function = pickle.dumps(FrameReader(Reader(MODEL)).stream)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        texts = pool.apply(_map_partition, (function, frames))
    assert [text for part in texts for text in part] == [each.text for each in Reader(MODEL).read(PICTURES)]
