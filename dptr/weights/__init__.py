"""The models that ship: their names, and where their files lie.

This folder holds what onnxruntime reads. What needs torch, the recognizers' ``model.safetensors`` and the dual encoder
with its banks, is a distribution of its own, ``dptr-weights``; the extra ``train`` brings it. Recognizers of other
scripts are distributions too (``dptr.weights.packages``).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.weights.packages import find_folder

DEFAULT_MODEL = "dptr-latin"
START_MODEL = "dptr-en"
"""What ``dptr adapt`` and ``dptr new-language`` start from unless they name another; ``dptr finetune`` starts from
``DEFAULT_MODEL``, of which a step takes three times as long."""
AUTO = "auto"
"""Stands for a recognizer's name: that of the script that a crop shows (``dptr.inference.auto``)."""
SHIPPED = ("dptr-latin", "dptr-en", "dptr-en-tiny", "glyph-en")


def model_file(model: str | Path, file: str) -> Path:
    """The path of a model's file; the file need not be there.

    Args:
        model: a shipped name, that of an installed recognizer, or a folder.
        file: its name in the folder, such as ``config.json``.

    Raises:
        UserError: the file of a shipped model is not in this folder, and dptr-weights is not installed.
    """
    if str(model) not in SHIPPED:
        return find_folder(model) / file
    paths = [folder / str(model) / file for folder in _folders()]
    found = next((path for path in paths if path.exists()), None)
    if found is None and len(paths) == 1:
        raise UserError(
            f"model '{model}': its weights for torch are in dptr-weights, which is not installed; install it in the "
            "folder of DPTR's source: pip install ./weights"
        )
    return found or paths[-1]


def model_folders(name: str) -> list[Path]:
    """The installed folders that hold files of a shipped model: here, in dptr-weights, or in both."""
    return [folder / name for folder in _folders() if (folder / name).is_dir()]


def _folders() -> list[Path]:
    """This folder, and that of dptr-weights where it is installed."""
    spec = find_spec("dptr_weights")
    return [Path(__file__).parent, *(Path(place) for place in (spec and spec.submodule_search_locations) or ())]
