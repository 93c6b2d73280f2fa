"""Checkpoints of format 1: read as they are, in the settings of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers_train import Parts, make_parts

from dptr.config.model import GlyphDualConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.dual.glyph.model import load_glyph
from dptr.models.checkpoint import load_recognizer, open_checkpoint
from dptr.models.migrate import FORMAT, migrate
from dptr.weights import SHIPPED, model_file

FLAT = {  # as format 1 has them, whatever the kind
    "encoder": {
        "kind": "svtr", "size": "nano", "height": 16, "width": 32, "widest": 96, "model": "", "frozen": False,
        "tower": None,
    },
    "fmu": {"queries": 6, "heads": 2, "layers": 1, "count": True},
    "decoder": {
        "kind": "parseq", "dim": 16, "depth": 1, "heads": 2, "dropout": 0.1, "permutations": 6, "refinements": 1,
        "autoregressive": True, "iterations": 3, "noisings": 3, "steps": 3,
    },
    "charset": "36",
    "max_length": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory, font_folder: Path) -> Parts:
    return make_parts(tmp_path_factory.mktemp("parts"), font_folder)


def test_keys_of_other_kinds_go_and_the_others_stay() -> None:
    migrated = migrate({"format": 1, "kind": "recognizer", "model": FLAT})
    assert migrated["format"] == FORMAT and FLAT["encoder"]["widest"] == 96  # what was passed is as it was
    model = ModelConfig.model_validate(migrated["model"])
    assert model.encoder == SVTRConfig(size="nano", height=16, width=32, max_width=96)
    assert model.decoder == PARSeqConfig(dim=16, depth=1, heads=2)
    assert migrate(migrated) == migrated


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("ctc", set()), ("nrtr", set()), ("abinet", {"iterations"}), ("mdiff", {"noisings", "steps"})],
)
def test_each_decoder_keeps_its_own(kind: str, kept: set[str]) -> None:
    flat = {**FLAT, "decoder": {**FLAT["decoder"], "kind": kind}}
    decoder = migrate({"format": 1, "kind": "recognizer", "model": flat})["model"]["decoder"]
    assert decoder.keys() == {"kind", "dim", "depth", "heads", "dropout"} | kept


def test_stage_1_leaves_encoder_and_fmu() -> None:
    assert migrate({"format": 1, "kind": "decoder", "model": FLAT})["model"].keys() == {
        "decoder", "charset", "max_length",
    }  # fmt: skip


def test_what_was_no_key_then_is_none_now() -> None:
    odd = {**FLAT, "decoder": {**FLAT["decoder"], "width": 3}}
    assert migrate({"format": 1, "kind": "recognizer", "model": odd})["model"]["decoder"]["width"] == 3


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "glyph-en"])
def test_what_ships_is_read(name: str) -> None:
    described = json.loads(model_file(name, "config.json").read_text())
    config = load_recognizer(name).config
    for part in ("encoder", "fmu", "decoder"):
        held, read = described["model"][part], getattr(config, part)
        defaults = json.loads(type(read)().model_dump_json())
        for key, value in json.loads(read.model_dump_json()).items():
            before = "widest" if key == "max_width" else key
            assert value == held.get(key, held.get(before, defaults[key])), (
                key
            )  # a file without later keys has defaults


def test_glyph_en_is_read() -> None:
    assert load_glyph(GlyphDualConfig()).config.encoder == SVTRConfig(size="nano")


def test_a_folder_of_before_reads_the_same(parts: Parts, tmp_path: Path) -> None:
    now = parts.folder / "recognizer"
    described = json.loads((now / "config.json").read_text())
    assert described["format"] == FORMAT
    then = tmp_path / "then"
    then.mkdir()
    (then / "model.safetensors").write_bytes((now / "model.safetensors").read_bytes())
    flat = {**FLAT, "encoder": {**FLAT["encoder"], "widest": 0}}
    (then / "config.json").write_text(json.dumps({**described, "format": 1, "model": flat}))
    assert open_checkpoint(then).config == open_checkpoint(now).config
    pixels = torch.rand(3, 3, 16, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.equal(load_recognizer(then).model(pixels), load_recognizer(now).model(pixels))
