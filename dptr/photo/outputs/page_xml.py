"""PAGE XML, page content version 2019-07-15 (primaresearch.org)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO

from dptr.photo.outputs.base import XML_HEAD, Shown, attributes, encode, escape, probability
from dptr.photo.page import Character, Line, Outline, Page, Word, round_angle
from dptr.photo.shapes import blocks, corners, lines_box, runs_left
from dptr.utils.errors import UserError
from dptr.version import __version__

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"


def write_page_xml(pages: Iterable[Shown], file: IO[bytes]) -> None:
    """Write one page: regions in reading order, lines, words, and glyphs, with their outlines.

    Points are whole pixels within the picture, as the schema requires.

    Raises:
        UserError: there is more than one page.
    """
    for index, (page, _) in enumerate(pages):
        if index:
            raise UserError(
                f"{page.source}: a second page; PAGE XML holds one a file: pass a folder to write to, -o DIR/"
            )
        file.write(encode(_document(page)))


def _document(page: Page) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    parts = [
        f'{XML_HEAD}<PcGts xmlns="{NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{NAMESPACE} {NAMESPACE}/pagecontent.xsd">\n'
        f"<Metadata><Creator>dptr {__version__}</Creator><Created>{now}</Created>"
        f"<LastChange>{now}</LastChange></Metadata>\n"
        f"<Page{attributes(imageFilename=page.source, imageWidth=page.width, imageHeight=page.height)}>\n"
    ]
    regions = blocks(page)
    if regions:
        references = "".join(
            f"<RegionRefIndexed{attributes(index=index, regionRef=f'r{index + 1}')}/>" for index in range(len(regions))
        )
        parts.append(f'<ReadingOrder><OrderedGroup id="order">{references}</OrderedGroup></ReadingOrder>\n')
    parts += [_region(lines, f"r{number}", page) for number, lines in enumerate(regions, 1)]
    return "".join([*parts, "</Page>\n</PcGts>\n"])


def _region(lines: Sequence[Line], name: str, page: Page) -> str:
    left, top, right, bottom = lines_box(lines, page.width, page.height)
    around = ((left, top), (right, top), (right, bottom), (left, bottom))
    text = "\n".join(line.text for line in lines)
    # Orientation: degrees to turn the region clockwise until it is upright.
    angle = round_angle(lines[0].angle, 3)
    orientation = f"{180 - (180 + angle) % 360:.3f}" if angle else None
    head = attributes(id=name, orientation=orientation, readingDirection=_direction(text))
    inside = "".join(_line(line, f"{name}_l{number}", page) for number, line in enumerate(lines, 1))
    return f"<TextRegion{head}>{_corners(around, page)}\n{inside}{_text(text)}</TextRegion>\n"


def _line(line: Line, name: str, page: Page) -> str:
    words = "\n".join(_word(word, f"{name}_w{number}", page) for number, word in enumerate(line.words, 1))
    head = attributes(id=name, readingDirection=_direction(line.text))
    return f"<TextLine{head}>{_corners(line.polygon, page)}\n{words}\n{_text(line.text)}</TextLine>\n"


def _word(word: Word, name: str, page: Page) -> str:
    glyphs = "".join(_glyph(each, f"{name}_g{number}", page) for number, each in enumerate(word.characters, 1))
    head = attributes(id=name, readingDirection=_direction(word.text))
    return f"<Word{head}>{_corners(word.polygon, page)}{glyphs}{_text(word.text, word.confidence)}</Word>"


def _glyph(character: Character, name: str, page: Page) -> str:
    text = _text(character.text, character.confidence)
    return f"<Glyph{attributes(id=name)}>{_corners(character.box, page)}{text}</Glyph>"


def _text(text: str, confidence: float | None = None) -> str:
    conf = None if confidence is None else probability(confidence)
    return f"<TextEquiv{attributes(conf=conf)}><Unicode>{escape(text)}</Unicode></TextEquiv>"


def _corners(outline: Outline, page: Page) -> str:
    points = " ".join(f"{x},{y}" for x, y in corners(outline, page.width, page.height))
    return f"<Coords{attributes(points=points)}/>"


def _direction(text: str) -> str | None:
    return "right-to-left" if runs_left(text) else None
