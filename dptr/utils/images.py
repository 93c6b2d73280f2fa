"""Opening of pictures: any common source becomes an RGB image, or an error of one line says why not.

``dptr.utils.pixel_values`` converts pixel values; ``dptr.utils.resize`` resizes pictures to crops.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import IO, Protocol, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from dptr.utils.errors import TooLarge, UnknownKind, UserError
from dptr.utils.pixel_values import array_to_rgb, to_rgb
from dptr.utils.reading import read_file

# Formats of photographs and data sets. Not included: formats that start another program (EPS), and formats that Pillow
# recognizes only by guessing.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi"}
    | {".tif", ".tiff", ".webp"}
)
"""The usual suffixes of files in these formats, in lower case."""
REFUSED_SUFFIXES = frozenset({".heic", ".heif"})
"""Suffixes of photographs of phones, which Pillow does not open."""
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})  # ISO 23008-12

FRAMES = "dptr frames"  # key in ``info`` of a picture: the number of frames of its file, if it has several
LONGEST_SIDE = 1_000_000  # pixels; decoders take a second for so many rows
_NEW_SUBFILE_TYPE, _COPY, _MASK = 254, 1, 4  # a tag of TIFF, and bits of its value
_SWAPPING_ORIENTATIONS = 5, 6, 7, 8  # EXIF orientations that swap width and height
_filters_lock = threading.Lock()  # warning filters belong to the process, not to a thread
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class BinaryFile(Protocol):
    """An open file, or any other object whose ``read`` returns bytes."""

    def read(self) -> bytes: ...


Picture: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image | np.ndarray"
"""The types that ``open_image`` accepts."""


def open_image(source: Picture, name: str = "") -> Image.Image:
    """Open a picture as RGB, upright.

    Gray, palette, CMYK and YCbCr pictures are converted to RGB, transparent pictures are laid over white, and EXIF
    orientation is applied. Of a file with several pages or frames, the first is opened.

    Values are scaled by their range, with the same rules for arrays and pictures:

    - bool: true is white.
    - Integers of any type in 0..255 stay as they are, because 8-bit pictures are often stored in larger types.
    - uint16 and Pillow's modes ``I;16`` and ``I`` with a greater value are scaled from the smallest range of 10, 12,
      14 or 16 bits that holds all values. Other integer types with a greater value are refused.
    - Floats in 0..1 are scaled from 0..1. Floats with a maximum above 16 are scaled from 0..255. A maximum in between
      is ambiguous and is refused. Rounding errors of up to a thousandth of the range are clipped.

    Memory: the file, 8 bytes per pixel, and some MiB; so 0.7 GiB for the largest picture that Pillow's guard accepts.

    Args:
        source: a path; the bytes of a file; an open binary file, which is read from its position to its end and is not
            closed; a PIL image; or an array: ``(h, w)``, ``(h, w, 1)``, ``(h, w, 2)`` gray + alpha, ``(h, w, 3)`` RGB,
            or ``(h, w, 4)`` RGBA.
        name: of a picture that is passed as bytes, for errors; empty = its number of bytes.

    Returns:
        A PIL image of mode RGB, of at least 1x1 pixel; the source is never changed. ``info[FRAMES]`` holds the number
        of frames (``find_frames``) if there are several. ``info["dpi"]`` holds the pixels per inch across and down the
        upright picture, if the file states them.

    Raises:
        UserError: the file is missing, a folder, a device, empty, larger than ``dptr.utils.reading.LARGEST`` bytes,
            opened as text, not a picture, or damaged; it has more pixels than Pillow's guard against decompression
            bombs allows (``PIL.Image.MAX_IMAGE_PIXELS``), a side above ``LONGEST_SIDE``, or values that no rule
            covers. Errors of decoders become ``UserError``, too.
    """
    if isinstance(source, np.ndarray):
        return array_to_rgb(source)
    if isinstance(source, Image.Image):
        name = getattr(source, "filename", "") or f"image of mode {source.mode}, {source.width}x{source.height}"
        return _decode(source, str(name), shared=True)
    if isinstance(source, bytes | bytearray | memoryview):
        return _open_bytes(bytes(source), name or f"image of {len(bytes(source))} bytes")
    if isinstance(source, str | os.PathLike):
        return _open_bytes(read_encoded(source), str(source))
    if hasattr(source, "read"):
        return _open_file(source)
    raise UserError(
        f"image of type {type(source).__name__}; pass a path, bytes, an open binary file, a PIL image or a numpy array"
    )


def read_encoded(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a picture's file, not decoded.

    Raises:
        UserError: the file is missing, a folder, a device, too large (``dptr.utils.reading.read_file``), or cannot be
            read.
    """
    try:
        return read_file(path)
    except IsADirectoryError as error:
        raise UserError(f"{path}: a folder; pass a picture, or the pictures in it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: {reason}; check the path") from error


def open_header(file: IO[bytes], name: str, others: Collection[str] = ()) -> Image.Image:
    """Open a picture without decoding its pixels, to find its size and its frames (``find_frames``).

    Args:
        file: an open binary file, which must stay open while the picture is used.
        name: of the picture, for errors.
        others: formats that the caller reads without this function, for errors.

    Raises:
        UserError: the file is empty, not a picture, or damaged; it has more pixels than Pillow's guard allows, or a
            side above ``LONGEST_SIDE``.
    """
    if not file.read(1):
        raise UserError(f"{name}: zero bytes; copy or download it again")
    file.seek(0)
    try:
        with _filters_lock, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except UnidentifiedImageError as error:
        file.seek(4)
        if file.read(4) == b"ftyp" and file.read(4) in _HEIF_BRANDS:
            raise UnknownKind(f"{name}: HEIC, as phones write it, which is not opened; save it as JPEG") from error
        raise UnknownKind(f"{name}: not a picture; expected one of {', '.join([*FORMATS, *others])}") from error
    except Exception as error:  # damaged files make decoders raise errors of any type
        raise _damaged(error, name) from error
    if max(image.size) > LONGEST_SIDE:
        raise TooLarge(
            f"{name}: {image.width}x{image.height} pixels, a side longer than {LONGEST_SIDE:,}; cut it into pieces"
        )
    return image


def find_frames(image: Image.Image, name: str) -> Sequence[int]:
    """The indices, from 0, of the frames of an open picture that are separate pictures; at least one.

    These are the pictures of an animation and the pages of a TIFF, without masks and smaller copies of a page (TIFF
    6.0, NewSubfileType). A JPEG counts as one picture, even if a camera or a phone appended previews, maps of
    brightness or depth, or the second view of a stereo camera (CIPA DC-007, Multi-Picture Format).

    Raises:
        UserError: the file is damaged, or claims more frames than it can have.
    """
    if image.format == "MPO":
        return [0]
    try:
        count = _count_frames(image)
    except Exception as error:  # see ``open_header``
        raise _damaged(error, name) from error
    if image.format != "TIFF" or count == 1:
        return range(count)
    frames, page = [0], image.size
    for index in range(1, count):
        try:
            _seek(image, index, name)
        except UserError:  # ``decode_frame`` will raise it
            frames.append(index)
            continue
        kind = image.tag_v2.get(_NEW_SUBFILE_TYPE)  # type: ignore[attr-defined]
        kind = kind if isinstance(kind, int) else 0
        smaller = image.width < page[0] and image.height < page[1]  # some programs mark every page as a copy
        if not (kind & _MASK or (kind & _COPY and smaller)):
            frames.append(index)
            page = image.size
    _seek(image, 0, name)
    return frames


def _count_frames(image: Image.Image) -> int:
    """The number of frames that a file claims to have.

    Raises:
        ValueError: the file has fewer bytes than frames.
    """
    count = int(getattr(image, "n_frames", 1))
    file: IO[bytes] | None = getattr(image, "fp", None)  # closed where the decoder has read all of it
    if file is not None:
        place = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(place)
        if count > size:
            raise ValueError(f"{count:,} frames in {size:,} bytes")
    return count


def check_pixels(width: int, height: int, most: int | None, name: str) -> None:
    """Check the size of a picture before its pixels are decoded.

    Args:
        most: the largest number of pixels to accept; None = no limit.

    Raises:
        TooLarge: the picture has more pixels.
    """
    if most is not None and width * height > most:
        raise TooLarge(f"{name}: {width}x{height} pixels, more than the {most:,} that are read; shrink it")


def decode_frame(image: Image.Image, index: int, name: str, most_pixels: int | None = None) -> Image.Image:
    """Decode frame ``index`` (see ``find_frames``) of an open picture to a new image, as ``open_image`` does.

    Raises:
        UserError: see ``open_image``; or the frame has more than ``most_pixels`` pixels.
    """
    _seek(image, index, name)
    check_pixels(*image.size, most_pixels, name)
    return _decode(image, name, shared=True)


def _seek(image: Image.Image, index: int, name: str) -> None:
    try:
        with _filters_lock, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image.seek(index)
    except _BOMB as error:
        raise _too_large(error, name) from error
    except Exception as error:  # see ``open_header``
        raise _damaged(error, name) from error


def _open_file(file: BinaryFile) -> Image.Image:
    name = str(getattr(file, "name", "") or f"file of type {type(file).__name__}")
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or holds no text
        raise UserError(f"{name}: {error}; open it anew, as binary ('rb')") from error
    if not isinstance(data, bytes):
        raise UserError(f"{name}: reads {type(data).__name__}, not bytes; open it as binary ('rb')")
    return _open_bytes(data, name)


def _open_bytes(data: bytes, name: str) -> Image.Image:
    with open_header(io.BytesIO(data), name) as image:
        frames = 1
        with suppress(UserError):  # the first frame can be read even if others are damaged
            frames = len(find_frames(image, name))
        decoded = _decode(image, name)
        if frames > 1:
            decoded.info[FRAMES] = frames
        return decoded


def _decode(image: Image.Image, name: str, shared: bool = False) -> Image.Image:
    """Decode a picture to RGB, upright; ``shared`` = leave ``image`` as it is, because others use it."""
    try:
        # Before ``load``, because Pillow turns a TIFF when it loads it.
        turned = image.getexif().get(ExifTags.Base.Orientation) in _SWAPPING_ORIENTATIONS
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
            f"{name}: damaged or of an unknown kind ({_describe_error(error)}); copy it again or save it as PNG"
        ) from error


def _damaged(error: Exception, name: str) -> UserError:
    return UserError(f"{name}: damaged ({_describe_error(error)}); copy or download it again")


def _describe_error(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _too_large(error: Exception, name: str) -> TooLarge:
    return TooLarge(
        f"{name}: {str(error).rstrip('.')}; cut the word out or shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS"
    )
