"""Checkpoints of recognizers and stage 1 decoders, loaded strictly.

A folder holds ``config.json`` (format, kind, model settings, characters, the dual encoder of stage 1),
``model.safetensors``, and ``card.json`` (provenance and results, for people). It never holds the frozen dual encoder.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dptr.config.model import DecoderModelConfig, ModelConfig
from dptr.models.decoders import Decoder
from dptr.models.loading import (
    check_amount,
    check_model_folder,
    load_strictly,
    match_character_rows,
    parse_settings,
    read_config,
)
from dptr.models.migrate import FORMAT, FORMATS, migrate
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.models.resize_positions import ROWS, resize_rows
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.files import DIGITS, atomic_folder, read_json, restore_folder, write_json
from dptr.utils.outputs import is_marked
from dptr.utils.tensors import load_tensors, save_tensors
from dptr.weights import SHIPPED, model_file

Kind = Literal["recognizer", "decoder"]

__all__ = [
    "CHECKPOINT_FILES", "SHIPPED", "Checkpoint", "Loaded", "build_loaded", "card_of", "digest_tensors",
    "load_recognizer", "open_checkpoint", "save_checkpoint", "transfer",
]  # fmt: skip


CHECKPOINT_FILES = "config.json", "model.safetensors", "card.json"  # what ``save_checkpoint`` writes
_SCHEMAS: dict[Kind, type[DecoderModelConfig]] = {"recognizer": ModelConfig, "decoder": DecoderModelConfig}


@dataclass(frozen=True)
class Loaded:
    """A recognizer ready to read, in eval mode on the CPU."""

    model: Recognizer
    tokenizer: Tokenizer
    config: ModelConfig
    card: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0  # of the confidence (``dptr.evaluation.calibration``)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint folder, before a model is built from it.

    Attributes:
        config: for kind ``recognizer``, a ``ModelConfig``.
        dual: name and fingerprint of the dual encoder that stage 1 used; empty without stage 1.
        temperature: of the confidence (``dptr.evaluation.calibration``).
    """

    folder: Path
    kind: Kind
    config: DecoderModelConfig
    charset: Charset
    dual: dict[str, Any]
    tensors: dict[str, Tensor]
    temperature: float = 1.0


def digest_tensors(tensors: Mapping[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of tensors: their names, types, shapes, and bytes."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        whole.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        whole.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:DIGITS]


def save_checkpoint(
    folder: str | Path,
    kind: Kind,
    module: nn.Module,
    config: DecoderModelConfig,
    charset: Charset,
    dual: dict[str, Any],
    card: dict[str, Any],
    half: bool = False,
    temperature: float = 1.0,
) -> None:
    """Write a recognizer or a stage 1 decoder atomically.

    This replaces a checkpoint in ``folder`` and the ``model.onnx`` that was exported from it. Other files stay.

    Args:
        module: a ``Recognizer`` for kind ``recognizer``, a ``Decoder`` for kind ``decoder``.
        config: a ``ModelConfig`` for kind ``recognizer``; for kind ``decoder`` only the fields of
            ``DecoderModelConfig`` are written.
        dual: name and fingerprint of the dual encoder that stage 1 used; empty without stage 1.
        card: provenance, shown by ``dptr models``.
        half: store floats as float16.
        temperature: of a recognizer's confidence (``dptr.evaluation.calibration``).

    Raises:
        UserError: ``folder`` holds something else, the disk is full, or the folder cannot be written.
    """
    restore_folder(folder)
    check_model_folder(folder)
    exported = [name for name in ("model.onnx",) if is_marked(Path(folder, name))]  # readers would prefer it
    prefix = "decoder." if kind == "decoder" else ""
    schema = _SCHEMAS[kind]
    tensors = {
        prefix + name: tensor.half() if half and tensor.is_floating_point() else tensor
        for name, tensor in module.state_dict().items()
    }
    described = {
        "format": FORMAT,
        "kind": kind,
        "model": {key: value for key, value in config.model_dump(mode="json").items() if key in schema.model_fields},
        "charset": {"name": charset.name, "characters": "".join(charset.characters)},
        "dual": dual,
        "temperature": temperature,
    }
    with atomic_folder(folder, exported) as aside:
        config_file, tensor_file, card_file = (aside / name for name in CHECKPOINT_FILES)
        write_json(config_file, described)
        save_tensors(tensor_file, tensors)
        write_json(card_file, card)


def open_checkpoint(model: str | Path) -> Checkpoint:
    """Read a checkpoint by shipped name or folder.

    Raises:
        UserError: no such folder; not a checkpoint, or one of an unknown kind or format; damaged files.
    """
    folder = model_file(model, "config.json").parent
    if not (folder / "config.json").is_file() and (folder / "model.onnx").is_file():
        raise UserError(
            f"model '{model}': an exported file alone, not the weights that torch reads; pass "
            f"{_suggest_checkpoint(model)}"
        )
    if not (folder / "config.json").is_file():
        raise UserError(
            f"model '{model}': neither a shipped name ({', '.join(SHIPPED)}) nor a folder with config.json; "
            f"pass {_suggest_checkpoint(model)}, or see 'dptr models'"
        )
    described = read_config(folder, "model")
    if described.get("format") not in FORMATS:
        raise UserError(
            f"{folder}: checkpoint format {described.get('format')!r}; this version of dptr reads format "
            f"{' and '.join(map(str, FORMATS))}; use the version that wrote it, or train it anew"
        )
    described = migrate(described)
    kind: Any = described.get("kind")
    if not isinstance(kind, str) or kind not in _SCHEMAS:
        raise UserError(
            f"{folder}: a {kind!r} checkpoint; a recognizer or a stage 1 decoder is needed; "
            "pass a folder that 'dptr pretrain' or 'dptr finetune' wrote"
        )
    config, charset = parse_settings(described, "model", _SCHEMAS[kind], f"{folder}/config.json")
    tensors = load_tensors(model_file(model, "model.safetensors"), "model")
    dual, temperature = described.get("dual", {}), described.get("temperature", 1.0)
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise UserError(f"{folder}/config.json: temperature {temperature!r}, no number above 0; damaged, copy it anew")
    return Checkpoint(folder, kind, config, charset, dual, tensors, float(temperature))


def _suggest_checkpoint(model: str | Path) -> str:
    """What to pass instead of ``model``, for errors; names a checkpoint that lies near it, if there is one."""
    path = Path(model)
    folder, patterns = (path, ("*", "*/model")) if path.is_dir() else (path.parent, ("finetune/model",))
    checkpoints = [file.parent for pattern in patterns for file in sorted(folder.glob(f"{pattern}/config.json"))]
    return "the 'model' folder that training wrote" + (f", such as {checkpoints[0]}" if checkpoints else "")


def load_recognizer(model: str | Path) -> Loaded:
    """Load a recognizer by shipped name or folder.

    Raises:
        UserError: see ``open_checkpoint`` and ``build_loaded``.
    """
    return build_loaded(open_checkpoint(model))


def build_loaded(checkpoint: Checkpoint) -> Loaded:
    """Build the recognizer of a checkpoint and load its weights.

    Raises:
        UserError: the checkpoint is a stage 1 decoder, or its weights do not fit.
    """
    config = checkpoint.config
    if not isinstance(config, ModelConfig):
        raise UserError(
            f"{checkpoint.folder}: a stage 1 decoder, not a recognizer; fine-tune it first: "
            f"dptr finetune --set init.decoder={checkpoint.folder} --data CROPS"
        )
    _check_amounts(checkpoint, config)
    with torch.random.fork_rng(devices=[]):
        recognizer = build_recognizer(config, len(checkpoint.charset))
    load_strictly(recognizer, checkpoint.tensors, str(checkpoint.folder))
    tokenizer = Tokenizer(checkpoint.charset, config.max_length, config.decoder.visual)
    card = card_of(checkpoint.folder)
    return Loaded(recognizer.eval(), tokenizer, config, card, checkpoint.temperature)


def _check_amounts(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Refuse weights that are too few for ``config``. Each layer has at least four ``dim`` x ``dim`` matrices."""
    decoder, fmu = config.decoder, config.fmu
    where, dim = str(checkpoint.folder), decoder.dim
    parts = [("decoder.", 4 * decoder.layers * dim**2 + len(checkpoint.charset) * dim, f"decoder.dim = {dim}")]
    if fmu.queries:
        parts.append(("fmu.", 4 * fmu.layers * dim**2 + fmu.queries * dim, f"fmu.queries = {fmu.queries}"))
    for prefix, needed, setting in parts:
        check_amount(checkpoint.tensors, prefix, needed, setting, where)


def card_of(model: str | Path) -> dict[str, Any]:
    """The card of a checkpoint folder or shipped name; empty where it has none."""
    path = model_file(model, "card.json")
    return read_json(path, "model card") if path.is_file() else {}


def transfer(decoder: Decoder, checkpoint: Checkpoint, charset: Charset) -> tuple[list[str], list[str]]:
    """Load a checkpoint's decoder into ``decoder``, whose charset and ``max_length`` may differ.

    Rows of characters that both charsets have are copied; rows of new characters stay fresh. If ``max_length`` differs,
    position embeddings and queries are resized (``dptr.models.resize_positions``).

    Args:
        charset: of ``decoder``.

    Returns:
        The characters whose rows stay fresh, and a line for the log on each parameter that was resized.

    Raises:
        UserError: width, depth, or kind differ; or the checkpoint's weights contradict its charset or ``max_length``.
    """
    per_character, per_position = decoder.per_character(), decoder.per_position()
    old = checkpoint.charset
    special_rows = {"classes": 0, "vocabulary": 2}  # after those of the characters
    tensors = {}
    own = decoder.state_dict()
    for name, tensor in checkpoint.tensors.items():
        if not name.startswith("decoder."):
            continue
        name = name.removeprefix("decoder.")
        if name in per_character and name in own and own[name].shape[1:] == tensor.shape[1:]:
            extra = special_rows[per_character[name]]
            if len(tensor) != len(old) + 1 + extra:
                raise UserError(
                    f"{checkpoint.folder}: {name} has {len(tensor)} rows where the checkpoint's {len(old)} characters "
                    f"need {len(old) + 1 + extra}; the folder is damaged, copy it anew"
                )
            new_rows, old_rows = match_character_rows(charset, old, extra)
            merged = own[name].clone()
            merged[new_rows] = tensor[old_rows].to(merged.dtype)
            tensor = merged
        tensors[name] = tensor
    resized, messages = resize_rows(decoder, per_position, tensors, "decoder.")
    load_strictly(decoder, resized, str(checkpoint.folder))
    for name, kind in per_position.items():
        count_rows = ROWS[kind].count
        assert count_rows is not None  # a decoder has no rows by image column
        count, needed = tensors[name].shape[1], count_rows(checkpoint.config.max_length)
        if count != needed:
            raise UserError(
                f"{checkpoint.folder}: {name} has {count} rows where the checkpoint's max_length = "
                f"{checkpoint.config.max_length} needs {needed}; the folder is damaged, copy it anew"
            )
    return [character for character in charset.characters if character not in old], messages
