"""What the values of a picture become: RGB of 8 bits, from gray, palettes, transparency, 16 bits, and floats."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from dptr.utils.errors import UserError

DEEP_RANGES = 1023, 4095, 16383, 65535  # the greatest values of 10, 12, 14 and 16 bits
FLOAT_GAP = 16  # floats above it are of 0..255: a picture that dark would hold nothing to read
_STRIP = 1 << 18  # pixels that are converted at once, where a conversion takes many bytes a pixel
_SLACK = 1e-3  # of the range of floats, by which rounding may leave it


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """A loaded picture as RGB; see ``dptr.utils.images.open_image`` for what becomes of its values.

    Args:
        name: what errors call it.

    Raises:
        UserError: no pixels, or values that no rule covers.
    """
    if min(image.size) < 1:
        raise UserError(f"{name}: no pixels; pass a picture of at least 1x1")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep(image, name).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def array_to_rgb(array: np.ndarray) -> Image.Image:
    """An array of any shape and type that ``dptr.utils.images.open_image`` takes, as an RGB picture.

    Raises:
        UserError: another shape, no pixels, no numbers, or values that no rule covers.
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


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Rows of a picture of at most ``_STRIP`` pixels together, each strip with the number of its first row."""
    rows = max(1, _STRIP // image.width)
    if image.height <= rows:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _over_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        ground = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(ground, strip.convert("RGBA")).convert("RGB"), (0, top))
    return result


def _from_deep(image: Image.Image, name: str) -> Image.Image:
    """A gray picture of more than 8 bits a pixel as one of 8."""
    ranges = [(float(part.min()), float(part.max())) for part in (np.asarray(strip) for _, strip in _strips(image))]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if any(math.isnan(end) for each in ranges for end in each):
        low = high = math.nan
    to_8_bit = _scale_floats(low, high, name) if image.mode == "F" else _scale_integers(low, high, name, deep=True)
    clear = None if image.mode == "F" else image.info.get("transparency")
    result = Image.new("L", image.size)
    for top, strip in _strips(image):
        deep = np.asarray(strip)
        gray = to_8_bit(deep)
        if clear is not None:
            gray[deep == clear] = 255
        result.paste(Image.fromarray(gray), (0, top))
    return result


def _scale_integers(low: float, high: float, name: str, deep: bool) -> Callable[[np.ndarray], np.ndarray]:
    """What turns integers from ``low`` to ``high`` into 0..255, rounded; ``deep``: they may have more than 8 bits."""
    if low >= 0 and high <= 255:
        return lambda values: values.astype(np.uint8)
    if not deep:
        raise UserError(f"{name}: values {low}..{high} outside 0..255; clip or scale them, or pass uint16 for 16 bits")
    if low < 0 or high > DEEP_RANGES[-1]:
        raise UserError(f"{name}: 32-bit values {low:.0f}..{high:.0f}; save it with 8 or 16 bits a channel")
    full = next(each for each in DEEP_RANGES if each >= high)
    return lambda values: ((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)


def _scale_floats(low: float, high: float, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """What turns floats from ``low`` to ``high`` into 0..255, rounded."""
    full = 255.0 if high > FLOAT_GAP else 1.0
    if 1 + _SLACK < high <= FLOAT_GAP and low >= -_SLACK:
        raise UserError(
            f"{name}: floats {low:.4g}..{high:.4g} could be of 0..1 or of 0..255; scale them, or pass uint8"
        )
    if not (low >= -_SLACK * full and high <= (1 + _SLACK) * full):  # also NaN
        raise UserError(f"{name}: floats {low:.4g}..{high:.4g}, neither 0..1 nor 0..255; clip or scale them")
    return lambda values: np.rint(np.clip(values, 0, full) * (255 / full)).astype(np.uint8)
