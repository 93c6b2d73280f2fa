"""Conversion of pixel values to 8-bit RGB: from gray, palettes, transparency, 16 bits, and floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from dptr.utils.errors import UserError

DEEP_RANGES = 1023, 4095, 16383, 65535  # the greatest values of 10, 12, 14 and 16 bits
FLOAT_GAP = 16  # floats with a larger maximum are of 0..255: a darker picture of 0..255 would show nothing to read
_STRIP = 1 << 18  # pixels to convert at once if the conversion takes many bytes per pixel
_TOLERANCE = 1e-3  # how far rounding may exceed the range of floats, as a share of the range


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert a loaded picture to RGB; ``dptr.utils.images.open_image`` states the rules for its values.

    Args:
        name: of the picture, for errors.

    Raises:
        UserError: the picture has no pixels, or values that no rule covers.
    """
    if min(image.size) < 1:
        raise UserError(f"{name}: no pixels; pass a picture of at least 1x1")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _convert_deep(image, name).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return _lay_over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def array_to_rgb(array: np.ndarray) -> Image.Image:
    """Convert an array to an RGB picture; ``dptr.utils.images.open_image`` states the shapes, types and rules.

    Raises:
        UserError: the array has another shape or type, no pixels, or values that no rule covers.
    """
    name = f"array {array.shape} of {array.dtype}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise UserError(f"{name}: not a picture; pass (h, w) or (h, w, 1 to 4), channels last")
    if array.size == 0:
        raise UserError(f"{name}: no pixels; pass a picture of at least 1x1")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind in "ui":
        if array.dtype != np.uint8:
            deep = array.dtype.kind == "u" and array.dtype.itemsize == 2
            array = _scale_integers(int(array.min()), int(array.max()), name, deep)(array)
    elif array.dtype.kind == "f":
        array = _scale_floats(float(array.min()), float(array.max()), name)(array)
    else:
        raise UserError(f"{name}: no numbers of a picture; pass uint8")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return to_rgb(Image.fromarray(np.ascontiguousarray(array)), name)


def _cut_strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut a picture into strips of rows, of at most ``_STRIP`` pixels; yield each with the number of its first row."""
    rows = max(1, _STRIP // image.width)
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _lay_over_white(image: Image.Image) -> Image.Image:
    """Lay a transparent picture over white."""
    result = Image.new("RGB", image.size)
    for top, strip in _cut_strips(image):
        ground = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(ground, strip.convert("RGBA")).convert("RGB"), (0, top))
    return result


def _convert_deep(image: Image.Image, name: str) -> Image.Image:
    """Convert a gray picture of more than 8 bits per pixel to 8 bits."""
    ranges = [(float(part.min()), float(part.max())) for part in (np.asarray(strip) for _, strip in _cut_strips(image))]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if any(math.isnan(end) for each in ranges for end in each):
        low = high = math.nan
    to_8_bit = _scale_floats(low, high, name) if image.mode == "F" else _scale_integers(low, high, name, deep=True)
    transparent = None if image.mode == "F" else image.info.get("transparency")
    result = Image.new("L", image.size)
    for top, strip in _cut_strips(image):
        deep = np.asarray(strip)
        gray = to_8_bit(deep)
        if transparent is not None:
            gray[deep == transparent] = 255
        result.paste(Image.fromarray(gray), (0, top))
    return result


def _scale_integers(low: float, high: float, name: str, deep: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A function that maps integers from ``low`` to ``high`` to 0..255, rounded.

    Args:
        deep: whether values of more than 8 bits are accepted.
    """
    if low >= 0 and high <= 255:
        return lambda values: values.astype(np.uint8)
    if not deep:
        raise UserError(f"{name}: values {low}..{high} outside 0..255; clip or scale them, or pass uint16 for 16 bits")
    if low < 0 or high > DEEP_RANGES[-1]:
        raise UserError(f"{name}: 32-bit values {low:.0f}..{high:.0f}; save it with 8 or 16 bits a channel")
    largest = next(each for each in DEEP_RANGES if each >= high)
    return lambda values: ((values.astype(np.uint32) * 255 + largest // 2) // largest).astype(np.uint8)


def _scale_floats(low: float, high: float, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function that maps floats from ``low`` to ``high`` to 0..255, rounded."""
    largest = 255.0 if high > FLOAT_GAP else 1.0
    if 1 + _TOLERANCE < high <= FLOAT_GAP and low >= -_TOLERANCE:
        raise UserError(
            f"{name}: floats {low:.4g}..{high:.4g} could be of 0..1 or of 0..255; scale them, or pass uint8"
        )
    if not (low >= -_TOLERANCE * largest and high <= (1 + _TOLERANCE) * largest):  # also NaN
        raise UserError(f"{name}: floats {low:.4g}..{high:.4g}, neither 0..1 nor 0..255; clip or scale them")
    return lambda values: np.rint(np.clip(values, 0, largest) * (255 / largest)).astype(np.uint8)
