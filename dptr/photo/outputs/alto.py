"""ALTO 4.4 (loc.gov/standards/alto)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from dptr.photo.outputs.base import XML_HEAD, Shown, attributes, encode, escape, probability
from dptr.photo.page import Line, Outline, Page, Word
from dptr.photo.shapes import blocks, bounds, corners, lines_box, runs_left
from dptr.version import __version__

VERSION = "4.4"
NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"


def write_alto(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write all pages in one document, in pixels; ``fileName`` is the source of the first page.

    A word has its outline as a ``Shape``. It also has ``Glyph`` elements if each of its characters is a single code
    point.
    """
    has_head = False
    for index, (page, _) in enumerate(pages, 1):
        if not has_head:
            file.write(encode(_head(page.source)))
            has_head = True
        file.write(encode(_page(page, f"page_{index}")))
        file.flush()
    if has_head:
        file.write(encode("</Layout>\n</alto>\n"))


def _head(source: str) -> str:
    schema = f"{NAMESPACE} https://www.loc.gov/standards/alto/v4/alto-{VERSION.replace('.', '-')}.xsd"
    return (
        f'{XML_HEAD}<alto xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{schema}" SCHEMAVERSION="{VERSION}">\n'
        "<Description>\n<MeasurementUnit>pixel</MeasurementUnit>\n"
        f"<sourceImageInformation><fileName>{escape(source)}</fileName></sourceImageInformation>\n"
        '<Processing ID="ocr"><processingCategory>contentGeneration</processingCategory><processingSoftware>'
        f"<softwareName>dptr</softwareName><softwareVersion>{__version__}</softwareVersion>"
        "</processingSoftware></Processing>\n"
        "</Description>\n<Layout>\n"
    )


def _page(page: Page, name: str) -> str:
    size = attributes(ID=name, PHYSICAL_IMG_NR=page.number, WIDTH=page.width, HEIGHT=page.height)
    space = attributes(HPOS=0, VPOS=0, WIDTH=page.width, HEIGHT=page.height)
    parts = [f"<Page{size}>\n<PrintSpace{space}>\n"]
    for number, lines in enumerate(blocks(page), 1):
        block = f"{name}_block_{number}"
        place = _place(lines_box(lines, page.width, page.height))
        parts.append(f"<TextBlock{attributes(ID=block)}{place}>\n")
        parts += [_line(line, f"{block}_line_{index}", page) for index, line in enumerate(lines, 1)]
        parts.append("</TextBlock>\n")
    return "".join([*parts, "</PrintSpace>\n</Page>\n"])


def _line(line: Line, name: str, page: Page) -> str:
    direction = "rtl" if runs_left(line.text) else None
    place = _place(lines_box([line], page.width, page.height))
    words = "<SP/>\n".join(_word(word, f"{name}_word_{index}", page) for index, word in enumerate(line.words, 1))
    shape = _shape(line.polygon, page)
    return f"<TextLine{attributes(ID=name)}{place}{attributes(BASEDIRECTION=direction)}>{shape}\n{words}</TextLine>\n"


def _word(word: Word, name: str, page: Page) -> str:
    glyphs = ""
    if all(len(each.text) == 1 for each in word.characters):
        glyphs = "".join(
            f"<Glyph{attributes(CONTENT=each.text, GC=probability(each.confidence))}"
            f"{_place(bounds([each.box], page.width, page.height))}/>"
            for each in word.characters
        )
    place = _place(bounds([word.polygon], page.width, page.height))
    content = attributes(ID=name, CONTENT=word.text, WC=probability(word.confidence))
    return f"<String{content}{place}>{_shape(word.polygon, page)}{glyphs}</String>"


def _shape(outline: Outline, page: Page) -> str:
    points = " ".join(f"{x},{y}" for x, y in corners(outline, page.width, page.height))
    return f"<Shape><Polygon{attributes(POINTS=points)}/></Shape>"


def _place(rectangle: tuple[int, int, int, int]) -> str:
    left, top, right, bottom = rectangle
    return attributes(HPOS=left, VPOS=top, WIDTH=right - left, HEIGHT=bottom - top)
