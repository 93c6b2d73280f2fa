"""What is to be read: pictures, their frames, and pages of PDFs, from files, the web, or standard input."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

from PIL import Image

from dptr.photo.page import Page
from dptr.utils.errors import UserError
from dptr.utils.extras import require_extras
from dptr.utils.images import SUFFIXES, decode_frame, find_frames, open_header
from dptr.utils.inputs import STANDARD_INPUT
from dptr.utils.reading import open_plain
from dptr.version import __version__

if TYPE_CHECKING:
    from dptr.photo.pdf import Pdf

SUFFIXES_READ = SUFFIXES | {".pdf"}
DPI = 200  # at which pages of a PDF are drawn, unless told otherwise
DPI_RANGE = 36, 1200
TIMEOUT = 30  # seconds without an answer, after which a URL is given up
LARGEST = 1 << 30  # bytes that are taken from a URL or standard input

_PDF_HEAD = 1024  # bytes, in which %PDF- stands (ISO 32000-1, annex H.3.4.1)


@dataclass(frozen=True)
class Pages:
    """Which pages of a file to read: ranges from 1, both ends included, in this order; none = all.

    The end of a range may be None: to the last page.
    """

    ranges: tuple[tuple[int, int | None], ...] = ()

    def choose(self, count: int, name: str) -> list[int]:
        """The numbers of the pages to read of a file of ``count``.

        Raises:
            UserError: a range reaches beyond the last page.
        """
        numbers: list[int] = []
        for begin, end in self.ranges or ((1, None),):
            if max(begin, end or 0) > count:
                has = "1 page" if count == 1 else f"{count} pages"
                raise UserError(f"{name}: has {has}, not page {max(begin, end or 0)}; pass other --pages")
            numbers += [number for number in range(begin, (end or count) + 1) if number not in numbers]
        return numbers


def parse_pages(text: str) -> Pages:
    """Read page ranges such as ``1-3,7`` or ``5-``; empty = all pages.

    Raises:
        UserError: it is none.
    """
    ranges = []
    for part in text.split(",") if text else []:
        found = re.fullmatch(r"\s*([1-9]\d{0,8})\s*(-\s*([1-9]\d{0,8})?)?\s*", part)
        if not found or (found[3] and int(found[3]) < int(found[1])):
            raise UserError(f"pages {text!r}: {part.strip()!r} is no page and no range; write such as 1-3,7 or 5-")
        ranges.append((int(found[1]), int(found[3]) if found[3] else None if found[2] else int(found[1])))
    return Pages(tuple(ranges))


@dataclass(frozen=True)
class InputOptions:
    """How files are opened.

    Attributes:
        pages: which of their pages or frames.
        dpi: pixels an inch at which pages of a PDF are drawn, within ``DPI_RANGE``.
        text_layer: what to do with a PDF page that holds text itself: ``use`` it, or ``ignore`` it and read the
            picture.
        draw: draw pages also whose own text is used.
        most_pixels: of a page or frame; None = what Pillow's guard against decompression bombs allows.
    """

    pages: Pages = Pages()
    dpi: int = DPI
    text_layer: Literal["use", "ignore"] = "ignore"
    draw: bool = True
    most_pixels: int | None = None

    def __post_init__(self) -> None:
        low, high = DPI_RANGE
        if not low <= self.dpi <= high:
            raise UserError(f"dpi {self.dpi}: outside {low} to {high}; pass pixels an inch, such as {DPI}")
        if self.text_layer not in ("use", "ignore"):
            raise UserError(f"text_layer {self.text_layer!r}: pass 'use' or 'ignore'")


@dataclass(frozen=True)
class Sheet:
    """A picture to read, or a page whose own text is used.

    Attributes:
        source: the path, the URL, or ``-``.
        number: of the page or frame in its file, from 1.
        picture: RGB, upright; ``info["dpi"]`` holds its pixels an inch, if they are known. None if it was not drawn.
        page: what it says itself; None if it is to be read.
    """

    source: str
    number: int
    picture: Image.Image | None
    page: Page | None = None


@dataclass(frozen=True)
class Failure:
    """What could not be opened: a page of a file, from 1, or with number 0 the file."""

    source: str
    number: int
    error: UserError


def open_sheets(sources: Iterable[str], options: InputOptions = InputOptions()) -> Iterator[Sheet | Failure]:
    """The pictures of files, one at a time, in their order; what cannot be opened as its error.

    Args:
        sources: paths, URLs (http, https), and ``-`` for standard input. Each is a picture, whose frames are read one
            by one, or a PDF.
    """
    for source in sources:
        try:
            with _open(source) as file:
                yield from _sheets(file, source, options)
        except UserError as error:
            yield Failure(source, 0, error)


def list_pages(source: str, options: InputOptions = InputOptions()) -> list[int] | None:
    """The numbers of the pages or frames that ``open_sheets`` takes of a file, without decoding them.

    Returns:
        None where that can be told only by reading it: an address, a pipe, what is damaged or missing.
    """
    if not os.path.isfile(source):
        return None
    try:
        with _open(source) as file:
            return _list(file, source, options)
    except UserError:
        return None


def is_url(source: str) -> bool:
    """Whether it is the address of a picture on the web."""
    return source.lower().startswith(("http://", "https://"))


def open_content(content: bytes, name: str, options: InputOptions = InputOptions()) -> Iterator[Sheet | Failure]:
    """As ``open_sheets``, of one file whose bytes are at hand.

    Args:
        name: the source of its pages, and what errors call it.
    """
    try:
        yield from _sheets(io.BytesIO(content), name, options)
    except UserError as error:
        yield Failure(name, 0, error)


def list_content(content: bytes, name: str, options: InputOptions = InputOptions()) -> list[int]:
    """As ``list_pages``, of one file whose bytes are at hand.

    Raises:
        UserError: it is neither a picture nor a PDF, is damaged or too large, or lacks a page that is asked for.
    """
    return _list(io.BytesIO(content), name, options)


def read_source(source: str) -> bytes:
    """The bytes of a file, an address, or standard input.

    Raises:
        UserError: it cannot be read, or is larger than ``LARGEST``.
    """
    with _open(source) as file:
        return file.getvalue() if isinstance(file, io.BytesIO) else _read_all(file, source)


def is_pdf(content: bytes) -> bool:
    """Whether the bytes of a file are a PDF's."""
    return b"%PDF-" in content[:_PDF_HEAD]


def _list(file: IO[bytes], name: str, options: InputOptions) -> list[int]:
    if not _is_pdf(file):
        with open_header(file, name, others=["PDF"]) as image:
            return options.pages.choose(len(find_frames(image, name)), name)
    require_extras(name, "pdf")
    from dptr.photo.pdf import Pdf

    with Pdf(_content(file, name), name) as pdf:
        return options.pages.choose(len(pdf), name)


def _sheets(file: IO[bytes], name: str, options: InputOptions) -> Iterator[Sheet | Failure]:
    if not _is_pdf(file):
        with open_header(file, name, others=["PDF"]) as image:
            frames = find_frames(image, name)
            numbers = options.pages.choose(len(frames), name)
            yield from _each(
                name,
                numbers,
                lambda number: Sheet(name, number, decode_frame(image, frames[number - 1], name, options.most_pixels)),
            )
        return
    require_extras(name, "pdf")
    from dptr.photo.pdf import Pdf

    with Pdf(_content(file, name), name) as pdf:
        numbers = options.pages.choose(len(pdf), name)
        yield from _each(name, numbers, lambda number: _draw(pdf, number, options))


def _content(file: IO[bytes], name: str) -> str | bytes:
    """What pdfium opens: it reads a file of the disk piece by piece; what came another way is at hand."""
    return file.getvalue() if isinstance(file, io.BytesIO) else name


def _each(source: str, numbers: Iterable[int], open_one: Callable[[int], Sheet]) -> Iterator[Sheet | Failure]:
    for number in numbers:
        try:
            yield open_one(number)
        except UserError as error:
            yield Failure(source, number, error)


def _draw(pdf: Pdf, number: int, options: InputOptions) -> Sheet:
    page = pdf.read(number, options.dpi) if options.text_layer == "use" else None
    picture = pdf.draw(number, options.dpi, options.most_pixels) if page is None or options.draw else None
    return Sheet(pdf.name, number, picture, page)


@contextmanager
def _open(source: str) -> Iterator[IO[bytes]]:
    """An open binary file; for what is no file on the disk, its content in memory."""
    if source == STANDARD_INPUT:
        yield io.BytesIO(_read_all(sys.stdin.buffer, source))
    elif is_url(source):
        yield io.BytesIO(_fetch(source))
    else:
        try:
            file = open(open_plain(source), "rb")  # noqa: SIM115
        except IsADirectoryError as error:
            raise UserError(f"{source}: a folder; pass a picture, or the pictures in it") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{source}: {reason}; check the path") from error
        with file:
            # a pipe cannot be read twice
            yield file if file.seekable() else io.BytesIO(_read_all(file, source))


def _fetch(url: str) -> bytes:
    import http.client  # slow to import, and few need it
    import urllib.error
    import urllib.request

    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"dptr/{__version__}"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return _read_all(answer, url)
    except urllib.error.HTTPError as error:
        raise UserError(f"{url}: the server answers {error.code} {error.reason}; check the address") from error
    except (OSError, ValueError, http.client.HTTPException) as error:  # also URLError; ValueError: a malformed address
        raise UserError(f"{url}: {getattr(error, 'reason', error)}; check the address and the network") from error


def _read_all(file: IO[bytes], name: str) -> bytes:
    data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise UserError(f"{name}: more than {LARGEST >> 20} MiB; save it as a file and pass that")
    return data


def _is_pdf(file: IO[bytes]) -> bool:
    head = file.read(_PDF_HEAD)
    file.seek(0, os.SEEK_SET)
    return b"%PDF-" in head
