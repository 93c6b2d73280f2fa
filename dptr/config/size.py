"""The size of crops."""

from __future__ import annotations

from pydantic import Field, model_validator

from dptr.config.base import Config
from dptr.config.model import EncoderConfig, check_max_width


class CropSize(Config):
    """Crops are ``height`` x ``width`` pixels; those of longer words are wider, up to ``max_width``."""

    height: int = Field(32, ge=8)
    width: int = Field(128, ge=8)
    max_width: int = Field(0, ge=0)  # width plus a multiple of 32; 0 = all crops are of width (dptr.utils.widths)

    @model_validator(mode="after")
    def _whole_steps(self) -> CropSize:
        check_max_width(self.width, self.max_width)
        return self


def crop_size(encoder: EncoderConfig) -> CropSize:
    """What an image encoder reads."""
    return CropSize(height=encoder.height, width=encoder.width, max_width=encoder.widest)
