"""Test-time augmentation: a picture changed a little in several ways; of all its readings the surest counts.

How many, and which first, was chosen on validation crops (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter, ImageOps

Change = Callable[[Image.Image], Image.Image]

_ENOUGH = 4  # times the height and the width that a model reads: larger pictures are reduced before they are changed


def _as_it_is(image: Image.Image) -> Image.Image:
    return image


def _padded(image: Image.Image) -> Image.Image:
    """A tenth of the height more on all sides: words that fill the crop, or are cut too narrow."""
    return _edges(image, _part(image, 0.1), _part(image, 0.1))


def _longer(image: Image.Image) -> Image.Image:
    """0.15 of the height more to the left and to the right."""
    return _edges(image, 0, _part(image, 0.15))


def _slanted(image: Image.Image) -> Image.Image:
    """Slanted by 0.15, about 9 degrees, to the right."""
    slope, height = 0.15, image.height
    wide = _edges(image, 0, _part(image, slope / 2))
    sheared = wide.transform(
        wide.size, Image.Transform.AFFINE, (1, slope, -slope * height / 2, 0, 1, 0), Image.Resampling.BICUBIC
    )
    out = (wide.width - image.width) // 2  # where shearing brings in nothing
    return sheared.crop((out, 0, wide.width - out, height))


def _softer(image: Image.Image) -> Image.Image:
    """Blurred by two thirds of a pixel of 32 rows."""
    return image.filter(ImageFilter.GaussianBlur(image.height / 48))


CHANGES: tuple[Change, ...] = (_as_it_is, _padded, ImageOps.invert, _longer, _slanted, _softer)
"""What an RGB picture is read as; the first is the picture itself."""


def changed(image: Image.Image, count: int, height: int, width: int) -> list[Image.Image]:
    """An RGB picture as the first ``count`` of ``CHANGES`` make it, for a model that reads ``height`` x ``width``."""
    factor = min(image.height // (_ENOUGH * height), image.width // (_ENOUGH * width))
    smaller = image.reduce(factor) if factor > 1 and count > 1 else image
    return [image, *(change(smaller) for change in CHANGES[1:count])]


def _part(image: Image.Image, share: float) -> int:
    return max(1, round(share * image.height))


def _edges(image: Image.Image, rows: int, columns: int) -> Image.Image:
    """The pixels of the border again, ``rows`` above and below, ``columns`` on either side."""
    pixels: UInt8[np.ndarray, "h w 3"] = np.asarray(image)
    return Image.fromarray(np.pad(pixels, ((rows, rows), (columns, columns), (0, 0)), mode="edge"))
