"""The sizes of crops, as recipes write them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from dptr.config.base import Config
from dptr.utils.sizes import Sizes, check_sizes

LONGEST_SIDE = 4096  # pixels of a crop
Stretch = Annotated[float, Field(ge=0.5, le=4)]  # factor on the aspect ratio of pictures: dptr.utils.sizes.Sizes
Pixels = Annotated[int, Field(ge=8, le=LONGEST_SIDE)]


class CropSize(Sizes, Config):
    """Crops are ``height`` x ``width`` pixels; with ``max_width`` and ``sizes`` each has a size near its own shape."""

    height: int = Field(32, ge=8, le=LONGEST_SIDE)
    width: int = Field(128, ge=8, le=LONGEST_SIDE)
    max_width: int = Field(0, ge=0, le=LONGEST_SIDE)  # of crops of longer pictures, in steps of 32; 0 = none
    sizes: tuple[tuple[Pixels, Pixels], ...] = ()  # height and width of crops for pictures that are less long
    stretch: Stretch = 1.0

    @model_validator(mode="after")
    def _possible(self) -> CropSize:
        check_sizes(self.height, self.width, self.max_width, self.sizes)
        return self
