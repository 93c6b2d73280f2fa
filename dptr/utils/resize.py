"""Resizing of pictures to crops, rotation of tall pictures, and scaling of pixel values for a network."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from dptr.utils.sizes import Sizes

HALF_RANGE = 127.5  # half the range of pixel values 0..255
TALL_ASPECT = 1.2  # height / width above which a picture may hold a word that runs up or down (docs/LOG.md)
_MAX_REDUCTION = 256  # a side longer than this many times the side of the crop is averaged down before resizing

HUGE = 1 << 24  # pixels; no word crop has so many, and each view of such a picture takes a third of a second
_MODERATE = 1 << 22  # pixels that are left of a huge picture, at least
_LEAST_SIDE = 1024  # pixels that are left of its sides, at least: 16 and more for each of a crop


def to_array(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Stretch an RGB image to ``height`` x ``width`` pixels, regardless of its aspect ratio.

    The filter is Pillow's antialiased bicubic filter, as in PARSeq's ``T.Resize((32, 128), BICUBIC)`` (baudm/parseq,
    ``strhub/data/module.py``).
    """
    return np.array(shorten(image, height, width).resize((width, height), Image.Resampling.BICUBIC))


def shorten(image: Image.Image, height: int, width: int) -> Image.Image:
    """Average down a side that is more than ``_MAX_REDUCTION`` times as long as its target.

    Pillow resizes one side after the other, so a picture of one column and a million rows would take gigabytes.
    """
    factors = max(1, image.width // (_MAX_REDUCTION * width)), max(1, image.height // (_MAX_REDUCTION * height))
    return image if factors == (1, 1) else image.reduce(factors)


def shrink_huge(image: Image.Image) -> Image.Image:
    """Average down a picture of more than ``HUGE`` pixels once, before several views of it are made.

    Both sides are divided by the same integer. Crops of 40 pictures differed by at most 3 of 255 from crops that were
    resized in one step (docs/LOG.md). Other pictures stay as they are, also huge ones with a short side.
    """
    if image.width * image.height <= HUGE:
        return image
    factor = min(math.isqrt(image.width * image.height // _MODERATE), min(image.size) // _LEAST_SIDE)
    return image.reduce(factor) if factor > 1 else image


def crop_center(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Resize an RGB image so that it just covers ``height`` x ``width`` pixels, and crop it to its center.

    For squares this equals CLIP's preprocessing (openai/CLIP, ``clip/clip.py``): torchvision's ``Resize`` of the short
    side with Pillow's bicubic filter, which rounds the long side down, and ``CenterCrop``, which rounds margins to the
    nearest integer, halves to even.
    """
    if image.width * height <= image.height * width:
        tall, wide = width * image.height // image.width, width
    else:
        tall, wide = height, height * image.width // image.height
    top, left = round((tall - height) / 2), round((wide - width) / 2)
    return to_array(image, tall, wide)[top : top + height, left : left + width]


def fit(image: Image.Image, sizes: Sizes) -> UInt8[np.ndarray, "own_height own_width 3"]:
    """Resize an RGB picture to a crop of the size that ``sizes`` chooses for its shape."""
    return to_array(image, *sizes.choose(image.width / image.height))


def turn_tall(image: Image.Image) -> Iterator[Image.Image]:
    """Turn a picture by 90 and by 270 degrees clockwise if it is taller than ``TALL_ASPECT`` times its width.

    Yields:
        Both turned pictures, one at a time; none for a picture that is not so tall.
    """
    if image.height > TALL_ASPECT * image.width:
        for transpose in (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90):  # Pillow rotates counterclockwise
            yield image.transpose(transpose)


def to_pixels(crops: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b 3 h w"]:
    """Scale 0..255 to -1..1, channels first, as PARSeq does by mean 0.5 and std 0.5 (``strhub/data/module.py``)."""
    pixels = np.array(crops.transpose(0, 3, 1, 2), np.float32, order="C")
    pixels /= np.float32(HALF_RANGE)
    pixels -= np.float32(1)
    return pixels
