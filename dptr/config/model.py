"""Settings of networks: the recognizer and its parts, the dual encoders. Frozen pydantic models with their defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dptr.utils.widths import WIDTH_STEP


class Config(BaseModel):
    """Base of every recipe part: frozen, and a key it does not know is an error."""

    # charset = 36 means "36"
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)


def check_widest(width: int, widest: int) -> None:
    """Crops grow from ``width`` to ``widest`` in whole steps.

    Raises:
        ValueError: they do not.
    """
    if widest and (widest < width or (widest - width) % WIDTH_STEP):
        raise ValueError(
            f"widest = {widest}: crops grow from width = {width} in steps of {WIDTH_STEP} pixels; set widest to 0 or "
            f"to one of {width + WIDTH_STEP}, {width + 2 * WIDTH_STEP}, {width + 3 * WIDTH_STEP}, ..."
        )


class TowerConfig(Config):
    """A dual encoder's image tower, as ``dptr finetune`` finds it; a checkpoint that holds it reads without the hub."""

    vision: dict[str, Any]  # its configuration in transformers
    projection: int = Field(ge=0)  # width of the joint space; 0: its tokens are not projected
    mean: tuple[float, float, float]  # of the pixels that it was trained with, a channel, from 0 to 1
    std: tuple[float, float, float]


class EncoderConfig(Config):
    """Image encoder. ``vit``: PARSeq's. ``svtr``: convolutions first, then attention; cheaper on a CPU.

    ``clip-vision``: the image tower of a dual encoder that stage 1 was taught with.
    """

    kind: Literal["vit", "svtr", "clip-vision"] = "svtr"
    size: str = "micro"  # vit: tiny, small, base; svtr: nano, micro, tiny, small
    height: int = Field(32, ge=8)
    width: int = Field(128, ge=8)
    widest: int = Field(0, ge=0)  # svtr: pixels; longer pictures keep their shape up to it; 0 = all crops of width
    model: str = ""  # clip-vision: a hub id or a folder, as dual.model
    frozen: bool = False  # clip-vision: not trained
    tower: TowerConfig | None = None  # clip-vision: filled in

    @model_validator(mode="after")
    def _whole_steps(self) -> EncoderConfig:
        check_widest(self.width, self.widest)
        return self


class FMUConfig(Config):
    """Feature Merge Unit. ``queries = 0`` leaves it out."""

    queries: int = Field(26, ge=0)
    heads: int = Field(4, ge=1)
    layers: int = Field(1, ge=1)
    count: bool = True  # image tokens are told how many characters stand left of them; not in the paper


class DecoderConfig(Config):
    """Recognition decoder; ``kind`` is a key of ``dptr.models.decoders.DECODERS``."""

    kind: str = "parseq"
    dim: int = Field(128, ge=8)
    depth: int = Field(2, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    permutations: int = Field(6, ge=1)  # PARSeq: orders a step, in mirrored pairs
    refinements: int = Field(1, ge=0)  # PARSeq: cloze rounds after the first reading
    autoregressive: bool = True  # PARSeq, decoding: left to right, or all positions at once
    iterations: int = Field(3, ge=1)  # ABINet: how often the language model corrects the reading
    noisings: int = Field(3, ge=1)  # MDiff: noised copies of each word a training step
    steps: int = Field(3, ge=1)  # MDiff, decoding: rounds of prediction at most


class ModelConfig(Config):
    """A recogniser: encoder -> FMU -> decoder."""

    encoder: EncoderConfig = EncoderConfig()
    fmu: FMUConfig = FMUConfig()
    decoder: DecoderConfig = DecoderConfig()
    charset: str = "94"  # a named set, a language, or a file of characters
    max_length: int = Field(25, ge=1)


class GlyphConfig(Config):
    """The embedded dual encoder: character + position text tokens; image encoder + slots."""

    dim: int = Field(128, ge=8)
    encoder: EncoderConfig = EncoderConfig()
    heads: int = Field(4, ge=1)
    layers: int = Field(1, ge=1)
    count: bool = True  # see FMUConfig
    charset: str = "94"
    max_length: int = Field(25, ge=1)


class DualConfig(Config):
    """Which frozen dual encoder speaks for images. ``kind`` is a key of ``dptr.dual.base.DUAL_ENCODERS``."""

    kind: str = "glyph"
    model: str = "glyph-en"  # glyph: a shipped name or a folder; others: a hub id or a folder
    prompt: str = "a photo of a '{}'"  # all but glyph: a template, or a key of dptr.dual.clip.prompts.PROMPTS
    tokens: Literal["paper", "trimmed"] = "trimmed"  # all but glyph: padding too (CLIP: 78 tokens), or without it
    cache: str = ""  # all but glyph: a folder where stage 1 keeps text tokens in float16, each word computed once
    cache_gb: float = Field(10.0, gt=0)  # how much one process may write there; words beyond it are computed each time
