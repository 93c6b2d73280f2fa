"""Pages of PDF files, read with pdfium: their number, their pictures, and their text layers.

pdfium is not thread-safe, even across documents. So each call to it holds the lock ``PDFIUM``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from dptr.photo.page import Page
from dptr.photo.text_layer import read_text_layer
from dptr.utils.errors import TooLarge, UserError
from dptr.utils.extras import missing_package

try:
    import pypdfium2
    from pypdfium2 import raw
except ImportError as error:
    raise missing_package(error, "a PDF", "pdf") from error

PDFIUM = threading.RLock()
POINTS = 72  # per inch

_REASONS = {
    raw.FPDF_ERR_SUCCESS: "a PDF without pages; save it anew",
    raw.FPDF_ERR_PASSWORD: "encrypted; remove its password first, such as with 'qpdf --decrypt'",
    raw.FPDF_ERR_FORMAT: "damaged, or without pages; copy or download it again",
    raw.FPDF_ERR_SECURITY: "encrypted in a way that pdfium does not know; save it without encryption",
}


class Pdf:
    """An open PDF.

    Args:
        source: a path, or the bytes of a file.
        name: used in error messages.

    Raises:
        UserError: the file is encrypted, damaged, or without pages.
    """

    def __init__(self, source: str | bytes, name: str) -> None:
        self.name = name
        with PDFIUM:
            try:
                self._document = pypdfium2.PdfDocument(source)
            except pypdfium2.PdfiumError as error:
                reason = _REASONS.get(error.err_code or 0, f"{error}; copy or download it again")
                raise UserError(f"{name}: {reason}") from error
            except OSError as error:
                raise UserError(f"{name}: {error.strerror or error}; check the path") from error
            if self._document.get_formtype() != raw.FORMTYPE_NONE:
                self._document.init_forms()  # so that the contents of form fields are drawn

    def __len__(self) -> int:
        return len(self._document)

    def __enter__(self) -> Pdf:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; its pages cannot be read after that."""
        with PDFIUM:
            self._document.close()

    def draw(self, number: int, dpi: int, most_pixels: int | None = None) -> Image.Image:
        """Draw a page as an RGB picture, as a viewer shows it.

        Args:
            number: of the page, from 1.
            dpi: pixels per inch; also stored in ``info["dpi"]`` of the picture.
            most_pixels: None = the limit of Pillow's guard against decompression bombs
                (``PIL.Image.MAX_IMAGE_PIXELS``).

        Raises:
            UserError: the page is damaged, or has more than ``most_pixels``.
        """
        with self._open_page(number) as page:
            width, height = self._pixel_size(page, number, dpi)
            limit = Image.MAX_IMAGE_PIXELS if most_pixels is None else most_pixels
            if limit is not None and width * height > limit:
                raise TooLarge(f"{self.name}: page {number} has {width}x{height} pixels at {dpi} dpi; lower --dpi")
            bitmap = page.render(scale=_scale(dpi))
            picture: Image.Image = bitmap.to_pil().convert("RGB").copy()
            bitmap.close()
        picture.info = {"dpi": (dpi, dpi)}
        return picture

    def read(self, number: int, dpi: int) -> Page | None:
        """The text layer of a page, in pixels of the picture that ``draw`` makes of it; None if there is no text.

        Args:
            number: of the page, from 1.
            dpi: pixels per inch.

        Raises:
            UserError: the page is damaged.
        """
        with self._open_page(number) as page:
            width, height = self._pixel_size(page, number, dpi)
            lines = read_text_layer(page, width, height)
        return Page(self.name, number, width, height, lines) if lines else None

    @contextmanager
    def _open_page(self, number: int) -> Iterator[pypdfium2.PdfPage]:
        with PDFIUM:
            try:
                page = self._document[number - 1]
            except pypdfium2.PdfiumError as error:
                raise UserError(f"{self.name}: page {number} is damaged; save the file anew") from error
            try:
                yield page
            finally:
                page.close()

    def _pixel_size(self, page: pypdfium2.PdfPage, number: int, dpi: int) -> tuple[int, int]:
        """The width and the height of the picture of a page, rounded like ``pypdfium2.PdfPage.render`` does."""
        sides = page.get_size()
        if not all(0 < side < math.inf for side in sides):
            raise UserError(
                f"{self.name}: page {number} is {sides[0]:g} points wide and {sides[1]:g} high; save the file anew"
            )
        width, height = (math.ceil(side * _scale(dpi)) for side in sides)
        return width, height


def _scale(dpi: int) -> float:
    """Pixels per point, minus a margin for the error of pdfium's single precision, which could add a pixel."""
    return dpi / POINTS * (1 - 1e-6)
