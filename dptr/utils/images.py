"""Opening and resizing pictures: whatever holds one becomes an RGB image, or an error of one line says why not."""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from dptr.utils.errors import UserError
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

_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, MemoryError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error),
)  # what Pillow raises on damaged files, found by changing bytes of each format at random
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

    Returns:
        A PIL image of mode RGB, at least 1x1 pixel; the source is never changed.

    Raises:
        UserError: missing, a folder, zero bytes, a file opened as text, not a picture, truncated, more pixels than
            Pillow's guard against decompression bombs allows (``PIL.Image.MAX_IMAGE_PIXELS``), or values that no rule
            above covers.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or f"image of mode {source.mode}, {source.width}x{source.height}"
        return _decode(source, str(name))
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
        UserError: missing, a folder, or it cannot be read.
    """
    try:
        return Path(path).read_bytes()
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
            return Image.open(file, formats=FORMATS)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except UnidentifiedImageError as error:
        raise UserError(f"{name}: not a picture; expected one of {', '.join([*FORMATS, *others])}") from error
    except _BROKEN as error:
        raise UserError(f"{name}: damaged ({error}); copy or download it again") from error


def count_frames(image: Image.Image, name: str) -> int:
    """How many frames an open picture has (pages of a TIFF, pictures of an animation), >= 1.

    Raises:
        UserError: it is damaged.
    """
    try:
        return int(getattr(image, "n_frames", 1))
    except _BROKEN as error:
        raise UserError(f"{name}: damaged ({error}); copy or download it again") from error


def decode_frame(image: Image.Image, index: int, name: str) -> Image.Image:
    """A frame of an open picture, from 0, as ``open_image`` gives the first: a picture of its own.

    Raises:
        UserError: see ``open_image``.
    """
    try:
        with _header, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image.seek(index)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except _BROKEN as error:
        raise UserError(f"{name}: damaged ({error}); copy or download it again") from error
    return _decode(image, name).copy()


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
    ``strhub/data/module.py``). Beside the input, memory for a strip of ``width`` columns or ``height`` rows is needed.
    """
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC))


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


def turn_tall(image: Image.Image) -> list[Image.Image]:
    """Turn a picture by 90 and by 270 degrees clockwise if it is taller than ``TALL_ASPECT`` times its width.

    Returns:
        Both turned pictures; an empty list for a picture that is not so tall.
    """
    if image.height <= TALL_ASPECT * image.width:
        return []
    transposes = (Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_90)  # Pillow counts against the clock
    return [image.transpose(transpose) for transpose in transposes]


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


def _decode(image: Image.Image, name: str) -> Image.Image:
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image), name)
    except _BOMB as error:  # a frame larger than the first
        raise _too_large(error, name) from error
    except _BROKEN as error:
        raise UserError(f"{name}: damaged or of an unknown kind ({error}); copy it again or save it as PNG") from error


def _too_large(error: Exception, name: str) -> UserError:
    return UserError(
        f"{name}: {str(error).rstrip('.')}; cut the word out or shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS"
    )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if min(image.size) < 1:
        raise UserError(f"{name}: no pixels; pass a picture of at least 1x1")
    if image.mode == "I" or image.mode.startswith("I;16"):
        gray = np.asarray(image)
        values = _from_integers(gray, name, deep=True)
        if "transparency" in image.info:
            values[gray == image.info["transparency"]] = 255
        return Image.fromarray(values).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(_from_float(np.asarray(image), name)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    name = f"array {array.shape} of {array.dtype}"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise UserError(f"{name}: not a picture; pass (h, w) or (h, w, 1 to 4), channels last")
    if array.size == 0:
        raise UserError(f"{name}: no pixels; pass a picture of at least 1x1")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind in "ui":
        array = _from_integers(array, name, deep=array.dtype.kind == "u" and array.dtype.itemsize == 2)
    elif array.dtype.kind == "f":
        array = _from_float(array, name)
    else:
        raise UserError(f"{name}: no numbers of a picture; pass uint8")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return _to_rgb(Image.fromarray(np.ascontiguousarray(array)), name)


def _from_integers(values: np.ndarray, name: str, deep: bool) -> np.ndarray:
    """Integers of any type to 0..255, rounded; ``deep``: they may have more than 8 bits."""
    if values.dtype == np.uint8:
        return values
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= 255:
        return values.astype(np.uint8)
    if not deep:
        raise UserError(f"{name}: values {low}..{high} outside 0..255; clip or scale them, or pass uint16 for 16 bits")
    if low < 0 or high > DEEP_RANGES[-1]:
        raise UserError(f"{name}: 32-bit values {low}..{high}; save it with 8 or 16 bits a channel")
    full = next(each for each in DEEP_RANGES if each >= high)
    return ((values.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)


def _from_float(values: np.ndarray, name: str) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    full = 255.0 if high > FLOAT_GAP else 1.0
    if 1 + _SLACK < high <= FLOAT_GAP and low >= -_SLACK:
        raise UserError(
            f"{name}: floats {low:.4g}..{high:.4g} could be of 0..1 or of 0..255; scale them, or pass uint8"
        )
    if not (low >= -_SLACK * full and high <= (1 + _SLACK) * full):  # also NaN
        raise UserError(f"{name}: floats {low:.4g}..{high:.4g}, neither 0..1 nor 0..255; clip or scale them")
    return np.rint(np.clip(values, 0, full) * (255 / full)).astype(np.uint8)
