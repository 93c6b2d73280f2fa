"""Image towers of CLIP and its kin for a recognizer's image encoder (``dptr.models.encoders.clip_vision``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from dptr.config.model import TowerConfig
from dptr.dual.clip.families import FAMILIES, Family
from dptr.dual.clip.hub import family_class, find_checkpoint, library, pixels_of, reading
from dptr.utils.errors import UserError
from dptr.utils.files import read_json

SETTING = "model.encoder.model"


def tower_settings(model: str) -> TowerConfig:
    """The settings of a checkpoint's image tower. Nothing is downloaded, no weights are read.

    Args:
        model: a folder, or a hub id that ``hf download`` has fetched.

    Raises:
        UserError: transformers is missing or too old, or the checkpoint is not at hand, damaged or of a model whose
            image tower is not read.
    """
    transformers = library(f"{SETTING} = '{model}'")
    folder, family = _checkpoint(model)
    with reading(model, family):
        config: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        vision = config.vision_config.to_diff_dict()
        projection = config.projection_dim if family.head == "linear" else 0
    settings = {
        key: value for key, value in vision.items() if key not in ("transformers_version", "dtype", "torch_dtype")
    }
    mean, std = pixels_of(folder) or family.pixels
    return TowerConfig.model_validate({"vision": settings, "projection": projection, "mean": mean, "std": std})


def tower_weights(model: str) -> dict[str, Tensor]:
    """The weights of a checkpoint's image tower, by the names of ``dptr.models.encoders.clip_vision.ClipVision``.

    Raises:
        UserError: as ``tower_settings``; or the checkpoint lacks weights of its image tower.
    """
    transformers = library(f"{SETTING} = '{model}'")
    folder, family = _checkpoint(model)
    both = family_class(transformers, family, f"{SETTING} = '{model}'")
    with reading(model, family):
        towers, info = both.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    missing = sorted(name for name in info["missing_keys"] if name.startswith(("vision_model.", "visual_projection.")))
    if missing:
        raise UserError(
            f"{SETTING} = '{model}': {len(missing)} weights of its image tower are missing, such as {missing[0]}; pass "
            f"a full {family.title} checkpoint, such as {family.example}"
        )
    tensors = {f"tower.{name}": tensor for name, tensor in towers.vision_model.state_dict().items()}
    if family.head == "linear":
        tensors["projection.weight"] = towers.visual_projection.weight.detach()
    return tensors


def _checkpoint(model: str) -> tuple[Path, Family]:
    clip = FAMILIES["clip"]
    if not model:
        raise UserError(
            f"model.encoder.kind = 'clip-vision': whose tower? set {SETTING} to a folder, or to a hub id such as "
            f"{clip.example}"
        )
    folder = find_checkpoint(model, clip, SETTING, tokenizer=False)
    kind = read_json(folder / "config.json", "configuration").get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise UserError(
            f"{SETTING} = '{model}': model_type '{kind}' has no image tower that is read; model types read: "
            f"{', '.join(FAMILIES)}; pass such a checkpoint, as {clip.example}"
        )
    return folder, FAMILIES[kind]
