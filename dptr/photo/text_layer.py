"""The text layer of a PDF page, as lines of words with their positions.

pdfium returns characters in reading order, and the ends of lines. White space divides lines into words.
"""

from __future__ import annotations

import ctypes
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dptr.photo.page import Box, Character, Line, Point, Word, round_angle
from dptr.photo.shapes import runs_left
from dptr.text.unicode import JOINERS

if TYPE_CHECKING:
    import pypdfium2

_BLOCK_GAP = 1.0  # line heights; a larger gap between two lines starts a new block
_SAME_ANGLE = 1.0  # degrees; largest difference between the angles of characters of a line
_LINE_HEIGHT = 1.15  # approximate ascent plus descent of a font, relative to its size
_UPRIGHT = 0.02  # text is level or vertical if the sine or the cosine of its angle is smaller
_HYPHEN = 2  # pdfium's code for a hyphen at the end of a line that divides a word
_SUB_PIXELS = 64  # scale of the picture passed to pdfium, which maps points to whole pixels


@dataclass(frozen=True)
class _Glyph:
    """A character: its text, the corners of its box on the picture, and the angle of its text in degrees."""

    text: str
    corners: tuple[Point, ...]
    angle: float


def read_text_layer(page: pypdfium2.PdfPage, width: int, height: int) -> tuple[Line, ...]:
    """The lines of a page's text layer; every word has confidence 1. A page without text has no lines.

    Args:
        page: an open page; the caller ensures that no other thread uses pdfium.
        width, height: of the picture of the page, in pixels, in which boxes are given.
    """
    lines: list[Line] = []
    for glyph_words in _split_lines(_read_glyphs(page, width, height)):
        words = tuple(_make_word(glyphs) for glyphs in glyph_words)
        glyphs = [glyph for each in glyph_words for glyph in each]
        box = _enclose(glyphs, runs_left("".join(glyph.text for glyph in glyphs)))
        angle = glyphs[0].angle
        block = lines[-1].block if lines else 0
        if lines and (abs(angle - lines[-1].angle) > _SAME_ANGLE or not _follows(lines[-1].box, box, angle)):
            block += 1
        lines.append(Line(words, box, angle, block))
    return tuple(lines)


def _read_glyphs(page: pypdfium2.PdfPage, width: int, height: int) -> Iterator[_Glyph | None]:
    """The characters that a page shows, without those outside its crop.

    White space is a glyph with white space as its text. None marks the end of a line.
    """
    from pypdfium2 import raw

    text = page.get_textpage()
    try:
        to_picture = _page_to_picture(page, width, height)
        origin = to_picture(0, 0)
        rectangle, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
        pending = ""  # the first half of a character of two UTF-16 units
        for index in range(raw.FPDFText_CountChars(text)):
            code = raw.FPDFText_GetUnicode(text, index)
            if 0xD800 <= code < 0xDC00:
                pending = chr(code)
                continue
            character = "-" if code == _HYPHEN else pending + chr(code)
            character = character.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            pending = ""
            if character in "\r\n":
                yield None
                continue
            raw.FPDFText_GetLooseCharBox(text, index, rectangle)
            raw.FPDFText_GetMatrix(text, index, matrix)
            mirror = -1 if matrix.a * matrix.d < matrix.b * matrix.c else 1  # right-to-left text may be mirrored
            end = to_picture(mirror * matrix.a, mirror * matrix.b)
            angle = math.degrees(math.atan2(end[1] - origin[1], end[0] - origin[0]))
            glyph_height = _LINE_HEIGHT * raw.FPDFText_GetFontSize(text, index) * math.hypot(matrix.c, matrix.d)
            corners = tuple(to_picture(x, y) for x, y in _find_corners(rectangle, matrix, glyph_height))
            x, y = (sum(side) / len(corners) for side in zip(*corners, strict=True))
            if (0 <= x < width and 0 <= y < height) or character.isspace():  # spaces may have no position
                yield _Glyph(character, corners, round_angle(angle))
            if code == _HYPHEN:
                yield None
    finally:
        text.close()


def _find_corners(rectangle: Any, matrix: Any, height: float) -> list[Point]:
    """The corners of a character: those of its upright rectangle, or of a rotated one inside it if the text is slanted.

    Args:
        rectangle: left, bottom, right, top; pdfium returns an upright rectangle whatever the angle of the text.
        matrix: of the text.
        height: the approximate height of the character, which pdfium does not return for slanted text.
    """
    x1, y1, x2, y2 = rectangle.left, rectangle.bottom, rectangle.right, rectangle.top
    length = math.hypot(matrix.a, matrix.b)
    cos, sin = matrix.a / length, matrix.b / length
    if min(abs(cos), abs(sin)) < _UPRIGHT:
        return [(x1, y1), (x1, y2), (x2, y2), (x2, y1)]
    if abs(cos) > abs(sin):
        width = (x2 - x1 - height * abs(sin)) / abs(cos)
    else:
        width = (y2 - y1 - height * abs(cos)) / abs(sin)
    u, v = max(width, 0.0) / 2, height / 2
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    return [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in ((-u, -v), (-u, v), (u, v), (u, -v))]


def _page_to_picture(page: pypdfium2.PdfPage, width: int, height: int) -> Callable[[float, float], Point]:
    """A function that maps a point of the PDF page to its picture, for any rotation and crop of the page."""
    from pypdfium2 import raw

    def map_point(x: float, y: float) -> Point:
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, width * _SUB_PIXELS, height * _SUB_PIXELS, 0, x, y, across, down)
        return across.value / _SUB_PIXELS, down.value / _SUB_PIXELS

    reach = 1000.0  # points; far enough that rounding does not matter
    (ox, oy), (ax, ay), (bx, by) = map_point(0, 0), map_point(reach, 0), map_point(0, reach)
    a, b, c, d = (ax - ox) / reach, (ay - oy) / reach, (bx - ox) / reach, (by - oy) / reach
    return lambda x, y: (ox + a * x + c * y, oy + b * x + d * y)


def _split_lines(glyphs: Iterator[_Glyph | None]) -> Iterator[list[list[_Glyph]]]:
    """Split characters into lines of words; a line also ends where the angle of the text changes.

    Joiners are part of the spelling, and stay in their word. Other format characters, such as soft hyphens, are
    dropped, and do not divide words. White space, control characters, and private-use characters divide words.
    """
    line: list[list[_Glyph]] = []
    in_word = False
    for glyph in glyphs:
        if glyph is not None and unicodedata.category(glyph.text[0]) == "Cf":
            if in_word and glyph.text in JOINERS:
                line[-1].append(glyph)
            continue
        if glyph is not None and (glyph.text.isspace() or not glyph.text.isprintable()):
            in_word = False
            continue
        changes_angle = glyph is not None and bool(line) and abs(glyph.angle - line[0][0].angle) > _SAME_ANGLE
        if glyph is None or changes_angle:
            if line:
                yield line
            line, in_word = [], False
        if glyph is not None:
            if not in_word:
                line.append([])
            line[-1].append(glyph)
            in_word = True
    if line:
        yield line


def _make_word(glyphs: Sequence[_Glyph]) -> Word:
    text = "".join(glyph.text for glyph in glyphs)
    leftward = runs_left(text)
    characters = tuple(Character(glyph.text, 1.0, _enclose([glyph], leftward)) for glyph in glyphs)
    return Word(text, 1.0, _enclose(glyphs, leftward), characters)


def _enclose(glyphs: Sequence[_Glyph], leftward: bool) -> Box:
    """The smallest box around all characters, along the direction of the text."""
    angle = math.radians(glyphs[0].angle)
    cos, sin = math.cos(angle), math.sin(angle)
    along = [x * cos + y * sin for glyph in glyphs for x, y in glyph.corners]
    across = [y * cos - x * sin for glyph in glyphs for x, y in glyph.corners]
    begin, end = (max(along), min(along)) if leftward else (min(along), max(along))
    top, bottom = min(across), max(across)
    corners = [(begin, top), (end, top), (end, bottom), (begin, bottom)]
    box = tuple((u * cos - v * sin, u * sin + v * cos) for u, v in corners)
    return box  # type: ignore[return-value]


def _follows(before: Box, box: Box, angle: float) -> bool:
    """Whether a line stands directly below another one, or beside it."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    tops, bottoms = zip(*((each[0][1] * cos - each[0][0] * sin, each[3][1] * cos - each[3][0] * sin)
                          for each in (before, box)), strict=True)  # fmt: skip
    height = max(bottoms[0] - tops[0], bottoms[1] - tops[1])
    return -_BLOCK_GAP * height <= tops[1] - bottoms[0] <= _BLOCK_GAP * height
