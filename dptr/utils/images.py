"""Opening and resizing pictures: whatever holds one becomes an RGB image, or an error of one line says why not."""

from __future__ import annotations

import io
import math
import os
import re
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from dptr.utils.errors import TooLarge, UnknownKind, UserError
from dptr.utils.reading import read_file
from dptr.utils.sizes import Sizes

# What photographs and data sets come in. Left out: formats that start another program (EPS) or that Pillow
# recognizes only by guessing.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi"}
    | {".tif", ".tiff", ".webp"}
)
"""What a file of one of these formats is usually called, in lower case."""

FRAMES = "dptr frames"  # in the info of a picture whose file has several: how many
HALF_RANGE = 127.5  # of pixel values 0..255: their middle, and how far they reach to either side
DEEP_RANGES = 1023, 4095, 16383, 65535  # the greatest values of 10, 12, 14 and 16 bits
FLOAT_GAP = 16  # floats above it are of 0..255: a picture that dark would hold nothing to read
TALL_ASPECT = 1.2  # height / width above which a picture may hold a word that runs up or down (docs/LOG.md)
LONGEST_SIDE = 1_000_000  # pixels; decoders take a second for so many rows
_SHORTENED = 256  # times the side of a crop: a longer side is averaged down before it is resized
_STRIP = 1 << 18  # pixels that are converted at once, where a conversion takes many bytes a pixel
_SLACK = 1e-3  # of the range of floats, by which rounding may leave it
_header = threading.Lock()  # warning filters belong to the process, not to a thread
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class BinaryFile(Protocol):
    """An open file, or anything else that ``read`` gives bytes."""

    def read(self) -> bytes: ...


Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image | np.ndarray"
"""What ``open_image`` takes."""


def open_image(source: Picture, name: str = "") -> Image.Image:
    """Open a picture as RGB, upright.

    A source is a path, the bytes of a file, an open binary file (read from where it stands to its end, not closed), a
    PIL image or an array. Arrays are ``(h, w)``, ``(h, w, 1)``, ``(h, w, 2)`` gray + alpha, ``(h, w, 3)`` RGB or
    ``(h, w, 4)`` RGBA.

    Gray, palette, CMYK and YCbCr pictures are converted; transparency is laid over white; EXIF orientation is applied;
    of a file of several pages or frames the first is taken, and ``info[FRAMES]`` of the picture says how many it has.

    Values are scaled by their range, the same for arrays and for pictures of those kinds:

    - bool: white is true.
    - Integers of any type in 0..255 are taken as they are: 8-bit pictures are often stored so.
    - uint16 and Pillow's modes ``I;16`` and ``I`` with a greater value are scaled from the smallest of
      ``DEEP_RANGES`` that holds them all: pictures of 10, 12, 14 or 16 bits. Other integer types are refused then.
    - Floats in 0..1 are scaled from 0..1, and those that reach above ``FLOAT_GAP`` from 0..255. A maximum between
      could be either and is refused. Up to a thousandth of the range beyond it, as rounding leaves, is clipped.

    Args:
        name: what errors call a picture that is passed as bytes; empty = its number of bytes.

    Memory: the file, 8 bytes a pixel, and some MiB; so 0.7 GiB for a picture as large as Pillow's guard lets pass.
    Whatever a decoder raises is that picture's error.

    Returns:
        A PIL image of mode RGB, at least 1x1 pixel; the source is never changed.

    Raises:
        UserError: missing, a folder, a device, zero bytes, more than ``dptr.utils.reading.LARGEST`` bytes, a file
            opened as text, not a picture, truncated, more pixels than Pillow's guard against decompression bombs
            allows (``PIL.Image.MAX_IMAGE_PIXELS``), a side above ``LONGEST_SIDE``, or values that no rule above covers.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or f"image of mode {source.mode}, {source.width}x{source.height}"
        return _decode(source, str(name), shared=True)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source), name or f"image of {len(bytes(source))} bytes")
    if isinstance(source, str | os.PathLike):
        return _from_bytes(read_encoded(source), str(source))
    if hasattr(source, "read"):
        return _from_file(source)
    raise UserError(
        f"image of type {type(source).__name__}; pass a path, bytes, an open binary file, a PIL image or a numpy array"
    )


def read_encoded(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a picture's file, not decoded.

    Raises:
        UserError: missing, a folder, a device, too large (``dptr.utils.reading.read_file``), or it cannot be read.
    """
    try:
        return read_file(path)
    except IsADirectoryError as error:
        raise UserError(f"{path}: a folder; pass a picture, or the pictures in it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: {reason}; check the path") from error


def open_header(file: IO[bytes], name: str, others: Collection[str] = ()) -> Image.Image:
    """Open a picture without decoding its pixels: for its size, and for its frames (``count_frames``).

    Args:
        file: an open binary file; it has to stay open as long as the picture is used.
        name: what errors call it.
        others: formats that the caller reads itself, for the error.

    Raises:
        UserError: zero bytes, not a picture, damaged, or more pixels than Pillow's guard allows.
    """
    if not file.read(1):
        raise UserError(f"{name}: zero bytes; copy or download it again")
    file.seek(0)
    try:
        with _header, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except UnidentifiedImageError as error:
        raise UnknownKind(f"{name}: not a picture; expected one of {', '.join([*FORMATS, *others])}") from error
    except Exception as error:  # decoders raise whatever a damaged file makes them run into
        raise _broken(error, name) from error
    if max(image.size) > LONGEST_SIDE:
        raise TooLarge(
            f"{name}: {image.width}x{image.height} pixels, a side longer than {LONGEST_SIDE:,}; cut it into pieces"
        )
    return image


def count_frames(image: Image.Image, name: str) -> int:
    """How many frames an open picture has (pages of a TIFF, pictures of an animation), >= 1.

    Raises:
        UserError: it is damaged.
    """
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:  # see ``open_header``
        raise _broken(error, name) from error


def check_pixels(width: int, height: int, most: int | None, name: str) -> None:
    """Check the size of a picture, before its pixels are decoded.

    Raises:
        TooLarge: it has more than ``most`` pixels; None = any number.
    """
    if most is not None and width * height > most:
        raise TooLarge(f"{name}: {width}x{height} pixels, more than the {most:,} that are read; shrink it")


def decode_frame(image: Image.Image, index: int, name: str, most_pixels: int | None = None) -> Image.Image:
    """A frame of an open picture, from 0, as ``open_image`` gives the first: a picture of its own.

    Raises:
        UserError: see ``open_image``; or the frame has more than ``most_pixels``.
    """
    try:
        with _header, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image.seek(index)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except Exception as error:  # see ``open_header``
        raise _broken(error, name) from error
    check_pixels(*image.size, most_pixels, name)
    return _decode(image, name, shared=True)


def list_images(folder: str | Path, recursive: bool = False, suffixes: Collection[str] = SUFFIXES) -> list[str]:
    """The paths of the pictures in a folder, by suffix, in natural order (2 before 10).

    Args:
        recursive: in its sub-folders too; links to folders are not followed.
        suffixes: of what is listed, in lower case.

    Raises:
        UserError: it is no folder, cannot be read or holds no picture.
    """
    try:
        listed = os.listdir(folder)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; pass a folder of pictures") from error
    if recursive:
        walk = os.walk(folder, onerror=_refuse_folder)
        parents = ((os.path.relpath(parent, folder), files) for parent, _, files in walk)
        listed = [os.path.normpath(os.path.join(parent, name)) for parent, files in parents for name in files]
    names = [name for name in listed if os.path.splitext(name)[1].lower() in suffixes]
    if not names:
        where = "in it or in its sub-folders" if recursive else "directly in it"
        raise UserError(f"{folder}: no picture {where}; pass a folder that holds some ({' '.join(sorted(suffixes))})")
    return [os.path.join(folder, name) for name in sorted(names, key=natural_key)]


def _refuse_folder(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; make it readable, or pass the other folders") from error


def natural_key(name: str) -> tuple[list[str | int], str]:
    """A key that sorts names in natural order: numbers by value, letters whatever their case."""
    parts: list[str | int] = [part.casefold() for part in re.split(r"(\d+)", name)]
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


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


def _from_file(file: BinaryFile) -> Image.Image:
    name = str(getattr(file, "name", "") or f"file of type {type(file).__name__}")
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or holds no text
        raise UserError(f"{name}: {error}; open it anew, as binary ('rb')") from error
    if not isinstance(data, bytes):
        raise UserError(f"{name}: reads {type(data).__name__}, not bytes; open it as binary ('rb')")
    return _from_bytes(data, name)


def _from_bytes(data: bytes, name: str) -> Image.Image:
    with open_header(io.BytesIO(data), name) as image:
        frames = 1
        with suppress(UserError):  # damaged further frames are no reason not to read the first
            frames = count_frames(image, name)
        decoded = _decode(image, name)
        if frames > 1:
            decoded.info[FRAMES] = frames
        return decoded


def _decode(image: Image.Image, name: str, shared: bool = False) -> Image.Image:
    """``shared``: the picture is still needed as it is."""
    try:
        image.load()
        if shared:
            return _to_rgb(ImageOps.exif_transpose(image), name)
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image, name)
    except _BOMB as error:  # a frame larger than the first
        raise _too_large(error, name) from error
    except UserError:
        raise
    except Exception as error:  # see ``open_header``
        raise UserError(
            f"{name}: damaged or of an unknown kind ({_reason(error)}); copy it again or save it as PNG"
        ) from error


def _broken(error: Exception, name: str) -> UserError:
    return UserError(f"{name}: damaged ({_reason(error)}); copy or download it again")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _too_large(error: Exception, name: str) -> TooLarge:
    return TooLarge(
        f"{name}: {str(error).rstrip('.')}; cut the word out or shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS"
    )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if min(image.size) < 1:
        raise UserError(f"{name}: no pixels; pass a picture of at least 1x1")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _from_deep(image, name).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


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


def _from_array(array: np.ndarray) -> Image.Image:
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
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)), name)


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
