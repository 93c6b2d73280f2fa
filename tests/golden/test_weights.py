"""What ships reads what it read: the same words with the same probabilities, by onnxruntime and by torch.

Tolerances, from differences measured on an AMD EPYC, also with torch held to AVX2 and to no vector instructions at all:
onnxruntime against torch 2e-6, a batch of one against all 2e-6, one kind of instructions against another 2e-6. Golden
confidences have 6 digits and may differ by 1e-5; characters have 4 (an error of 5e-5 by itself) and may by 1e-4.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers_golden import EIGHT_BITS, EXPORTED, FOLDER, MODELS, TTA, digests, glyph_values, open_reader, readings

GOLDEN = json.loads((FOLDER / "readings.json").read_text(encoding="utf-8"))
GLYPH = json.loads((FOLDER / "glyph.json").read_text(encoding="utf-8"))
EIGHT_BITS_TOLERANCE = 0.02  # a difference of 1e-7 may change what is rounded to 8 bits
BACKENDS = [*((name, "onnx") for name in EXPORTED), *((name, "torch") for name in MODELS)]


def compare(found: dict[str, Any], golden: dict[str, Any], characters: float = 1e-4, confidence: float = 1e-5) -> None:
    assert {name: word["text"] for name, word in found.items()} == {name: word["text"] for name, word in golden.items()}
    for name, word in golden.items():
        assert found[name]["turned"] == word["turned"], name
        assert found[name]["confidence"] == pytest.approx(word["confidence"], abs=confidence), name
        assert found[name]["characters"] == pytest.approx(word["characters"], abs=characters), name


@pytest.mark.parametrize(("model", "backend"), BACKENDS)
def test_readings_are_the_golden_ones_in_batches_of_any_size(model: str, backend: str) -> None:
    reader = open_reader(model, backend)
    found = readings(reader)
    if (model, backend) == ("dptr-latin", "onnx"):
        compare(found, GOLDEN[EIGHT_BITS], EIGHT_BITS_TOLERANCE, EIGHT_BITS_TOLERANCE)
    else:
        compare(found, GOLDEN[model])
    for batch in (1, 5):
        reader.batch = batch
        compare(readings(reader), found, 1e-5)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_readings_in_several_ways_are_the_golden_ones(backend: str) -> None:
    model, ways = TTA
    compare(readings(open_reader(model, backend, tta=ways)), GOLDEN[f"{model}, tta {ways}"])


def test_golden_readings_differ_by_model_and_ways_and_hold_turned_words() -> None:
    assert all(len({word["text"] for word in found.values()}) > 10 for found in GOLDEN.values())
    assert all({word["turned"] for word in found.values()} == {0, 90, 270} for found in GOLDEN.values())
    assert len({json.dumps(found) for found in GOLDEN.values()}) == len(GOLDEN)


def test_files_of_weights_are_the_golden_ones() -> None:
    assert digests() == GLYPH["files"]


def test_tokens_of_the_glyph_encoder_are_the_golden_ones() -> None:
    """5 digits; one kind of instructions against another differs by less than the last."""
    found = glyph_values()
    assert found["fingerprint"] == GLYPH["fingerprint"]
    for side in ("text", "slots"):
        assert found[side].keys() == GLYPH[side].keys()
        for name, golden in GLYPH[side].items():
            assert found[side][name]["norms"] == pytest.approx(golden["norms"], abs=5e-5), name
            for row, expected in zip(found[side][name]["first"], golden["first"], strict=True):
                assert row == pytest.approx(expected, abs=5e-5), name
