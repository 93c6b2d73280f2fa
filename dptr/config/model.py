"""Settings of networks: the recognizer and its parts, the dual encoders. Frozen pydantic models with their defaults.

Encoders, decoders and dual encoders come in kinds, each with the keys that it reads (``dptr.config.base.KindConfig``).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from dptr.config.base import Config, KindConfig
from dptr.config.decoders import DEEPEST, WIDEST, DecoderConfig, Initialization, PARSeqConfig
from dptr.config.size import LONGEST_SIDE, CropSize, Pixels
from dptr.utils.sizes import check_sizes

LONGEST = 4096  # characters of a word that a model may write


class TowerConfig(Config):
    """A dual encoder's image tower, as ``dptr finetune`` finds it; a checkpoint that holds it reads without the hub."""

    vision: dict[str, Any]  # its configuration in transformers
    projection: int = Field(ge=0, le=WIDEST)  # width of the joint space; 0: its tokens are not projected
    mean: tuple[float, float, float]  # of the pixels that it was trained with, a channel, from 0 to 1
    std: tuple[float, float, float]


class EncoderConfig(KindConfig):
    """Keys of every image encoder; ``kind`` is a key of ``dptr.models.recognizer.ENCODERS``."""

    default_kind: ClassVar[str] = "svtr"

    height: int = Field(32, ge=8, le=LONGEST_SIDE)  # pixels
    width: int = Field(128, ge=8, le=LONGEST_SIDE)

    @classmethod
    def kinds(cls) -> dict[str, type[EncoderConfig]]:  # type: ignore[override]
        return ENCODER_CONFIGS

    @property
    def crop_size(self) -> CropSize:
        """The sizes of crops that it reads."""
        return CropSize(height=self.height, width=self.width)


class ViTConfig(EncoderConfig):
    """PARSeq's vision transformer."""

    kind: Literal["vit"] = "vit"
    size: Literal["tiny", "small", "dptr", "base"] = "small"  # see dptr.models.encoders.vit.SIZES
    patch: tuple[int, int] = (4, 8)  # height and width in pixels
    norm_eps: float = Field(1e-5, gt=0)  # of the layer norms; baudm/parseq: 1e-6
    initialization: Initialization = "fan-in"

    @field_validator("patch")
    @classmethod
    def _whole_pixels(cls, patch: tuple[int, int]) -> tuple[int, int]:
        if min(patch) < 1:
            raise ValueError("a patch is at least 1 x 1 pixels")
        return patch


class SVTRConfig(EncoderConfig):
    """Convolutions first, then attention; cheaper on a CPU."""

    kind: Literal["svtr"] = "svtr"
    size: Literal["nano", "micro", "tiny", "small"] = "micro"  # see dptr.models.encoders.svtr.SIZES
    max_width: int = Field(0, ge=0, le=LONGEST_SIDE)  # pixels; longer pictures keep their shape up to it; 0 = none do
    sizes: tuple[tuple[Pixels, Pixels], ...] = ()  # height, width of crops for less long pictures; see CropSize

    @property
    def crop_size(self) -> CropSize:
        return CropSize(height=self.height, width=self.width, max_width=self.max_width, sizes=self.sizes)

    @model_validator(mode="after")
    def _possible_sizes(self) -> SVTRConfig:
        check_sizes(self.height, self.width, self.max_width, self.sizes)
        return self


class PPOCRConfig(EncoderConfig):
    """The encoder of PP-OCRv6's small recognizer; ``init.encoder`` brings its published weights."""

    kind: Literal["ppocr"] = "ppocr"
    height: int = Field(48, ge=16, le=LONGEST_SIDE)  # pixels; the published weights are for 48
    width: int = Field(64, ge=8, le=LONGEST_SIDE)
    max_width: int = Field(960, ge=0, le=LONGEST_SIDE)  # pixels; pictures keep their shape from width up to it

    @property
    def crop_size(self) -> CropSize:
        return CropSize(height=self.height, width=self.width, max_width=self.max_width)

    @model_validator(mode="after")
    def _possible_sizes(self) -> PPOCRConfig:
        check_sizes(self.height, self.width, self.max_width, ())
        return self


class ClipVisionConfig(EncoderConfig):
    """The image tower of a dual encoder that stage 1 was taught with."""

    kind: Literal["clip-vision"] = "clip-vision"
    model: str = ""  # a hub id or a folder, as dual.model
    frozen: bool = False  # not trained
    tower: TowerConfig | None = None  # filled in


ENCODER_CONFIGS: dict[str, type[EncoderConfig]] = {
    "vit": ViTConfig,
    "svtr": SVTRConfig,
    "ppocr": PPOCRConfig,
    "clip-vision": ClipVisionConfig,
}


class FMUConfig(Config):
    """Feature Merge Unit. ``queries = 0`` leaves it out."""

    queries: int = Field(26, ge=0, le=2 * LONGEST)
    heads: int = Field(4, ge=1, le=WIDEST)
    layers: int = Field(1, ge=1, le=DEEPEST)
    count: bool = True  # image tokens are told how many characters stand left of them; not in the paper
    norms: Literal["all", "feed-forward"] = "all"  # of queries, output and before feed-forwards; published: the last
    dropout: float = Field(0.0, ge=0, lt=1)  # published: 0.1
    initialization: Initialization = "fan-in"


class DecoderModelConfig(Config):
    """What stage 1 trains: a decoder, and the words that it writes."""

    decoder: SerializeAsAny[DecoderConfig] = PARSeqConfig()
    charset: str = "94"  # a named set, a language, or a file of characters
    max_length: int = Field(25, ge=1, le=LONGEST)  # characters of the longest word


class ModelConfig(DecoderModelConfig):
    """A recognizer: encoder -> FMU -> decoder."""

    encoder: SerializeAsAny[EncoderConfig] = SVTRConfig()
    fmu: FMUConfig = FMUConfig()


class GlyphConfig(Config):
    """The embedded dual encoder: character + position text tokens; image encoder + slots."""

    dim: int = Field(128, ge=8, le=WIDEST)
    encoder: SerializeAsAny[EncoderConfig] = SVTRConfig()
    heads: int = Field(4, ge=1, le=WIDEST)
    layers: int = Field(1, ge=1, le=DEEPEST)
    count: bool = True  # see FMUConfig
    charset: str = "94"
    max_length: int = Field(25, ge=1, le=LONGEST)


class DualConfig(KindConfig):
    """Which frozen dual encoder speaks for images. ``kind`` is a key of ``dptr.dual.base.DUAL_ENCODERS``."""

    default_kind: ClassVar[str] = "glyph"

    model: str = ""  # a folder, or a name that its kind knows

    @classmethod
    def kinds(cls) -> dict[str, type[DualConfig]]:  # type: ignore[override]
        return DUAL_CONFIGS


class GlyphDualConfig(DualConfig):
    """Ours (``GlyphConfig``); its text tokens are a table."""

    kind: Literal["glyph"] = "glyph"
    model: str = "glyph-en"  # a shipped name or a folder


class ClipDualConfig(DualConfig):
    """CLIP or one of its kin; ``model`` is a hub id or a folder."""

    kind: Literal["clip", "siglip", "chinese-clip", "altclip", "metaclip2"] = "clip"
    prompt: str = "a photo of a '{}'"  # a template, or a key of dptr.dual.clip.prompts.PROMPTS
    tokens: Literal["paper", "trimmed"] = "trimmed"  # padding too (CLIP: 78 tokens), or without it
    cache: str = ""  # a folder where stage 1 keeps text tokens in float16, each word computed once
    cache_gb: float = Field(10.0, gt=0)  # how much one process may write there; words beyond it are computed each time


DUAL_CONFIGS: dict[str, type[DualConfig]] = {
    "glyph": GlyphDualConfig,
    "clip": ClipDualConfig,
    "siglip": ClipDualConfig,
    "chinese-clip": ClipDualConfig,
    "altclip": ClipDualConfig,
    "metaclip2": ClipDualConfig,
}
