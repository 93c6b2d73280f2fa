"""The mean of two checkpoints, weight by weight, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from helpers_docs import ROOT

from dptr.config.model import DecoderConfig, FMUConfig, ModelConfig, SVTRConfig
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import CHARSETS, resolve_charset
from dptr.utils.errors import UserError

sys.path.insert(0, str(ROOT / "scripts"))
from mean_weights import write_mean


def make(folder: Path, seed: int, length: int = 5, charset: str = "36") -> Path:
    config = ModelConfig(
        charset=charset,
        encoder=SVTRConfig(size="nano", height=16, width=32),
        fmu=FMUConfig(queries=9, heads=2),
        decoder=DecoderConfig.of(kind="nrtr", dim=16, depth=1, heads=2),
        max_length=length,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_recognizer(config, 36)
    card = {"name": f"model {seed}", "thresholds": {"n": 200, "0.99": [0.9, 0.5]}}
    save_checkpoint(folder, "recognizer", model, config, resolve_charset(charset), {}, card, temperature=1.25 + seed)
    return folder


def test_each_weight_is_the_mean(tmp_path: Path) -> None:
    first, second = (make(tmp_path / str(seed), seed) for seed in (0, 1))
    write_mean(first, second, 0.25, tmp_path / "mean")
    states = [load_recognizer(folder).model.state_dict() for folder in (first, second, tmp_path / "mean")]
    for name, tensor in states[2].items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * states[0][name] + 0.25 * states[1][name])
        else:
            assert torch.equal(tensor, states[0][name])
    made = load_recognizer(tmp_path / "mean")
    assert made.card == {"name": "model 0"} and made.temperature == 1.25


def test_validation_crops_calibrate_the_mean(tmp_path: Path) -> None:
    from helpers_train import write_crops
    from ship import calibrate_loaded

    first, second = (make(tmp_path / str(seed), seed) for seed in (0, 1))
    write_crops(tmp_path / "crops", ROOT / "dptr" / "synth" / "embedded", ["apple", "bread", "candy", "delta"] * 5)
    write_mean(first, second, 0.25, tmp_path / "plain")
    write_mean(first, second, 0.25, tmp_path / "mean", tmp_path / "crops")
    expected = calibrate_loaded(load_recognizer(tmp_path / "plain"), [str(tmp_path / "crops")], None)
    made = load_recognizer(tmp_path / "mean")
    assert made.temperature == pytest.approx(expected.temperature) and made.temperature != 1.25
    assert made.card == {"name": "model 0"} | expected.to_card()


def test_the_name_of_a_charset_says_nothing(tmp_path: Path) -> None:
    """``dptr new-language`` names a file of the characters, whose path is another one in each run."""
    characters = CHARSETS["36"]
    (tmp_path / "same.txt").write_text(characters)
    (tmp_path / "other.txt").write_text(characters[1] + characters[0] + characters[2:])
    first = make(tmp_path / "0", 0)
    same, other = (make(tmp_path / name, 1, charset=str(tmp_path / f"{name}.txt")) for name in ("same", "other"))
    write_mean(first, same, 0.5, tmp_path / "mean")
    assert open_checkpoint(tmp_path / "mean").charset == resolve_charset("36")
    with pytest.raises(UserError, match="its settings or characters are not those of"):
        write_mean(first, other, 0.5, tmp_path / "none")


def test_what_has_no_mean_is_refused(tmp_path: Path) -> None:
    first, second, longer = make(tmp_path / "0", 0), make(tmp_path / "1", 1), make(tmp_path / "2", 2, length=6)
    with pytest.raises(UserError, match=r"--share 1\.5: a share is from 0 to 1"):
        write_mean(first, second, 1.5, tmp_path / "mean")
    with pytest.raises(UserError, match="its settings or characters are not those of"):
        write_mean(first, longer, 0.5, tmp_path / "mean")
    with pytest.raises(UserError, match="exists already"):
        write_mean(first, second, 0.5, second)
