"""Differences between CLIP-like models, by family; ``dptr.dual.clip.encoder`` is the adapter for all of them.

To add one with a similar interface in ``transformers``, add an entry in ``FAMILIES``, its kind in
``dptr.dual.base.DUAL_ENCODERS``, its image tower in ``dptr.models.encoders.clip_vision.TOWERS``, and a maker in
``tests/helpers_clip.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pixels = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation per channel, of pixels in [0, 1]

# openai/CLIP, clip/clip.py, `_transform`: per channel, of pixels in [0, 1]
OPENAI: Pixels = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF: Pixels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # google-research/big_vision: pixels in [-1, 1]


@dataclass(frozen=True)
class Family:
    """The architecture of a dual encoder.

    Attributes:
        kind: its key in ``dptr.dual.base.DUAL_ENCODERS``.
        title: its name in errors.
        model: its class in ``transformers``, both towers.
        example: a hub id.
        pooled: the text token of the whole text: the ``first``, the ``end`` of the text, or the ``last`` of the context
            (which may be padding).
        padding: in the text tower. ``causal``: real tokens never see it. ``masked``: an attention mask hides it.
            ``attended``: it is seen; the tower was trained on full contexts, and gets only these.
        context: number of text tokens in training; 0 = the number of positions.
        pad: the id of padding; None = that of the tokenizer.
        head: the projections into the joint space. ``linear``: ``text_projection`` and ``visual_projection`` outside
            the towers; the vision tower returns tokens before its last norm. ``tower``: the text tower has its
            projection inside; image tokens have none.
        tokenizer: file names, one of which is needed.
        pixels: mean and deviation per channel, of pixels in [0, 1]; used if the checkpoint has none.
    """

    kind: str
    title: str
    model: str
    example: str
    pooled: Literal["first", "end", "last"]
    padding: Literal["causal", "masked", "attended"]
    tokenizer: tuple[str, ...]
    context: int = 0
    pad: int | None = None
    head: Literal["linear", "tower"] = "linear"
    pixels: Pixels = OPENAI

    @property
    def files(self) -> str:
        """The tokenizer's files, in words."""
        return "vocab.json and merges.txt" if self.kind == "clip" else " or ".join(self.tokenizer)


# By the ``model_type`` of a checkpoint's config.json.
FAMILIES: dict[str, Family] = {
    "clip": Family(
        kind="clip",
        title="CLIP",
        model="CLIPModel",
        example="openai/clip-vit-base-patch16",  # the paper's
        pooled="end",
        padding="causal",
        tokenizer=("vocab.json", "tokenizer.json"),
        # openai/CLIP, clip/clip.py, `tokenize`: rows start as zeros. (The tokenizers of `transformers` pad with the
        # end-of-text token instead.)
        pad=0,
    ),
    # facebookresearch/MetaCLIP: CLIP's towers, a multilingual tokenizer (XLM-V's or mT5's)
    "metaclip_2": Family(
        kind="metaclip2",
        title="MetaCLIP 2",
        model="MetaClip2Model",
        example="facebook/metaclip-2-worldwide-huge-quickgelu",
        pooled="end",
        padding="causal",
        tokenizer=("tokenizer.json", "sentencepiece.bpe.model", "spiece.model"),
    ),
    # google-research/big_vision, models/proj/image_text/text_transformer.py: no mask, pooled at the last position. The
    # fixed resolutions of SigLIP 2 are of this type too.
    "siglip": Family(
        kind="siglip",
        title="SigLIP",
        model="SiglipModel",
        example="google/siglip2-base-patch16-224",
        pooled="last",
        padding="attended",
        tokenizer=("spiece.model", "tokenizer.json"),
        head="tower",
        pixels=HALF,
    ),
    # SigLIP 2 NaFlex: the vision tower takes patches; pictures are square here, of as many patches as it has positions
    "siglip2": Family(
        kind="siglip",
        title="SigLIP 2",
        model="Siglip2Model",
        example="google/siglip2-base-patch16-naflex",
        pooled="last",
        padding="attended",
        tokenizer=("tokenizer.json",),
        head="tower",
        pixels=HALF,
    ),
    # OFA-Sys/Chinese-CLIP, cn_clip/clip/utils.py: "all baseline models use 52 as the context length"
    "chinese_clip": Family(
        kind="chinese-clip",
        title="Chinese-CLIP",
        model="ChineseCLIPModel",
        example="OFA-Sys/chinese-clip-vit-base-patch16",
        pooled="first",
        padding="masked",
        tokenizer=("vocab.txt", "tokenizer.json"),
        context=52,
    ),
    # FlagAI-Open/FlagAI: XLM-R; its examples cut texts at 77 tokens
    "altclip": Family(
        kind="altclip",
        title="AltCLIP",
        model="AltCLIPModel",
        example="BAAI/AltCLIP",
        pooled="first",
        padding="masked",
        tokenizer=("tokenizer.json", "sentencepiece.bpe.model"),
        context=77,
    ),
}
