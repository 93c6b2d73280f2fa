"""Input files of OCR: pictures with their frames, and pages of PDFs, from disk, the web, or standard input."""

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
DPI = 200  # pixels per inch; the default resolution at which PDF pages are drawn
DPI_RANGE = 36, 1200
TIMEOUT = 30  # seconds without an answer after which a download fails
LARGEST = 1 << 30  # bytes; limit on content from a URL or standard input

_PDF_HEAD = 1024  # bytes at the start of a file that contain %PDF- (ISO 32000-1, annex H.3.4.1)


@dataclass(frozen=True)
class Pages:
    """The pages of a file to read: ranges of page numbers from 1, both ends included, in this order; no ranges = all
    pages.

    The end of a range is None if it reaches to the last page.
    """

    ranges: tuple[tuple[int, int | None], ...] = ()

    def choose(self, count: int, name: str) -> list[int]:
        """The numbers of the pages to read in a file of ``count`` pages, without repetitions.

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
    """Parse page ranges such as ``1-3,7`` or ``5-``; an empty text means all pages.

    Raises:
        UserError: the text is not a list of page numbers and ranges.
    """
    ranges = []
    for part in text.split(",") if text else []:
        match = re.fullmatch(r"\s*([1-9]\d{0,8})\s*(-\s*([1-9]\d{0,8})?)?\s*", part)
        if not match or (match[3] and int(match[3]) < int(match[1])):
            raise UserError(f"pages {text!r}: {part.strip()!r} is no page and no range; write such as 1-3,7 or 5-")
        ranges.append((int(match[1]), int(match[3]) if match[3] else None if match[2] else int(match[1])))
    return Pages(tuple(ranges))


@dataclass(frozen=True)
class InputOptions:
    """How files are opened.

    Attributes:
        pages: the pages or frames to read.
        dpi: pixels per inch at which pages of a PDF are drawn, within ``DPI_RANGE``.
        text_layer: what to do with a PDF page that has a text layer: ``use`` that text, or ``ignore`` it and read the
            picture of the page.
        draw: whether to draw also the pages whose text layer is used.
        most_pixels: limit on the pixels of a page or frame; None = the limit of Pillow's guard against decompression
            bombs.

    Raises:
        UserError: ``dpi`` is outside ``DPI_RANGE``, or ``text_layer`` has another value.
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
    """A picture to read, or a PDF page whose text layer is used.

    Attributes:
        source: the path, the URL, or ``-`` for standard input.
        number: of the page or frame in its file, from 1.
        picture: RGB, upright; ``info["dpi"]`` is its pixels per inch, if known. None if the page was not drawn.
        page: the text layer; None if the picture is to be read.
    """

    source: str
    number: int
    picture: Image.Image | None
    page: Page | None = None


@dataclass(frozen=True)
class Failure:
    """A page that could not be opened, with its number from 1; or a whole file, with number 0."""

    source: str
    number: int
    error: UserError


def open_sheets(sources: Iterable[str], options: InputOptions = InputOptions()) -> Iterator[Sheet | Failure]:
    """Open the pages and frames of files, one at a time, in order; yield a ``Failure`` for what cannot be opened.

    Args:
        sources: paths, URLs (http, https), or ``-`` for standard input. Each is a PDF, or a picture with one or more
            frames.
    """
    for source in sources:
        try:
            with _open(source) as file:
                yield from _open_pages(file, source, options)
        except UserError as error:
            yield Failure(source, 0, error)


def list_pages(source: str, options: InputOptions = InputOptions()) -> list[int] | None:
    """The numbers of the pages or frames that ``open_sheets`` reads of a file; nothing is decoded.

    Returns:
        None if only reading could tell: ``source`` is a URL, a pipe, or a damaged or missing file.
    """
    if not os.path.isfile(source):
        return None
    try:
        with _open(source) as file:
            return _list_numbers(file, source, options)
    except UserError:
        return None


def is_url(source: str) -> bool:
    """Whether ``source`` is a web address."""
    return source.lower().startswith(("http://", "https://"))


def open_content(content: bytes, name: str, options: InputOptions = InputOptions()) -> Iterator[Sheet | Failure]:
    """The same as ``open_sheets``, for one file whose bytes are in memory.

    Args:
        name: the ``source`` of its pages, also used in error messages.
    """
    try:
        yield from _open_pages(io.BytesIO(content), name, options)
    except UserError as error:
        yield Failure(name, 0, error)


def list_content(content: bytes, name: str, options: InputOptions = InputOptions()) -> list[int]:
    """The same as ``list_pages``, for one file whose bytes are in memory.

    Raises:
        UserError: the file is neither a picture nor a PDF, is damaged or too large, or lacks a page of
            ``options.pages``.
    """
    return _list_numbers(io.BytesIO(content), name, options)


def read_source(source: str) -> bytes:
    """The bytes of a file, of a web address, or of standard input.

    Raises:
        UserError: it cannot be read, or is larger than ``LARGEST``.
    """
    with _open(source) as file:
        return file.getvalue() if isinstance(file, io.BytesIO) else _read_all(file, source)


def is_pdf(content: bytes) -> bool:
    """Whether the content of a file is a PDF."""
    return b"%PDF-" in content[:_PDF_HEAD]


def _list_numbers(file: IO[bytes], name: str, options: InputOptions) -> list[int]:
    if not _is_pdf(file):
        with open_header(file, name, others=["PDF"]) as image:
            return options.pages.choose(len(find_frames(image, name)), name)
    require_extras(name, "pdf")
    from dptr.photo.pdf import Pdf

    with Pdf(_pdf_source(file, name), name) as pdf:
        return options.pages.choose(len(pdf), name)


def _open_pages(file: IO[bytes], name: str, options: InputOptions) -> Iterator[Sheet | Failure]:
    if not _is_pdf(file):
        with open_header(file, name, others=["PDF"]) as image:
            frames = find_frames(image, name)
            numbers = options.pages.choose(len(frames), name)
            yield from _open_each(
                name,
                numbers,
                lambda number: Sheet(name, number, decode_frame(image, frames[number - 1], name, options.most_pixels)),
            )
        return
    require_extras(name, "pdf")
    from dptr.photo.pdf import Pdf

    with Pdf(_pdf_source(file, name), name) as pdf:
        numbers = options.pages.choose(len(pdf), name)
        yield from _open_each(name, numbers, lambda number: _open_pdf_page(pdf, number, options))


def _pdf_source(file: IO[bytes], name: str) -> str | bytes:
    """The file as pdfium opens it: a file on disk by its name, so that pdfium reads only parts of it; else the bytes in
    memory."""
    return file.getvalue() if isinstance(file, io.BytesIO) else name


def _open_each(source: str, numbers: Iterable[int], open_one: Callable[[int], Sheet]) -> Iterator[Sheet | Failure]:
    for number in numbers:
        try:
            yield open_one(number)
        except UserError as error:
            yield Failure(source, number, error)


def _open_pdf_page(pdf: Pdf, number: int, options: InputOptions) -> Sheet:
    page = pdf.read(number, options.dpi) if options.text_layer == "use" else None
    picture = pdf.draw(number, options.dpi, options.most_pixels) if page is None or options.draw else None
    return Sheet(pdf.name, number, picture, page)


@contextmanager
def _open(source: str) -> Iterator[IO[bytes]]:
    """An open binary file. Everything except a regular file is read into memory first."""
    if source == STANDARD_INPUT:
        yield io.BytesIO(_read_all(sys.stdin.buffer, source))
    elif is_url(source):
        yield io.BytesIO(_download(source))
    else:
        try:
            file = open(open_plain(source), "rb")  # noqa: SIM115
        except IsADirectoryError as error:
            raise UserError(f"{source}: a folder; pass a picture, or the pictures in it") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{source}: {reason}; check the path") from error
        with file:
            yield file if file.seekable() else io.BytesIO(_read_all(file, source))  # a pipe cannot be read twice


def _download(url: str) -> bytes:
    import http.client  # slow to import, and rarely needed
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
