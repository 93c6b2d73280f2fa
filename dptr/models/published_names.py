"""Conversion of tensor names from PARSeq's and DPTR's public code.

The layout of a state dict (``FAMILIES``) is recognized by its keys. The networks are the same as ours except for names,
and for attention: torch has the projections of query, key, and value in one matrix, ours has a separate one of the
query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dptr.utils.errors import UserError


@dataclass(frozen=True)
class Family:
    """Settings of a layout that shapes do not determine.

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

FROZEN = "decoder.clip_encoder."  # the frozen CLIP, which is in checkpoints of stage 1

_PART = r"\.(weight|bias)"
_NAMES = {  # pattern of OpenOCR's name -> our name; {} marks a packed matrix of query, key, and value
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


def detect_family(path: Path, tensors: dict[str, Tensor]) -> tuple[str, dict[str, Tensor], int]:
    """The family, the tensors by OpenOCR's names without the frozen CLIP, and the number of tensors of CLIP.

    Args:
        path: named in errors.

    Raises:
        UserError: the layout is unknown.
    """
    for prefix in ("module.", "model."):  # of DataParallel, of Lightning
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if "pos_queries" in tensors:
        return "parseq", {_to_openocr_name(name): tensor for name, tensor in tensors.items()}, 0
    if "decoder.pos_queries" not in tensors:
        shown = ", ".join(list(tensors)[:3])
        titles = "; ".join(family.title for family in FAMILIES.values())
        raise UserError(
            f"{path}: neither pos_queries nor decoder.pos_queries among its {len(tensors)} tensors ({shown} "
            f"...); weights that can be imported: {titles}"
        )
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(FROZEN)}
    frozen = len(tensors) - len(own)
    if "decoder.token_query" in own:
        return "dptr", own, frozen
    return ("openocr" if any(name.startswith("encoder.") for name in own) else "dptr-pretrain"), own, frozen


def _to_openocr_name(name: str) -> str:
    return name if name.startswith("encoder.") else f"decoder.{name}"


def to_our_names(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of OpenOCR's layout, and split packed projections.

    Raises:
        UserError: tensors that belong to no ViT, FMU, or PARSeq decoder; the error names all of them.
    """
    renamed: dict[str, Tensor] = {}
    foreign: list[str] = []
    for name, tensor in tensors.items():
        matches = ((re.fullmatch(pattern, name), ours) for pattern, ours in _NAMES.items())
        match, ours = next(((match, ours) for match, ours in matches if match), (None, ""))
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
