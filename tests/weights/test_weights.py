from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dptr.inference.zoo import model_cards
from dptr.models.checkpoint import open_checkpoint
from dptr.utils.errors import UserError
from dptr.weights import SHIPPED, model_file, model_folders


@pytest.fixture
def reading_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if dptr-weights were not installed."""
    monkeypatch.setitem(sys.modules, "dptr_weights", None)


def test_files_of_both_packages_are_found_by_the_model_name() -> None:
    exported, weights = model_file("dptr-en", "model.onnx"), model_file("dptr-en", "model.safetensors")
    assert exported.is_file() and weights.is_file() and exported.parent != weights.parent
    assert model_folders("dptr-en") == [exported.parent, weights.parent]
    assert model_folders("glyph-en") == [model_file("glyph-en", "residuals.safetensors").parent]
    assert not model_file("glyph-en", "no such bank.safetensors").exists()


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert model_file(tmp_path, "config.json") == tmp_path / "config.json"
    assert model_file("runs/dptr-en", "x") == Path("runs/dptr-en/x")


def test_no_file_ships_twice() -> None:
    for name in SHIPPED:
        files = [file.name for folder in model_folders(name) for file in folder.iterdir()]
        assert len(files) == len(set(files)), name


def test_without_dptr_weights_the_error_says_what_to_install(reading_only) -> None:
    for model, file in (("dptr-en", "model.safetensors"), ("glyph-en", "config.json")):
        with pytest.raises(UserError, match=rf"^model '{model}'.*pip install \./weights$"):
            model_file(model, file)
    with pytest.raises(UserError, match="dptr-weights"):
        open_checkpoint("dptr-en")
    assert model_file("dptr-en", "model.onnx").is_file()


def test_without_dptr_weights_the_recognizers_are_listed(reading_only) -> None:
    cards = model_cards()
    assert [card["name"] for card in cards] == ["dptr-latin", "dptr-en", "dptr-en-tiny"]
    assert cards[0]["megabytes"] < 8
    with pytest.raises(UserError, match="dptr-weights"):
        model_cards("glyph-en")
