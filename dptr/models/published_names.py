"""Names of tensors in the public codes of PARSeq and DPTR, and ours.

Three layouts of a state dict are known, by their keys (``FAMILIES``). Their networks are ours but for names: torch's
attention keeps the projections of query, key and value in one matrix, ours keeps the query's apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dptr.utils.errors import UserError


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


def detect_family(path: Path, tensors: dict[str, Tensor]) -> tuple[str, dict[str, Tensor], int]:
    """The family, tensors by OpenOCR's names without those of the frozen CLIP, and how many these were.

    Args:
        path: named in errors.

    Raises:
        UserError: the layout is not known.
    """
    for prefix in ("module.", "model."):  # of parallel training, of Lightning
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    if "pos_queries" in tensors:
        return "parseq", {_after_openocr(name): tensor for name, tensor in tensors.items()}, 0
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
