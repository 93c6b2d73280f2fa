"""Settings of networks (recognizer and its parts, dual encoders), as frozen pydantic models with defaults.

Encoders, decoders, and dual encoders have several kinds, each with its own keys (``dptr.config.base.KindConfig``).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from dptr.config.base import Config, KindConfig
from dptr.config.decoders import DEEPEST, WIDEST, DecoderConfig, Initialization, PARSeqConfig
from dptr.config.size import LONGEST_SIDE, CropSize, Pixels, Stretch
from dptr.utils.sizes import check_sizes

LONGEST = 4096  # characters; bound on ``max_length``


class TowerConfig(Config):
    """Settings of a dual encoder's image tower, which ``dptr finetune`` fills in, so that reading needs no hub."""

    vision: dict[str, Any]  # configuration in transformers
    projection: int = Field(ge=0, le=WIDEST)  # width of the joint space; 0 = tokens are not projected
    mean: tuple[float, float, float]  # of its training's pixels, per channel, 0 to 1
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
        """The sizes of its input crops."""
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
    """Convolutions, then attention; cheaper on a CPU than ViT."""

    kind: Literal["svtr"] = "svtr"
    size: Literal["nano", "micro", "tiny", "small"] = "micro"  # see dptr.models.encoders.svtr.SIZES
    max_width: int = Field(
        0, ge=0, le=LONGEST_SIDE
    )  # pixels; longer pictures keep their aspect ratio up to it; 0 = none do
    sizes: tuple[tuple[Pixels, Pixels], ...] = ()  # (height, width) of crops of shorter pictures; see CropSize

    @property
    def crop_size(self) -> CropSize:
        return CropSize(height=self.height, width=self.width, max_width=self.max_width, sizes=self.sizes)

    @model_validator(mode="after")
    def _possible_sizes(self) -> SVTRConfig:
        check_sizes(self.height, self.width, self.max_width, self.sizes)
        return self


class PPOCRConfig(EncoderConfig):
    """The encoder of PP-OCRv6's small recognizer; ``init.encoder`` loads its published weights."""

    kind: Literal["ppocr"] = "ppocr"
    height: int = Field(48, ge=16, le=LONGEST_SIDE)  # pixels; the published weights are for 48
    width: int = Field(64, ge=8, le=LONGEST_SIDE)
    max_width: int = Field(960, ge=0, le=LONGEST_SIDE)  # pixels; pictures keep their aspect ratio from width up to it
    stretch: Stretch = 1.0  # for scripts with many characters in little width

    @property
    def crop_size(self) -> CropSize:
        return CropSize(height=self.height, width=self.width, max_width=self.max_width, stretch=self.stretch)

    @model_validator(mode="after")
    def _possible_sizes(self) -> PPOCRConfig:
        check_sizes(self.height, self.width, self.max_width, ())
        return self


class ClipVisionConfig(EncoderConfig):
    """The image tower of a dual encoder, such as that of stage 1."""

    kind: Literal["clip-vision"] = "clip-vision"
    model: str = ""  # a hub id or a folder, as dual.model
    frozen: bool = False  # not trained
    tower: TowerConfig | None = None  # filled in by dptr finetune


ENCODER_CONFIGS: dict[str, type[EncoderConfig]] = {
    "vit": ViTConfig,
    "svtr": SVTRConfig,
    "ppocr": PPOCRConfig,
    "clip-vision": ClipVisionConfig,
}


class FMUConfig(Config):
    """Feature Merge Unit; with ``queries = 0`` there is none."""

    queries: int = Field(26, ge=0, le=2 * LONGEST)
    heads: int = Field(4, ge=1, le=WIDEST)
    layers: int = Field(1, ge=1, le=DEEPEST)
    count: bool = True  # add the number of characters left of them to image tokens; not in the paper
    norms: Literal["all", "feed-forward"] = "all"  # see dptr.models.fmu.FMU; published: feed-forward
    dropout: float = Field(0.0, ge=0, lt=1)  # published: 0.1
    initialization: Initialization = "fan-in"


class DecoderModelConfig(Config):
    """A decoder and its words, as stage 1 trains it."""

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
    """A frozen dual encoder; ``kind`` is a key of ``dptr.dual.base.DUAL_ENCODERS``."""

    default_kind: ClassVar[str] = "glyph"

    model: str = ""  # a folder, or a name that depends on the kind

    @classmethod
    def kinds(cls) -> dict[str, type[DualConfig]]:  # type: ignore[override]
        return DUAL_CONFIGS


class GlyphDualConfig(DualConfig):
    """The embedded dual encoder (``GlyphConfig``)."""

    kind: Literal["glyph"] = "glyph"
    model: str = "glyph-en"  # a shipped name or a folder


class ClipDualConfig(DualConfig):
    """CLIP or a similar model; ``model`` is a hub id or a folder."""

    kind: Literal["clip", "siglip", "chinese-clip", "altclip", "metaclip2"] = "clip"
    prompt: str = "a photo of a '{}'"  # a template, or a key of dptr.dual.clip.prompts.PROMPTS
    tokens: Literal["paper", "trimmed"] = "trimmed"  # with padding (CLIP: 78 tokens), or without
    cache: str = ""  # folder of a cache of text tokens for stage 1, in float16
    cache_gb: float = Field(10.0, gt=0)  # limit for one process; words beyond it are computed each time


DUAL_CONFIGS: dict[str, type[DualConfig]] = {
    "glyph": GlyphDualConfig,
    "clip": ClipDualConfig,
    "siglip": ClipDualConfig,
    "chinese-clip": ClipDualConfig,
    "altclip": ClipDualConfig,
    "metaclip2": ClipDualConfig,
}
