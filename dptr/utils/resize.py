"""Pictures to crops of a size: resized, turned where they are tall, and scaled to what a network takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from dptr.utils.sizes import Sizes

HALF_RANGE = 127.5  # of pixel values 0..255: their middle, and how far they reach to either side
TALL_ASPECT = 1.2  # height / width above which a picture may hold a word that runs up or down (docs/LOG.md)
_SHORTENED = 256  # times the side of a crop: a longer side is averaged down before it is resized


def to_array(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Stretch an RGB image to ``height`` x ``width`` pixels, aspect ratio ignored.

    Pillow's antialiased bicubic filter, as PARSeq's ``T.Resize((32, 128), BICUBIC)`` (baudm/parseq,
    ``strhub/data/module.py``).
    """
    return np.array(shorten(image, height, width).resize((width, height), Image.Resampling.BICUBIC))


def shorten(image: Image.Image, height: int, width: int) -> Image.Image:
    """Average a picture down along a side of more than ``_SHORTENED`` times the size that it is resized to.

    Resizing first stretches one side, so a picture of one column and a million rows would take gigabytes.
    """
    factors = max(1, image.width // (_SHORTENED * width)), max(1, image.height // (_SHORTENED * height))
    return image if factors == (1, 1) else image.reduce(factors)


def crop_center(image: Image.Image, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Resize an RGB image until it just covers ``height`` x ``width`` pixels, and cut them out of its middle.

    For squares this is CLIP's own preprocessing (openai/CLIP, ``clip/clip.py``): torchvision's ``Resize`` of the short
    side with Pillow's bicubic filter, whose long side is rounded down, and ``CenterCrop``, whose margin is rounded to
    even.
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
        for transpose in (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90):  # Pillow counts against the clock
            yield image.transpose(transpose)


def to_pixels(crops: UInt8[np.ndarray, "b h w 3"]) -> Float32[np.ndarray, "b 3 h w"]:
    """Scale 0..255 to -1..1, channels first: mean 0.5 and deviation 0.5, as PARSeq (``strhub/data/module.py``)."""
    pixels = np.array(crops.transpose(0, 3, 1, 2), np.float32, order="C")
    pixels /= np.float32(HALF_RANGE)
    pixels -= np.float32(1)
    return pixels
