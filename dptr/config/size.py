"""The size of crops."""

from __future__ import annotations

from pydantic import Field, model_validator

from dptr.config.model import Config, EncoderConfig
from dptr.utils.widths import WIDTH_STEP


class CropSize(Config):
    """Crops are ``height`` x ``width`` pixels; those of longer words are wider, up to ``max_width``."""

    height: int = Field(32, ge=8)
    width: int = Field(128, ge=8)
    max_width: int = Field(0, ge=0)  # width plus a multiple of 32; 0 = all crops are of width (dptr.utils.widths)

    @model_validator(mode="after")
    def _whole_steps(self) -> CropSize:
        if self.max_width and (self.max_width < self.width or (self.max_width - self.width) % WIDTH_STEP):
            raise ValueError(
                f"max_width = {self.max_width}: crops grow from width = {self.width} in steps of {WIDTH_STEP} pixels; "
                f"set it to 0 or to one of {', '.join(str(self.width + n * WIDTH_STEP) for n in (1, 2, 3))}, ..."
            )
        return self


def crop_size(encoder: EncoderConfig) -> CropSize:
    """What an image encoder reads."""
    return CropSize(height=encoder.height, width=encoder.width, max_width=encoder.widest)
