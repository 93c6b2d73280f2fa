"""Weights of the public codes of PARSeq and DPTR as recognizers and stage 1 decoders: names, shapes, settings.

Three layouts of a state dict are known, by their keys (``FAMILIES``). Their networks are ours but for names: torch's
attention keeps the projections of query, key and value in one matrix, ours keeps the query's apart.
"""

from __future__ import annotations

import pickle
import re
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
from dptr.models.recognizer import build_decoder, build_recognizer
from dptr.text.charset import CHARSETS, Charset, resolve_charset
from dptr.utils.errors import UserError
from dptr.utils.files import load_tensors


@dataclass(frozen=True)
class Family:
    """What shapes do not tell.

    Attributes:
        head_width: of the decoder's attention heads, in the published settings.
        norm_eps: of the image encoder's layer norms.
    """

    title: str
    head_width: int
    norm_eps: float = 1e-5


FAMILIES = {
    "parseq": Family("PARSeq of baudm/parseq", 32, 1e-6),  # configs/model/parseq.yaml: 384 wide, 12 heads; timm's norms
    "openocr": Family("PARSeq of OpenOCR", 32),  # PARSeqDecoder: 384 wide, 12 heads
    "dptr": Family("DPTR of OpenOCR, stage 2", 64),  # DptrParseq: 512 wide, 8 heads
    "dptr-pretrain": Family("DPTR of OpenOCR, stage 1", 64),
}

FROZEN = "decoder.clip_encoder."  # CLIP, which stage 1 saves along
IMAGE_SIZES = ((32, 128), (224, 224))  # of PARSeq's configurations, height and width in pixels

_PART = r"\.(weight|bias)"
_NAMES = {  # a name in OpenOCR's layout -> ours; with {} it holds the projections of query, key and value
    r"encoder\.pos_embed": "encoder.positions",
    rf"encoder\.patch_embed\.proj{_PART}": r"encoder.patches.\1",
    rf"encoder\.blocks\.(\d+)\.attn\.qkv{_PART}": r"encoder.blocks.\1.attention.{}.\2",
    rf"encoder\.blocks\.(\d+)\.attn\.proj{_PART}": r"encoder.blocks.\1.attention.out.\2",
    rf"encoder\.blocks\.(\d+)\.mlp\.fc1{_PART}": r"encoder.blocks.\1.feed_forward.0.\2",
    rf"encoder\.blocks\.(\d+)\.mlp\.fc2{_PART}": r"encoder.blocks.\1.feed_forward.3.\2",
    rf"encoder\.((?:blocks\.\d+\.norm[12])|norm){_PART}": r"encoder.\1.\2",
    r"decoder\.token_query": "fmu.queries",
    r"decoder\.fmu\.cross_attn\.in_proj_(weight|bias)": r"fmu.layers.0.attention.{}.\1",
    rf"decoder\.fmu\.cross_attn\.out_proj{_PART}": r"fmu.layers.0.attention.out.\1",
    rf"decoder\.fmu\.norm{_PART}": r"fmu.layers.0.norm2.\1",
    rf"decoder\.fmu\.linear1{_PART}": r"fmu.layers.0.feed_forward.0.\1",
    rf"decoder\.fmu\.linear2{_PART}": r"fmu.layers.0.feed_forward.3.\1",
    r"decoder\.pos_queries": "decoder.positions",
    r"decoder\.text_embed\.embedding\.weight": "decoder.embedding.weight",
    rf"decoder\.head{_PART}": r"decoder.head.\1",
    rf"decoder\.decoder\.norm{_PART}": r"decoder.norm.\1",
    r"decoder\.decoder\.layers\.(\d+)\.(self|cross)_attn\.in_proj_(weight|bias)": (
        r"decoder.layers.\1.\2_attention.{}.\3"
    ),
    rf"decoder\.decoder\.layers\.(\d+)\.(self|cross)_attn\.out_proj{_PART}": r"decoder.layers.\1.\2_attention.out.\3",
    rf"decoder\.decoder\.layers\.(\d+)\.linear1{_PART}": r"decoder.layers.\1.feed_forward.0.\2",
    rf"decoder\.decoder\.layers\.(\d+)\.linear2{_PART}": r"decoder.layers.\1.feed_forward.3.\2",
    rf"decoder\.decoder\.layers\.(\d+)\.(norm[12]){_PART}": r"decoder.layers.\1.\2.\3",
    rf"decoder\.decoder\.layers\.(\d+)\.norm_q{_PART}": r"decoder.layers.\1.norm_query.\2",
    rf"decoder\.decoder\.layers\.(\d+)\.norm_c{_PART}": r"decoder.layers.\1.norm_content.\2",
}


@dataclass(frozen=True)
class Published:
    """What a file of public weights holds.

    Attributes:
        path: named in errors.
        settings: of PARSeq's constructors, by their names there, where the file has them too.
    """

    path: Path
    tensors: dict[str, Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """A network of ours with public weights.

    Attributes:
        family: a key of ``FAMILIES``.
        module: a ``Recognizer``, or of stage 1 a decoder; in eval mode on the CPU.
        frozen: tensors of the frozen dual encoder, which are left out.
    """

    family: str
    kind: Kind
    module: nn.Module
    config: DecoderModelConfig
    charset: Charset
    frozen: int


def read_published(path: Path) -> Published:
    """Read a state dict, bare or in a training's checkpoint: safetensors, or what torch reads with ``weights_only``.

    Raises:
        UserError: missing, damaged, of another format, or without tensors.
    """
    if path.suffix == ".safetensors":
        return Published(path, load_tensors(path, "weights"))
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"weights {path}: {error.strerror or error}; check the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"weights {path}: not a state dict that torch reads with weights_only ({reason}); save its state_dict() "
            "alone, or as safetensors"
        ) from error
    settings: dict[str, Any] = {}
    if isinstance(held, Mapping):
        settings = _settings(held)
        held = next((held[key] for key in ("state_dict", "model") if isinstance(held.get(key), Mapping)), held)
    if not isinstance(held, Mapping) or not held or not all(isinstance(value, Tensor) for value in held.values()):
        raise UserError(f"weights {path}: not a state dict, names with tensors; pass a model's state_dict()")
    return Published(path, dict(held), settings)


def _settings(held: Mapping[str, Any]) -> dict[str, Any]:
    """Lightning keeps the constructor's arguments; OpenOCR its configuration, by part."""
    if isinstance(held.get("hyper_parameters"), Mapping):
        return dict(held["hyper_parameters"])
    configured = held.get("config")
    parts = configured.get("Architecture") if isinstance(configured, Mapping) else None
    if not isinstance(parts, Mapping):
        return {}
    return {**(parts.get("Encoder") or {}), **(parts.get("Decoder") or {})}


def import_published(published: Published, charset: str = "", heads: int = 0) -> Imported:
    """The network that public weights are of.

    Args:
        charset: as ``resolve_charset`` takes it, in the order of the classes; empty: what the file says, or the named
            set of as many characters, whose order is PARSeq's.
        heads: of the decoder; 0: what the file says, or heads of the published width.

    Raises:
        UserError: a layout that is not known; tensors left over, missing or of another shape; an image encoder that is
            no ViT of a known size; a charset of another size; heads that do not divide the width.
    """
    path, settings = published.path, published.settings
    family, tensors, frozen = _arrange(published)
    renamed = to_our_names(path, tensors)
    decoder = _decoder_config(path, family, renamed, settings, heads)
    positions = _tensor(path, renamed, "decoder.positions")
    characters = len(_tensor(path, renamed, "decoder.head.weight")) - 1
    known = _charset(path, charset, settings, characters)
    basic = DecoderModelConfig(decoder=decoder, charset=known.name, max_length=positions.shape[1] - 1)
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
    return Imported(family, kind, module.eval(), config, known, frozen)


def _arrange(published: Published) -> tuple[str, dict[str, Tensor], int]:
    """The family, tensors by OpenOCR's names without those of the frozen CLIP, and how many these were."""
    tensors = published.tensors
    for prefix in ("module.", "model."):  # of parallel training, of Lightning
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if "pos_queries" in tensors:
        return "parseq", {_after_openocr(name): tensor for name, tensor in tensors.items()}, 0
    if "decoder.pos_queries" not in tensors:
        shown = ", ".join(list(tensors)[:3])
        titles = "; ".join(family.title for family in FAMILIES.values())
        raise UserError(
            f"{published.path}: neither pos_queries nor decoder.pos_queries among its {len(tensors)} tensors ({shown} "
            f"...); weights that can be imported: {titles}"
        )
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(FROZEN)}
    if "decoder.token_query" in own:
        return "dptr", own, 0
    if any(name.startswith("encoder.") for name in own):
        return "openocr", own, 0
    return "dptr-pretrain", own, len(tensors) - len(own)


def _after_openocr(name: str) -> str:
    return name if name.startswith("encoder.") else f"decoder.{name}"


def to_our_names(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of OpenOCR's layout by our names, with packed projections cut apart.

    Raises:
        UserError: some have no place in a ViT, an FMU or a PARSeq decoder; all are named.
    """
    renamed: dict[str, Tensor] = {}
    foreign: list[str] = []
    for name, tensor in tensors.items():
        found = ((re.fullmatch(pattern, name), ours) for pattern, ours in _NAMES.items())
        match, ours = next(((match, ours) for match, ours in found if match), (None, ""))
        if match is None:
            foreign.append(name)
            continue
        target = match.expand(ours)
        if "{}" in target:
            width = len(tensor) // 3
            renamed[target.format("query")], renamed[target.format("key_value")] = tensor[:width], tensor[width:]
        else:
            renamed[target] = tensor
    if foreign:
        raise UserError(
            f"{path}: {len(foreign)} tensors have no place in a ViT with a PARSeq decoder: {', '.join(foreign)}; other "
            "networks are not imported"
        )
    return renamed


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


def _encoder_config(
    path: Path, family: str, tensors: dict[str, Tensor], settings: Mapping[str, Any]
) -> ViTConfig:
    dim, _, tall, wide = _tensor(path, tensors, "encoder.patches.weight").shape
    depth, count = _count(tensors, "encoder.blocks."), _tensor(path, tensors, "encoder.positions").shape[1]
    heads = settings.get("enc_num_heads") or settings.get("num_heads")
    sizes = [name for name, (width, layers, _) in SIZES.items() if (width, layers) == (dim, depth)]
    if not sizes or heads not in (None, SIZES[sizes[0]][2]):
        known = ", ".join(f"{width} wide, {layers} layers, {each} heads" for width, layers, each in SIZES.values())
        said = f", {heads} heads" if heads else ""
        raise UserError(f"{path}: a ViT {dim} wide, {depth} layers{said}; those that can be imported: {known}")
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
    said = settings.get("charset_train")
    if spec:
        charset = resolve_charset(spec)
    elif said:
        named = [name for name, known in CHARSETS.items() if known == said]
        charset = resolve_charset(named[0]) if named else Charset("imported", tuple(said))
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
