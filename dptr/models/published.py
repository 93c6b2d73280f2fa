"""Import of weights in the layouts of PARSeq's and DPTR's public code, as recognizers and stage 1 decoders."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dptr.config.decoders import PARSeqConfig
from dptr.config.model import DecoderModelConfig, FMUConfig, ModelConfig, ViTConfig
from dptr.models.checkpoint import Kind
from dptr.models.encoders.vit import SIZES
from dptr.models.loading import load_strictly
from dptr.models.published_names import FAMILIES, detect_family, to_our_names
from dptr.models.recognizer import build_decoder, build_recognizer
from dptr.text.charset import CHARSETS, Charset, resolve_charset
from dptr.utils.errors import UserError
from dptr.utils.reading import open_plain
from dptr.utils.tensors import load_tensors

IMAGE_SIZES = ((32, 128), (224, 224))  # height and width in pixels, in PARSeq's configurations

_SETTINGS: dict[str, type | tuple[type, ...]] = {  # arguments of PARSeq's constructors that are read
    "dec_num_heads": int,
    "enc_num_heads": int,
    "num_heads": int,
    "refine_iters": int,
    "decode_ar": bool,
    "dropout": (int, float),
    "img_size": (list, tuple),
    "charset_train": str,
}


@dataclass(frozen=True)
class Published:
    """The content of a file of public weights.

    Attributes:
        path: named in errors.
        settings: arguments of PARSeq's constructors, if the file has them.
    """

    path: Path
    tensors: dict[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """A network of this package with public weights.

    Attributes:
        family: a key of ``FAMILIES``.
        module: a ``Recognizer``, or a decoder for stage 1; in eval mode on the CPU.
        frozen: number of tensors of the frozen dual encoder, which are left out.
    """

    family: str
    kind: Kind
    module: nn.Module
    config: DecoderModelConfig
    charset: Charset
    frozen: int


def read_published(path: Path) -> Published:
    """Read a state dict, alone or in a training checkpoint: safetensors, or a file for torch's ``weights_only``.

    Raises:
        UserError: missing, damaged, of another format, or without tensors.
    """
    if path.suffix == ".safetensors":
        return Published(path, load_tensors(path, "weights"))
    try:
        with open(open_plain(path), "rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"weights {path}: {error.strerror or error}; check the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"weights {path}: not a state dict that torch reads with weights_only ({reason}); save its state_dict() "
            "alone, or as safetensors"
        ) from error
    settings: dict[str, Any] = {}
    tensors = content
    if isinstance(content, Mapping):
        settings = _find_settings(content)
        tensors = next(
            (content[key] for key in ("state_dict", "model") if isinstance(content.get(key), Mapping)), content
        )
    if (
        not isinstance(tensors, Mapping)
        or not tensors
        or not all(isinstance(each, Tensor) for each in tensors.values())
    ):
        raise UserError(f"weights {path}: not a state dict, names with tensors; pass a model's state_dict()")
    return Published(path, dict(tensors), settings)


def _find_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """The constructors' arguments: Lightning saves them as such, OpenOCR as a configuration of each part."""
    if isinstance(content.get("hyper_parameters"), Mapping):
        return dict(content["hyper_parameters"])
    config = content.get("config")
    parts = config.get("Architecture") if isinstance(config, Mapping) else None
    sections = (parts.get(name) for name in ("Encoder", "Decoder")) if isinstance(parts, Mapping) else ()
    return {key: value for section in sections if isinstance(section, Mapping) for key, value in section.items()}


def import_published(published: Published, charset: str = "", heads: int = 0) -> Imported:
    """Build the network that public weights belong to, and load them.

    Args:
        charset: as for ``resolve_charset``, in the order of the classes; empty = that of the file, or the named charset
            with as many characters (in PARSeq's order).
        heads: of the decoder; 0 = the file's, or as many as give the published width of a head.

    Raises:
        UserError: an unknown layout; tensors that are unexpected, missing, or of another shape; an image encoder that
            is not a ViT of a known size; a charset of another size; heads that do not divide the width.
    """
    path, settings = published.path, _check_settings(published)
    family, tensors, frozen = detect_family(path, published.tensors)
    renamed = to_our_names(path, tensors)
    decoder = _decoder_config(path, family, renamed, settings, heads)
    positions = _tensor(path, renamed, "decoder.positions")
    characters = len(_tensor(path, renamed, "decoder.head.weight")) - 1
    resolved = _charset(path, charset, settings, characters)
    basic = DecoderModelConfig(decoder=decoder, charset=resolved.name, max_length=positions.shape[1] - 1)
    module: nn.Module
    with torch.random.fork_rng(devices=[]):
        if family == "dptr-pretrain":
            kind: Kind = "decoder"
            config = basic
            module = build_decoder(config, characters)
            renamed = {name.removeprefix("decoder."): tensor for name, tensor in renamed.items()}
        else:
            kind = "recognizer"
            fmu = _fmu_config(renamed, decoder)
            encoder = _encoder_config(path, family, renamed, settings)
            config = ModelConfig(**dict(basic), encoder=encoder, fmu=fmu)
            module = build_recognizer(config, characters)
    load_strictly(module, renamed, str(path))
    return Imported(family, kind, module.eval(), config, resolved, frozen)


def _check_settings(published: Published) -> dict[str, Any]:
    """The settings of the file that are read, after a check of their types."""
    settings = {name: value for name, value in published.settings.items() if name in _SETTINGS}
    for name, value in settings.items():
        if not isinstance(value, _SETTINGS[name]):
            raise UserError(f"{published.path}: its setting {name} is {value!r}; pass the state dict alone")
    return settings


def _tensor(path: Path, tensors: dict[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise UserError(f"{path}: its {name} is missing; pass the whole state dict")
    return tensors[name]


def _count(tensors: dict[str, Tensor], layers: str) -> int:
    return len({name.split(".")[2] for name in tensors if name.startswith(layers)})


def _decoder_config(
    path: Path, family: str, tensors: dict[str, Tensor], settings: Mapping[str, Any], heads: int
) -> PARSeqConfig:
    dim = _tensor(path, tensors, "decoder.embedding.weight").shape[1]
    return PARSeqConfig(
        dim=dim,
        depth=max(1, _count(tensors, "decoder.layers.")),
        heads=heads or settings.get("dec_num_heads") or max(1, dim // FAMILIES[family].head_width),
        dropout=settings.get("dropout", 0.1),
        refinements=settings.get("refine_iters", 1),
        refinement_mask="cloze",
        autoregressive=settings.get("decode_ar", True),
        initialization="published",
    )


def _fmu_config(tensors: dict[str, Tensor], decoder: PARSeqConfig) -> FMUConfig:
    if "fmu.queries" not in tensors:
        return FMUConfig(queries=0)
    return FMUConfig(
        queries=tensors["fmu.queries"].shape[1],
        heads=decoder.heads,
        count=False,
        norms="feed-forward",
        dropout=decoder.dropout,
        initialization="published",
    )


def _encoder_config(path: Path, family: str, tensors: dict[str, Tensor], settings: Mapping[str, Any]) -> ViTConfig:
    dim, _, tall, wide = _tensor(path, tensors, "encoder.patches.weight").shape
    depth, count = _count(tensors, "encoder.blocks."), _tensor(path, tensors, "encoder.positions").shape[1]
    heads = settings.get("enc_num_heads") or settings.get("num_heads")
    sizes = [name for name, (width, layers, _) in SIZES.items() if (width, layers) == (dim, depth)]
    if not sizes or heads not in (None, SIZES[sizes[0]][2]):
        known = ", ".join(f"{width} wide, {layers} layers, {each} heads" for width, layers, each in SIZES.values())
        with_heads = f", {heads} heads" if heads else ""
        raise UserError(f"{path}: a ViT {dim} wide, {depth} layers{with_heads}; those that can be imported: {known}")
    fitting = [
        (height, width)
        for height, width in ([tuple(settings["img_size"])] if settings.get("img_size") else IMAGE_SIZES)
        if not height % tall and not width % wide and height // tall * (width // wide) == count
    ]
    if not fitting:
        raise UserError(
            f"{path}: {count} patches of {tall}x{wide} pixels; they make no image of "
            f"{' or '.join(f'{height}x{width}' for height, width in IMAGE_SIZES)} pixels; other sizes are not imported"
        )
    (height, width), *_ = fitting
    return ViTConfig.model_validate(
        {
            "kind": "vit",
            "size": sizes[0],
            "height": height,
            "width": width,
            "patch": (tall, wide),
            "norm_eps": FAMILIES[family].norm_eps,
            "initialization": "published",
        }
    )


def _charset(path: Path, spec: str, settings: Mapping[str, Any], characters: int) -> Charset:
    saved = settings.get("charset_train")
    if spec:
        charset = resolve_charset(spec)
    elif saved:
        named = [name for name, known in CHARSETS.items() if known == saved]
        charset = resolve_charset(named[0]) if named else Charset("imported", tuple(saved))
    else:
        named = [name for name, known in CHARSETS.items() if len(known) == characters]
        if not named:
            raise UserError(
                f"{path}: {characters} characters, which the file does not name; pass --charset, a file of them in the "
                "order of the classes"
            )
        charset = resolve_charset(named[0])
    if len(charset) != characters:
        raise UserError(
            f"{path}: {characters} characters, charset '{charset.name}' has {len(charset)}; pass --charset with those "
            "that the weights were trained with, in the order of the classes"
        )
    return charset
