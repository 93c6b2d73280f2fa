"""Check the model that a user names; the errors say what to pass instead."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from dptr.inference.onnx_backend import SUFFIX
from dptr.inference.zoo import model_cards
from dptr.utils.errors import UserError
from dptr.utils.files import read_json
from dptr.weights import SHIPPED, model_folders
from dptr.weights.packages import describe_package, find_folder, find_packages, read_catalog

RECOGNIZER = "recognizer", "recogniser"  # the second is the spelling in checkpoints of format 1

_WANTED = f"the 'model' folder that 'dptr finetune' wrote, or an {SUFFIX} file that 'dptr export' wrote"


def check_model(model: str | Path) -> None:
    """Check that ``model`` is a recognizer: a shipped name, the name of an installed one, or a path.

    Raises:
        UserError: there is no such name or path, or it is not a recognizer.
    """
    if str(model) in SHIPPED:
        folders = model_folders(str(model))
        _check_kind(_kind(folders[0] / "config.json") if folders else "glyph", model)
        return
    path = find_folder(model)
    if path.is_file():
        if path.suffix != SUFFIX:
            raise UserError(f"model '{model}': a file of another kind; pass {_WANTED}")
    elif not path.is_dir():
        raise UserError(_unknown_model_error(str(model)))
    elif (path / "config.json").is_file():
        _check_kind(_kind(path / "config.json"), model)
    elif not (path / f"model{SUFFIX}").is_file():
        subfolders = sorted(child.parent for child in path.glob("*/config.json"))
        remedy = f"one that has it, such as {subfolders[0]}" if subfolders else _WANTED
        raise UserError(f"model '{model}': a folder without config.json; pass {remedy}")


def _kind(config: Path) -> object:
    described = read_json(config, "model")
    return described.get("kind") if isinstance(described, dict) else None


def _check_kind(kind: object, model: str | Path) -> None:
    if kind == "decoder":
        raise UserError(
            f"model '{model}': a stage 1 decoder, not a recognizer; fine-tune it first: "
            f"dptr finetune --set init.decoder={model} --data CROPS"
        )
    if isinstance(kind, str) and kind not in RECOGNIZER:
        ships = ", ".join(_recognizers())
        raise UserError(f"model '{model}': a {kind} checkpoint, not a recognizer; pass one of {ships}, or {_WANTED}")


def _unknown_model_error(name: str) -> str:
    """The error for an unknown name or path; it lists known names, the most similar first."""
    if os.sep in name or "/" in name or Path(name).suffix in (SUFFIX, ".safetensors", ".pt", ".pth"):
        return f"model '{name}': no such file or folder; check the path, or pass one of {', '.join(_recognizers())}"
    if name in read_catalog():
        return f"model '{name}': dptr-{name} is not installed; {describe_package(name)}"
    names = _recognizers()
    similar = difflib.get_close_matches(name.casefold(), names, len(names), 0)
    return f"model '{name}': no such model; there are {', '.join(similar)}; or pass {_WANTED}"


def _recognizers() -> list[str]:
    """The names of the recognizers that are shipped or installed; other shipped models are not recognizers."""
    return [*(card["name"] for card in model_cards() if card.get("kind") in RECOGNIZER), *find_packages()]
