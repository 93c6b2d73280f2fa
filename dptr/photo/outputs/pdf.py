"""Searchable PDF: each page consists of its picture and, invisibly over it, the words at their positions.

The font of the words has one empty glyph for all characters (``scripts/blank_font.py``), so that any script can be
searched and copied. Each word is stretched to its box. The file is written by pdfium, with which Chrome makes PDFs
searchable.
"""

from __future__ import annotations

import ctypes
import io
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from importlib.resources import files
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dptr.photo.outputs.base import Shown
from dptr.photo.page import Box, Page, Point
from dptr.photo.shapes import bounds, runs_left
from dptr.utils.outputs import PDF_MARK
from dptr.utils.threads import begin, stop
from dptr.version import __version__

if TYPE_CHECKING:
    import pypdfium2

DPI = 200  # pixels per inch; used if a picture has no value, or one below DPI_LEAST
DPI_LEAST = 100  # cameras write 72 into photographs of any size
QUALITY = 85  # of JPEG

_ADVANCE, _DESCENT = 0.5, 0.2  # of the only glyph, relative to the font size
_NARROWEST = 0.1  # least width of a space between words, in heights of the line
_FILLED = 0.85  # share of columns with words; pdfium requires 0.8 (CPDF_TextPage::FindTextlineFlowOrientation)
_RULER = 0.01  # height of the space that spans a sparse page, as a share of the page's height
_MOST_CUT = 0.3  # largest share of a word that is cut off for a space
_SMALLEST = 0.1  # points; least side of a word
_MOST_UNEVEN = 3  # largest ratio of the horizontal and vertical resolution; a larger one is taken for an error
_CODES = 1 << 16  # number of character codes; each is a UTF-16 code unit

_TO_UNICODE = b"""/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange
1 beginbfrange
<0000> <FFFF> <0000>
endbfrange
endcmap
CMapName currentdict /CMap defineresource pop
end
end
"""  # each character code is its own UTF-16 code unit (ISO 32000-1, 9.10.3)


def write_pdf(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write all pages to one PDF, in the size that their pictures state (``info["dpi"]``), with JPEG pictures."""
    from dptr.photo.pdf import PDFIUM, pypdfium2

    with PDFIUM:
        document = pypdfium2.PdfDocument.new()
        font = _load_font(document)
    apart = _Apart()
    try:
        for page, picture in pages:
            assert picture is not None, "the format needs pictures"
            encoded = _to_jpeg(picture)
            with PDFIUM:
                apart.run(_add_page, document, font, page, encoded, _scale(picture))
        sink = _Sink(file, apart)
        with PDFIUM:
            apart.run(document.save, sink)
        if sink.error is not None:
            raise sink.error
        file.write(PDF_MARK + __version__.encode() + b"\n")
    finally:
        with PDFIUM:
            document.close()


class _Apart:
    """Runs functions in a separate thread, and waits for them.

    pdfium calls back into Python to read and write. An interrupt during such a call would be lost. Interrupts occur
    only in the main thread.

    Attributes:
        given_up: whether the caller stopped waiting for the function.
    """

    def __init__(self) -> None:
        self.given_up = False

    def run(self, function: Callable[..., object], *arguments: object) -> None:
        """Run ``function`` and wait. When this returns or raises, the function is no longer running."""
        future: Future[object] = Future()
        try:
            begin(future, "dptr-pdf", function, *arguments)
            future.result()
        except BaseException:
            self.given_up = True
            stop(future)
            raise


class _Sink:
    """The file that pdfium writes to; output is dropped after an ``error``, or when nobody waits for it."""

    def __init__(self, file: IO[bytes], apart: _Apart) -> None:
        self.error: OSError | None = None
        self._file, self._apart = file, apart

    def write(self, data: Any) -> None:
        if self.error is None and not self._apart.given_up:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error


def _add_page(document: pypdfium2.PdfDocument, font: Any, page: Page, jpeg: io.BytesIO, scale: Point) -> None:
    """Append a page.

    Args:
        scale: points per pixel, horizontally and vertically.
    """
    import pypdfium2
    from pypdfium2 import raw

    width, height = page.width * scale[0], page.height * scale[1]
    sheet = document.new_page(width, height)
    image = pypdfium2.PdfImage.new(document)
    image.load_jpeg(jpeg, inline=True, autoclose=True)
    image.set_matrix(pypdfium2.PdfMatrix().scale(width, height))
    sheet.insert_obj(image)
    for text, box in _text_pieces(page):
        codes = np.frombuffer(text.encode("utf-16-le", "replace"), "<u2").astype(np.uint32)
        matrix, size = _fit_text(box, len(codes), scale, height)
        piece = raw.FPDFPageObj_CreateTextObj(document, font, size)
        raw.FPDFText_SetCharcodes(piece, codes.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32)), len(codes))
        raw.FPDFTextObj_SetTextRenderMode(piece, raw.FPDF_TEXTRENDERMODE_INVISIBLE)
        raw.FPDFPageObj_SetMatrix(piece, raw.FS_MATRIX(*matrix))
        raw.FPDFPage_InsertObject(sheet, piece)
    sheet.gen_content()
    sheet.close()


def _load_font(document: pypdfium2.PdfDocument) -> Any:
    from pypdfium2 import raw

    font = files("dptr.photo.outputs").joinpath("blank.ttf").read_bytes()
    glyphs = b"\x00\x01" * _CODES  # glyph 1 for each code
    return raw.FPDFText_LoadCidType2Font(
        document, (ctypes.c_uint8 * len(font)).from_buffer_copy(font), len(font), _TO_UNICODE,
        (ctypes.c_uint8 * len(glyphs)).from_buffer_copy(glyphs), len(glyphs),
    )  # fmt: skip


def _text_pieces(page: Page) -> Iterator[tuple[str, Box]]:
    """The words and the spaces between them; the boxes of right-to-left words begin on the right."""
    for line in page.lines:
        boxes = [_orient(word.box, runs_left(word.text)) for word in line.words]
        for index, word in enumerate(line.words):
            if index + 1 == len(boxes):
                yield word.text, boxes[index]
            else:
                box, space = _make_space(boxes[index], boxes[index + 1])
                yield from ((word.text, box), (" ", space))
    if page.lines and (span := _sparse_span(page)):
        left, right = span
        top = page.height - _RULER * page.height
        yield " ", ((left, top), (right, top), (right, page.height), (left, page.height))


def _sparse_span(page: Page) -> tuple[int, int] | None:
    """The range of columns with words, in pixels, if words cover less than ``_FILLED`` of it; otherwise None.

    pdfium, and so Chrome, takes the lines of such a page for columns, and breaks the line after each word. A space
    along the whole range prevents this.
    """
    columns = np.zeros(page.width, bool)
    for word in page.words:
        left, _, right, _ = bounds([word.box], page.width, page.height)
        columns[left:right] = True
    word_columns = np.flatnonzero(columns)
    if not len(word_columns) or columns[word_columns[0] : word_columns[-1] + 1].mean() >= _FILLED:
        return None
    return int(word_columns[0]), int(word_columns[-1]) + 1


def _orient(box: Box, leftward: bool) -> Box:
    """The box, with its corners in order from the start of the text."""
    (x0, y0), (x1, y1), _, (x3, y3) = box
    begins_left = (x1 - x0) * (y3 - y0) - (y1 - y0) * (x3 - x0) >= 0
    return (box[1], box[0], box[3], box[2]) if leftward == begins_left else box


def _make_space(box: Box, following: Box) -> tuple[Box, Box]:
    """The box of a word, and the box of the space between it and the next word.

    Viewers merge words that touch, so such a word is shortened at its end.
    """
    begin, end, low_end, low_begin = box
    along = _unit(begin, end)
    # Otherwise, the next word is on the other side, in a script of the other direction.
    is_ahead = _project(_center(box), _center(following), along) >= 0
    way = 1 if is_ahead else -1
    top, low = (end, low_end) if is_ahead else (begin, low_begin)
    narrowest = max(_NARROWEST * math.dist(end, low_end), _SMALLEST)
    gap = min(way * _project(top, corner, along) for corner in following[:2])
    cut = min(max(narrowest - gap, 0.0), _MOST_CUT * math.dist(begin, end))

    def move(point: Point, by: float) -> Point:
        return point[0] + way * by * along[0], point[1] + way * by * along[1]

    top, low = move(top, -cut), move(low, -cut)
    space_width = max(gap + cut, narrowest)
    space = top, move(top, space_width), move(low, space_width), low
    return ((begin, top, low, low_begin) if is_ahead else (top, end, low_end, low)), space


def _fit_text(box: Box, count: int, scale: Point, height: float) -> tuple[tuple[float, ...], float]:
    """The matrix that stretches ``count`` characters to a box, and the font size. In PDF, y points up."""
    begin, end, low = ((x * scale[0], height - y * scale[1]) for x, y in (box[0], box[1], box[3]))
    along = _unit(begin, end)
    length = max(math.dist(begin, end), _SMALLEST)
    size = max(math.dist(begin, low), _SMALLEST)
    up = -along[1], along[0]
    if up[0] * (begin[0] - low[0]) + up[1] * (begin[1] - low[1]) < 0:
        up = along[1], -along[0]
    stretch = length / (count * _ADVANCE * size)
    origin = low[0] + up[0] * _DESCENT * size, low[1] + up[1] * _DESCENT * size
    return (along[0] * stretch, along[1] * stretch, *up, *origin), size


def _unit(begin: Point, end: Point) -> Point:
    length = math.dist(begin, end)
    return ((end[0] - begin[0]) / length, (end[1] - begin[1]) / length) if length else (1.0, 0.0)


def _project(begin: Point, end: Point, direction: Point) -> float:
    return (end[0] - begin[0]) * direction[0] + (end[1] - begin[1]) * direction[1]


def _center(box: Box) -> Point:
    return sum(x for x, _ in box) / 4, sum(y for _, y in box) / 4


def _scale(picture: Image.Image) -> Point:
    """Points per pixel, horizontally and vertically.

    The two may differ: a fax has 204 pixels per inch horizontally, and 98 or 196 vertically.
    """
    across, down = map(float, picture.info.get("dpi", (0, 0)))
    if not DPI_LEAST <= max(across, down) < math.inf:
        across = down = DPI
    elif not 1 / _MOST_UNEVEN <= across / max(down, 1.0) <= _MOST_UNEVEN:
        across = down = max(across, down)
    return 72 / across, 72 / down


def _to_jpeg(picture: Image.Image) -> io.BytesIO:
    pixels = np.asarray(picture)
    gray = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    encoded = io.BytesIO()
    (picture.convert("L") if gray else picture).save(encoded, "JPEG", quality=QUALITY, subsampling=0)
    encoded.seek(0)
    return encoded
