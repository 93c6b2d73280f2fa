"""What tells CLIP's kin apart: a few facts a family. ``dptr.dual.clip.encoder`` is the one adapter for them all.

To add one whose interface in ``transformers`` is like theirs: an entry in ``FAMILIES``, its kind in
``dptr.dual.base.DUAL_ENCODERS``, its image tower in ``dptr.models.encoders.clip_vision.TOWERS``, and a maker in
``tests/helpers_clip.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pixels = tuple[tuple[float, ...], tuple[float, ...]]  # mean and deviation a channel, of pixels in [0, 1]

# openai/CLIP, clip/clip.py, `_transform`: per channel, of pixels in [0, 1]
OPENAI: Pixels = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF: Pixels = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # google-research/big_vision: pixels in [-1, 1]


@dataclass(frozen=True)
class Family:
    """A dual encoder's architecture.

    Attributes:
        kind: its key in ``dptr.dual.base.DUAL_ENCODERS``.
        title: its name in errors.
        model: its class in ``transformers``, both towers.
        example: a hub id.
        pooled: which text token stands for the whole text: the ``first``, the ``end`` of the text, or the ``last`` of
            the context, padding or not.
        padding: how the text tower meets padding. ``causal``: real tokens never see it. ``masked``: an attention mask
            hides it. ``attended``: it is seen, and the tower was trained on whole contexts, so that it gets no others.
        context: text tokens that it was trained with; 0 = as many as it has positions.
        pad: the id of padding; None = the tokenizer's own.
        head: the projections into the joint space. ``linear``: ``text_projection`` and ``visual_projection`` beside the
            towers, the vision tower's tokens before its last norm. ``tower``: inside; image tokens have none.
        tokenizer: files of which one is needed.
        pixels: mean and deviation a channel, of pixels in [0, 1], where the checkpoint does not say.
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
