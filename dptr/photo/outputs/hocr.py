"""hOCR 1.2 (kba.github.io/hocr-spec/1.2), as HTML that is also well-formed XML."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from dptr.photo.outputs.base import XML_HEAD, Shown, attributes, encode, escape
from dptr.photo.page import Box, Line, Outline, Page, Word, round_angle
from dptr.photo.shapes import blocks, bounds, corners, lines_box, runs_left
from dptr.version import __version__

_HEAD = f"""{XML_HEAD}<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>dptr</title>
<meta charset="utf-8" />
<meta name="ocr-system" content="dptr {__version__}" />
<meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrx_cinfo ocrp_dir ocrp_poly" />
</head>
<body>
"""


def write_hocr(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write all pages in one document: an ``ocr_page`` for each, with areas, lines, words, and characters.

    Boxes are upright rectangles in whole pixels. Curved text also has its outline, as ``poly``. The angle of a line is
    in ``textangle``, counterclockwise, as hOCR defines it.
    """
    file.write(encode(_HEAD))
    for index, (page, _) in enumerate(pages, 1):
        file.write(encode(_page(page, f"page_{index}")))
        file.flush()
    file.write(encode("</body>\n</html>\n"))


def _page(page: Page, name: str) -> str:
    source = page.source.replace("\\", "\\\\").replace('"', '\\"')
    title = f'image "{source}"; bbox 0 0 {page.width} {page.height}; ppageno {page.number - 1}'
    parts = [f"<div{attributes(class_='ocr_page', id=name, title=title)}>\n"]
    for number, lines in enumerate(blocks(page), 1):
        area = f"{name}_block_{number}"
        box = _box(lines_box(lines, page.width, page.height))
        parts.append(f"<div{attributes(class_='ocr_carea', id=area, title=box)}>\n")
        parts.append(f"<p{attributes(class_='ocr_par', id=f'{area}_par', title=box)}>\n")
        parts += [_line(line, f"{area}_line_{place}", page) for place, line in enumerate(lines, 1)]
        parts.append("</p>\n</div>\n")
    return "".join([*parts, "</div>\n"])


def _line(line: Line, name: str, page: Page) -> str:
    title = _box(lines_box([line], page.width, page.height)) + _poly(line.outline, page)
    if angle := -round_angle(line.angle) % 360:
        title += f"; textangle {angle:.2f}"
    direction = "rtl" if runs_left(line.text) else None
    words = " ".join(_word(word, f"{name}_word_{place}", page) for place, word in enumerate(line.words, 1))
    return f"<span{attributes(class_='ocr_line', id=name, title=title, dir=direction)}>{words}</span>\n"


def _word(word: Word, name: str, page: Page) -> str:
    place = _box(bounds([word.polygon], page.width, page.height)) + _poly(word.outline, page)
    title = f"{place}; x_wconf {100 * word.confidence:.0f}"
    if not word.characters:
        text = escape(word.text)
    else:
        text = "".join(
            f"<span{attributes(class_='ocrx_cinfo', title=_character(each.box, each.confidence, page))}>"
            f"{escape(each.text)}</span>"
            for each in word.characters
        )
    return f"<span{attributes(class_='ocrx_word', id=name, title=title)}>{text}</span>"


def _poly(outline: Outline, page: Page) -> str:
    """The outline of curved text, as an hOCR property."""
    points = " ".join(f"{x} {y}" for x, y in corners(outline, page.width, page.height))
    return f"; poly {points}" if points else ""


def _character(box: Box, confidence: float, page: Page) -> str:
    left, top, right, bottom = bounds([box], page.width, page.height)
    return f"x_bboxes {left} {top} {right} {bottom}; x_confs {100 * confidence:.0f}"


def _box(rectangle: tuple[int, int, int, int]) -> str:
    return "bbox {} {} {} {}".format(*rectangle)
