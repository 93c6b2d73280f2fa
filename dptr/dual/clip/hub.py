"""Loading of CLIP-like checkpoints in the format of ``transformers``, without network."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from dptr.config.model import ClipDualConfig
from dptr.dual.clip.families import FAMILIES, Family, Pixels
from dptr.models.encoders.clip_vision import strict_fault
from dptr.utils.errors import UserError
from dptr.utils.extras import describe_install, missing_package
from dptr.utils.files import read_json


@dataclass(frozen=True)
class Towers:
    """The content of a checkpoint: both towers, their tokenizer, a name, and pixel statistics if it has them."""

    model: Any
    tokenizer: Any
    name: str
    pixels: Pixels | None


def load_towers(config: ClipDualConfig) -> Towers:
    """Load the checkpoint that ``config`` names, on the CPU.

    Raises:
        UserError: no checkpoint is named; transformers is missing or too old; the weights are missing, incomplete,
            damaged, or of another kind.
    """
    if not config.model:
        raise UserError(
            f"dual.kind = '{config.kind}': no weights ship with it; set dual.model to a folder or a hub id, such as "
            f"{next(family.example for family in FAMILIES.values() if family.kind == config.kind)}"
        )
    families = {model_type: family for model_type, family in FAMILIES.items() if family.kind == config.kind}
    first = next(iter(families.values()))
    transformers = library(f"dual.kind = {config.kind}")
    folder = find_checkpoint(config.model, first)
    model_type = read_json(folder / "config.json", f"{first.title} configuration").get("model_type")
    if model_type not in families:
        known = FAMILIES.get(model_type)
        remedy = f"set dual.kind={known.kind}, or " if known else f"model types read: {', '.join(FAMILIES)}; "
        wanted = " or ".join(f"'{name}'" for name in families)
        raise UserError(
            f"{config.model}: model_type '{model_type}', not {wanted}; {remedy}pass a {first.title} checkpoint, such "
            f"as {first.example}"
        )
    family = families[model_type]
    towers = family_class(transformers, family, f"dual.kind = {config.kind}")
    with reading(config.model, family):
        model, info = towers.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UserError(
            f"{config.model}: {len(missing)} weights are missing, such as {missing[0]}; both towers are needed; "
            f"pass a full {family.title} checkpoint, such as {family.example}"
        )
    name = folder.name if Path(config.model).expanduser().is_dir() else config.model
    return Towers(model, tokenizer, name, pixels_of(folder))


def library(setting: str) -> Any:
    """Import ``transformers``.

    Raises:
        UserError: it is missing; the error names ``setting``, which needs it.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing_package(error, setting, "train", "clip") from error
    return transformers


def family_class(transformers: Any, family: Family, setting: str) -> Any:
    """The class of both towers.

    Raises:
        UserError: transformers is too old for it; the error names ``setting``, which needs it.
    """
    towers = getattr(transformers, family.model, None)
    if towers is None:
        raise UserError(
            f"{setting}: transformers {transformers.__version__} has no {family.model}; type: "
            "pip install --upgrade transformers"
        )
    return towers


@contextmanager
def reading(model: str, family: Family) -> Iterator[None]:
    """Turn errors of ``transformers`` on reading a checkpoint into one-line ``UserError``s."""
    damaged = (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError, strict_fault())
    try:
        with _quiet():
            yield
    except ImportError as error:
        raise UserError(
            f"{model}: its tokenizer needs sentencepiece and protobuf; {describe_install('train', 'clip')}"
        ) from error
    except (*damaged, SafetensorError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{model}: not a whole {family.title} checkpoint ({reason}); copy or download it anew"
        ) from error


def pixels_of(folder: Path) -> Pixels | None:
    """Mean and deviation from a checkpoint's preprocessor_config.json; None if it has none."""
    path = folder / "preprocessor_config.json"
    settings = read_json(path, "preprocessor configuration") if path.exists() else {}
    if not {"image_mean", "image_std"} <= settings.keys():
        return None
    return tuple(settings["image_mean"]), tuple(settings["image_std"])


def find_checkpoint(model: str, family: Family, setting: str = "dual.model", tokenizer: bool = True) -> Path:
    """Find the folder of a checkpoint: ``model`` itself, or the hub client's copy of the repository ``model``.

    Args:
        family: determines the files, and the example in errors.
        setting: the recipe key of ``model``, for errors.
        tokenizer: whether a tokenizer is needed.

    Raises:
        UserError: there is none, or it lacks files.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    wanted = model if model.count("/") == 1 else family.example
    other = "dual.kind=glyph" if setting == "dual.model" else "model.encoder.kind=svtr"
    remedy = f"pass --set {setting}=FOLDER, or type: hf download {wanted}, or use --set {other}"
    folder = Path(model).expanduser()
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(model, local_files_only=True))
        except HFValidationError as error:
            raise UserError(f"{setting} = '{model}': no such folder; {remedy}") from error
        except OSError as error:
            raise UserError(
                f"{setting} = '{model}': neither a folder nor downloaded, and DPTR downloads nothing; {remedy}"
            ) from error
    needed = {
        "config.json": ["config.json"],
        "model.safetensors": ["*.safetensors", "pytorch_model*.bin"],
    }
    if tokenizer:
        needed[family.files] = [*family.tokenizer]
    lacking = [what for what, patterns in needed.items() if not any(any(folder.glob(p)) for p in patterns)]
    if lacking:
        raise UserError(f"{setting} = '{model}': lacks {', '.join(lacking)}; {remedy}")
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and reports of ``transformers``."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
