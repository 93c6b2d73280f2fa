"""Opening pictures: whatever holds one becomes an RGB image, or an error of one line says why not.

What their values become is in ``dptr.utils.pixel_values``; how they become crops of a size, in ``dptr.utils.resize``.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Collection
from contextlib import suppress
from typing import IO, Protocol, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dptr.utils.errors import TooLarge, UnknownKind, UserError
from dptr.utils.pixel_values import array_to_rgb, to_rgb
from dptr.utils.reading import read_file

# What photographs and data sets come in. Left out: formats that start another program (EPS) or that Pillow
# recognizes only by guessing.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi"}
    | {".tif", ".tiff", ".webp"}
)
"""What a file of one of these formats is usually called, in lower case."""

FRAMES = "dptr frames"  # in the info of a picture whose file has several: how many
LONGEST_SIDE = 1_000_000  # pixels; decoders take a second for so many rows
_NEW_SUBFILE_TYPE, _COPY, _MASK = 254, 1, 4  # a tag of TIFF, and bits of its value
_ON_ITS_SIDE = 5, 6, 7, 8  # EXIF's orientations by which width and height change places
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
    of a file of several pages or frames the first is taken, and ``info[FRAMES]`` of the picture says how many it has
    (``find_frames``). ``info["dpi"]`` holds the pixels an inch across and down, as the picture stands, where the file
    says them.

    Values are scaled by their range, the same for arrays and for pictures of those kinds:

    - bool: white is true.
    - Integers of any type in 0..255 are taken as they are: 8-bit pictures are often stored so.
    - uint16 and Pillow's modes ``I;16`` and ``I`` with a greater value are scaled from the smallest range of 10, 12,
      14 or 16 bits that holds them all. Other integer types are refused then.
    - Floats in 0..1 are scaled from 0..1, and those that reach above 16 from 0..255. A maximum between could be either
      and is refused. Up to a thousandth of the range beyond it, as rounding leaves, is clipped.

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
        return array_to_rgb(source)
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
    """Open a picture without decoding its pixels: for its size, and for its frames (``find_frames``).

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


def find_frames(image: Image.Image, name: str) -> list[int]:
    """The frames of an open picture that are pictures of their own, from 0; at least one.

    They are the pages of a TIFF, but for smaller copies of a page and masks (TIFF 6.0, NewSubfileType), and the
    pictures of an animation. What cameras and phones put behind a JPEG is none: previews, maps of brightness or depth,
    and the second view of a stereo camera (CIPA DC-007, Multi-Picture Format).

    Raises:
        UserError: it is damaged.
    """
    if image.format == "MPO":
        return [0]
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception as error:  # see ``open_header``
        raise _broken(error, name) from error
    if image.format != "TIFF" or count == 1:
        return [*range(count)]
    frames, page = [0], image.size
    for index in range(1, count):
        try:
            _seek(image, index, name)
        except UserError:  # raised when its turn comes
            frames.append(index)
            continue
        kind = image.tag_v2.get(_NEW_SUBFILE_TYPE)  # type: ignore[attr-defined]
        kind = kind if isinstance(kind, int) else 0
        smaller = image.width < page[0] and image.height < page[1]  # some programs call each page a copy
        if not (kind & _MASK or (kind & _COPY and smaller)):
            frames.append(index)
            page = image.size
    _seek(image, 0, name)
    return frames


def check_pixels(width: int, height: int, most: int | None, name: str) -> None:
    """Check the size of a picture, before its pixels are decoded.

    Raises:
        TooLarge: it has more than ``most`` pixels; None = any number.
    """
    if most is not None and width * height > most:
        raise TooLarge(f"{name}: {width}x{height} pixels, more than the {most:,} that are read; shrink it")


def decode_frame(image: Image.Image, index: int, name: str, most_pixels: int | None = None) -> Image.Image:
    """A frame of an open picture, one of ``find_frames``, as ``open_image`` gives the first: a picture of its own.

    Raises:
        UserError: see ``open_image``; or the frame has more than ``most_pixels``.
    """
    _seek(image, index, name)
    check_pixels(*image.size, most_pixels, name)
    return _decode(image, name, shared=True)


def _seek(image: Image.Image, index: int, name: str) -> None:
    try:
        with _header, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image.seek(index)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except Exception as error:  # see ``open_header``
        raise _broken(error, name) from error


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
            frames = len(find_frames(image, name))
        decoded = _decode(image, name)
        if frames > 1:
            decoded.info[FRAMES] = frames
        return decoded


def _decode(image: Image.Image, name: str, shared: bool = False) -> Image.Image:
    """``shared``: the picture is still needed as it is."""
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE  # Pillow turns TIFF when it loads it
        image.load()
        density = image.info.get("dpi")
        if turned and isinstance(density, tuple):
            density = density[::-1]
        if shared:
            decoded = to_rgb(ImageOps.exif_transpose(image), name)
        else:
            ImageOps.exif_transpose(image, in_place=True)
            decoded = to_rgb(image, name)
        if density is not None:
            decoded.info["dpi"] = density
        return decoded
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
