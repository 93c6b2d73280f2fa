"""Every format holds all that was read, as its own schema, or an independent reader of it, says."""

from __future__ import annotations

import copy
import csv
import errno
import io
import json
import math
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from helpers_photo import box, page, ring_outline, word
from hocr_spec.validate import HocrValidator
from lxml import etree
from PIL import Image
from pypdfium2 import raw

from dptr.photo.outputs import FORMATS, choose_formats, write_pages
from dptr.photo.page import Line, Page, Word
from dptr.photo.pdf import Pdf
from dptr.photo.plan import Plan
from dptr.utils.errors import UserError
from dptr.utils.outputs import is_marked

SCHEMAS = Path(__file__).parent.parent / "schemas"
ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"
PAGE = "{http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15}"
HTML = "{http://www.w3.org/1999/xhtml}"

LATIN = page("Hello, <World> & 'all'", 'a "second" line', "", "another\u0007 block", source='a "b" & \\c.png')
SCRIPTS = page("שלום עולם", "مرحبا بكم 123", "漢字 か 한국어", "नमस्ते 😀x é", source="scripts.png", number=3)
UPWARD = (50, 300), (50, 260), (70, 260), (70, 300)
TURNED = Page(
    "turned.png", 1, 300, 500,
    (
        Line((word("up", UPWARD),), UPWARD, -90.0),
        Line((word("over", box(280, 480, 330, 520), spelled=False),), box(-5.4, 480, 330, 520), 180.0, 1),
    ),
)  # fmt: skip
ARC = tuple((float(x), float(y)) for x, y in ring_outline((150, 160), 90, 30, 120, True, 7))
AROUND = box(59.06, 55, 240.93, 122.5)  # the rectangle around it
CURVED = Page(
    "curved.png", 1, 300, 200,
    (Line((replace(word("arched", AROUND, spelled=False), outline=ARC), word("on", box(260, 110, 290, 140))),
          box(59.06, 55, 290, 140), outline=(*ARC[:7], (260, 110), (290, 110), (290, 140), (260, 140), *ARC[7:])),),
)  # fmt: skip
EMPTY = Page("empty.png", 1, 40, 30)
ALL = [LATIN, SCRIPTS, TURNED, CURVED, EMPTY]


def _picture(page: Page, dpi: float | None = None) -> Image.Image:
    picture = Image.new("RGB", (page.width, page.height), "white")
    if dpi:
        picture.info["dpi"] = (dpi, dpi)
    return picture


def _write(style: str, *pages: Page, dpi: float | None = None) -> bytes:
    file = io.BytesIO()
    FORMATS[style].write(((each, _picture(each, dpi)) for each in pages), file)
    return file.getvalue()


def test_text_is_the_pages_with_a_form_feed_between() -> None:
    assert _write("text", page("a b", "", "c"), page("d")).decode() == "a b\n\nc\n\fd\n"
    assert _write("text", EMPTY) == b"" and _write("text", EMPTY, page("d")) == b"\fd\n"


def test_tsv_has_a_line_for_each_word() -> None:
    lines = _write("tsv", *ALL).decode().splitlines()
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    words = [(each, index, place, word) for each in ALL for index, line in enumerate(each.lines, 1)
             for place, word in enumerate(line.words, 1)]  # fmt: skip
    assert len(rows) == len(words)
    for row, (each, index, place, one) in zip(rows, words, strict=True):
        assert row["image"] == each.source.replace("\\", "\\\\") and int(row["page"]) == each.number
        assert (int(row["line"]), int(row["word"])) == (index, place)
        assert int(row["block"]) == each.lines[index - 1].block + 1
        assert row["text"] == one.text.replace("\x07", "\\x07")
        assert float(row["confidence"]) == pytest.approx(one.confidence, abs=1e-4)
        corners = [float(row[f"{axis}{corner}"]) for corner in range(1, 5) for axis in "xy"]
        assert np.allclose(corners, np.ravel(one.box), atol=0.005)
        points = [tuple(map(float, point.split(","))) for point in row["outline"].split()]
        assert np.allclose(points, one.outline, atol=0.005)
    assert [row["outline"] != "" for row in rows if row["image"] == CURVED.source] == [True, False]


def test_csv_has_the_same_rows_and_names_as_they_are() -> None:
    odd = page('say "hi", all', source="a,b\nc.png")
    read = list(csv.reader(io.StringIO(_write("csv", *ALL, odd).decode(), newline="")))
    lines = _write("tsv", *ALL, odd).decode().splitlines()
    table = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert read[0] == table[0] and len(read) == len(table)
    for row, other in zip(read[1:], table[1:], strict=True):
        assert row[1:-2] == other[1:-2] and row[-1] == other[-1]
        assert row[-2].replace("\a", "\\x07") == other[-2]
    assert [row[0] for row in read[-3:]] == [odd.source] * 3 and read[-3][-2] == "say"
    assert read[-2][-2] == '"hi",'
    assert _write("csv", EMPTY).decode().count("\n") == 1, "names of columns alone"


def test_json_has_a_line_for_each_page() -> None:
    rows = [json.loads(line) for line in _write("json", *ALL).decode().splitlines()]
    assert all(next(iter(row)) == "dptr" and row["schema"] == 1 for row in rows)
    for row, each in zip(rows, ALL, strict=True):
        assert {key: row[key] for key in row if key != "dptr"} == json.loads(json.dumps(each.to_dict()))
    (line,) = rows[ALL.index(CURVED)]["lines"]
    assert np.allclose(line["outline"], CURVED.lines[0].outline, atol=0.005)
    assert np.allclose(line["words"][0]["outline"], ARC, atol=0.005) and "outline" not in line["words"][1]


def _bounds(words: list[Word], each: Page) -> list[tuple[int, int, int, int]]:
    """The upright rectangles around words, in whole pixels of the picture."""
    found = []
    for one in words:
        (left, top), (right, bottom) = np.min(one.polygon, axis=0), np.max(one.polygon, axis=0)
        limits = np.array([each.width, each.height] * 2)
        found.append(
            tuple(np.clip([math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)], 0, limits))
        )
    return found


def test_hocr_is_valid_and_complete(tmp_path: Path) -> None:
    (tmp_path / "all.hocr").write_bytes(_write("hocr", *ALL))
    report = HocrValidator("standard").validate(str(tmp_path / "all.hocr"))
    assert report.is_valid(), report.format("text")
    root = etree.parse(str(tmp_path / "all.hocr")).getroot()  # well-formed XML too
    pages = root.findall(f".//{HTML}div[@class='ocr_page']")
    assert len(pages) == len(ALL)
    identifiers = root.xpath("//@id")
    assert len(set(identifiers)) == len(identifiers)
    for element, each in zip(pages, ALL, strict=True):
        assert f"bbox 0 0 {each.width} {each.height}" in element.get("title")
        assert f"ppageno {each.number - 1}" in element.get("title")
        lines = element.findall(f".//{HTML}span[@class='ocr_line']")
        assert ["".join(line.itertext()) for line in lines] == [
            line.text.replace("\a", "\ufffd") for line in each.lines
        ]
        words = element.findall(f".//{HTML}span[@class='ocrx_word']")
        titles = [
            re.match(r"bbox (\d+) (\d+) (\d+) (\d+)(?:; poly [\d ]+)?; x_wconf (\d+)$", one.get("title"))
            for one in words
        ]
        assert [tuple(map(int, title.groups()[:4])) for title in titles if title] == _bounds(each.words, each)  # type: ignore[arg-type]
        assert [int(title[5]) for title in titles if title] == [round(100 * one.confidence) for one in each.words]
        for one, ours in zip(words, each.words, strict=True):
            assert len(one.findall(f"{HTML}span[@class='ocrx_cinfo']")) == len(ours.characters)
    assert 'image "a \\"b\\" & \\\\c.png"' in pages[0].get("title")
    assert [line.get("dir") for line in pages[1].iter(f"{HTML}span") if line.get("class") == "ocr_line"] == [
        "rtl",
        "rtl",
        None,
        None,
    ]
    (arched,) = (one.get("title") for one in pages[3].iter(f"{HTML}span") if "".join(one.itertext()) == "arched")
    points = np.array(arched.split("poly ")[1].split(";")[0].split(), float).reshape(-1, 2)
    assert np.allclose(points, ARC, atol=0.5)
    turned = [line.get("title") for line in pages[2].iter(f"{HTML}span") if line.get("class") == "ocr_line"]
    assert turned[0].endswith("; textangle 90.00") and turned[1].endswith("; textangle 180.00")  # against the clock


ALTO_CHILDREN = {  # of each element, in order: the part of the schema of ALTO 4.4 that is used, written down from it
    "alto": ["Description", "Layout"],
    "Description": ["MeasurementUnit", "sourceImageInformation", "Processing"],
    "sourceImageInformation": ["fileName"],
    "Processing": ["processingCategory", "processingSoftware"],
    "processingSoftware": ["softwareName", "softwareVersion"],
    "Layout": ["Page"],
    "Page": ["PrintSpace"],
    "PrintSpace": ["TextBlock"],
    "TextBlock": ["TextLine"],
    "TextLine": ["Shape", "String", "SP"],
    "String": ["Shape", "Glyph"],
    "Shape": ["Polygon"],
}
ALTO_REQUIRED = {"Page": {"ID", "PHYSICAL_IMG_NR"}, "TextBlock": {"ID"}, "Processing": {"ID"},
                 "String": {"CONTENT"}, "Glyph": {"CONTENT"}, "Polygon": {"POINTS"}}  # fmt: skip
_AREA = {"HPOS", "VPOS", "WIDTH", "HEIGHT"}
ALTO_OPTIONAL = {
    "alto": {"SCHEMAVERSION", "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"},
    "Page": {"WIDTH", "HEIGHT"}, "PrintSpace": _AREA, "TextBlock": _AREA, "TextLine": {"ID", "BASEDIRECTION", *_AREA},
    "String": {"ID", "WC", *_AREA}, "Glyph": {"GC", *_AREA},
}  # fmt: skip


def _check_alto(element: etree._Element) -> None:
    name = element.tag.removeprefix(ALTO)
    children = [child.tag.removeprefix(ALTO) for child in element]
    assert set(children) <= set(ALTO_CHILDREN.get(name, [])), name
    order = [ALTO_CHILDREN[name].index(child) for child in children if child != "SP"]
    assert order == sorted(order), name
    keys = set(element.attrib)
    required = ALTO_REQUIRED.get(name, set())
    assert required <= keys <= required | ALTO_OPTIONAL.get(name, set()), name
    for child in element:
        _check_alto(child)


def test_alto_is_valid_and_complete() -> None:
    root = etree.fromstring(_write("alto", *ALL))
    if schema := os.environ.get("DPTR_ALTO_XSD"):  # of version 4.4, which no package holds
        etree.XMLSchema(etree.parse(schema)).assertValid(root)
    earlier = copy.deepcopy(root)
    for line in earlier.iter(f"{ALTO}TextLine"):
        line.attrib.pop("BASEDIRECTION", None)  # the only thing that version 4.2 does not have
    etree.XMLSchema(etree.parse(SCHEMAS / "alto-4-2.xsd")).assertValid(earlier)
    assert root.tag == f"{ALTO}alto"
    _check_alto(root)
    identifiers = root.xpath("//@ID")
    assert len(set(identifiers)) == len(identifiers)
    assert root.findtext(f".//{ALTO}fileName") == LATIN.source
    for element, each in zip(root.iter(f"{ALTO}Page"), ALL, strict=True):
        assert (element.get("WIDTH"), element.get("HEIGHT")) == (str(each.width), str(each.height))
        assert element.get("PHYSICAL_IMG_NR") == str(each.number)
        blocks = element.findall(f".//{ALTO}TextBlock")
        assert len(blocks) == len({line.block for line in each.lines})
        for line, ours in zip(element.iter(f"{ALTO}TextLine"), each.lines, strict=True):
            names = [child.tag.removeprefix(ALTO) for child in line]
            assert names == ["Shape", *["String", "SP"] * (len(ours.words) - 1), "String"]
        strings = list(element.iter(f"{ALTO}String"))
        assert [one.get("CONTENT") for one in strings] == [one.text.replace("\a", "\ufffd") for one in each.words]
        assert [float(one.get("WC")) for one in strings] == pytest.approx([one.confidence for one in each.words])
        areas = [tuple(float(one.get(key)) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")) for one in strings]
        assert [(x, y, x + w, y + h) for x, y, w, h in areas] == _bounds(each.words, each)  # type: ignore[arg-type]
        assert all(len(glyph.get("CONTENT")) == 1 for glyph in element.iter(f"{ALTO}Glyph"))
        for one, ours in zip(strings, each.words, strict=True):
            points = [point.split(",") for point in one.find(f"{ALTO}Shape/{ALTO}Polygon").get("POINTS").split()]
            assert np.allclose(np.array(points, float), np.clip(ours.polygon, 0, (each.width, each.height)), atol=0.5)


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.source)
def test_page_xml_is_valid_and_complete(each: Page) -> None:
    root = etree.fromstring(_write("page", each))
    etree.XMLSchema(etree.parse(SCHEMAS / "page-2019-07-15.xsd")).assertValid(root)
    (element,) = root.iter(f"{PAGE}Page")
    assert element.get("imageFilename") == each.source
    assert (element.get("imageWidth"), element.get("imageHeight")) == (str(each.width), str(each.height))
    order = [reference.get("regionRef") for reference in root.iter(f"{PAGE}RegionRefIndexed")]
    assert order == [region.get("id") for region in root.iter(f"{PAGE}TextRegion")]
    lines = list(root.iter(f"{PAGE}TextLine"))
    texts = [line.findtext(f"{PAGE}TextEquiv/{PAGE}Unicode") for line in lines]
    assert texts == [line.text.replace("\a", "\ufffd") for line in each.lines]
    words = list(root.iter(f"{PAGE}Word"))
    assert [one.findtext(f"{PAGE}TextEquiv/{PAGE}Unicode") for one in words] == [
        one.text.replace("\a", "\ufffd") for one in each.words
    ]
    for one, ours in zip(words, each.words, strict=True):
        points = [tuple(map(int, point.split(","))) for point in one.find(f"{PAGE}Coords").get("points").split()]
        assert np.allclose(points, np.clip(ours.polygon, 0, (each.width, each.height)), atol=0.5)
        assert len(one.findall(f"{PAGE}Glyph")) == len(ours.characters)
        assert float(one.find(f"{PAGE}TextEquiv").get("conf")) == pytest.approx(ours.confidence)
    if each is TURNED:  # clockwise until it stands upright, -179.999 to 180
        assert [float(region.get("orientation")) for region in root.iter(f"{PAGE}TextRegion")] == [90.0, 180.0]


@pytest.mark.parametrize(
    ("angle", "textangle", "orientation", "told"),
    [(1e-9, None, None, 0.0), (-1e-9, None, None, 0.0), (0.0001, None, None, 0.0), (-0.004, None, "0.004", 0.0),
     (-179.99999, "180.00", "180.000", 180.0), (179.99999, "180.00", "180.000", 180.0),
     (-89.999, "90.00", "89.999", -90.0)],
)  # fmt: skip
def test_angles_are_within_their_range_whatever_floats_leave(
    angle: float, textangle: str | None, orientation: str | None, told: float
) -> None:
    """Level lines had ``textangle 360.00``, and some upside down the orientation -180.000, which the schema forbids."""
    level = page("one")
    turned = replace(level, lines=(replace(level.lines[0], angle=angle),))
    found = re.search(r"textangle ([\d.]+)", _write("hocr", turned).decode())
    assert (found and found[1]) == textangle
    root = etree.fromstring(_write("page", turned))
    etree.XMLSchema(etree.parse(SCHEMAS / "page-2019-07-15.xsd")).assertValid(root)
    (region,) = root.iter(f"{PAGE}TextRegion")
    assert region.get("orientation") == orientation
    assert str(turned.to_dict()["lines"][0]["angle"]) == str(float(told))


def test_page_xml_holds_one_page() -> None:
    with pytest.raises(UserError, match="PAGE XML holds one a file"):
        _write("page", LATIN, SCRIPTS)


def _extract(data: bytes, number: int = 1) -> tuple[str, list[tuple[str, tuple[float, float, float, float]]]]:
    """The text of a page as pdfium extracts it, and its characters with their boxes: left, top, right, bottom of the
    page, in points."""
    with pypdfium2.PdfDocument(data) as document:
        height = document[number - 1].get_height()
        text = document[number - 1].get_textpage()
        characters = []
        for index in range(text.count_chars()):
            left, bottom, right, top = text.get_charbox(index, loose=True)
            characters.append((chr(raw.FPDFText_GetUnicode(text, index)), (left, height - top, right, height - bottom)))
        return text.get_text_range(), characters


@pytest.mark.parametrize("each", [LATIN, SCRIPTS, TURNED, CURVED], ids=lambda each: each.source)
def test_the_words_of_a_pdf_are_found_again_in_order(each: Page) -> None:
    text, _ = _extract(_write("pdf", each))
    assert [line for line in text.splitlines() if line.strip()] == [line.text for line in each.lines]


def test_boxes_that_begin_at_the_left_do_for_writing_to_the_left_too() -> None:
    lines = tuple(
        replace(
            line, words=tuple(replace(one, box=(one.box[1], one.box[0], one.box[3], one.box[2])) for one in line.words)
        )
        for line in SCRIPTS.lines[:2]
    )
    text, characters = _extract(_write("pdf", replace(SCRIPTS, lines=lines)))
    same_text, same = _extract(_write("pdf", replace(SCRIPTS, lines=SCRIPTS.lines[:2])))
    assert text == same_text and text.splitlines() == [line.text for line in SCRIPTS.lines[:2]]
    assert np.allclose([sides for _, sides in characters], [sides for _, sides in same], atol=0.01)


@pytest.mark.parametrize(
    ("dpi", "used"),
    [((204, 98), (204, 98)), ((98, 204), (98, 204)), ((300, 0), (300, 300)), ((1, 300), (300, 300)),
     ((72, 96), (200, 200))],
)  # fmt: skip
def test_a_page_is_as_large_as_its_picture_says_in_both_directions(
    dpi: tuple[float, float], used: tuple[float, float]
) -> None:
    """A fax has fewer rows an inch than columns: with one scale it was shown at half its height."""
    each, file = page("Hello wide World"), io.BytesIO()
    picture = _picture(each)
    picture.info["dpi"] = dpi
    FORMATS["pdf"].write([(each, picture)], file)
    across, down = 72 / used[0], 72 / used[1]
    with pypdfium2.PdfDocument(file.getvalue()) as document:
        assert document[0].get_size() == pytest.approx((each.width * across, each.height * down), abs=0.01)
    _, characters = _extract(file.getvalue())
    first, word = next(sides for text, sides in characters if text == "H"), each.words[0].characters[0].box
    (left, top), _, (right, bottom), _ = word
    assert first == pytest.approx((left * across, top * down, right * across, bottom * down), abs=1)


@pytest.mark.parametrize("dpi", [None, 72, 144, 300])
def test_the_words_of_a_pdf_lie_where_they_were_read(dpi: int | None) -> None:
    """To a point, each letter too; 200 dpi where the picture does not say, or what cameras say."""
    each = page("Hello wide World", "tiny i l", "漢字 か")
    data = _write("pdf", each, dpi=dpi)
    scale = 72 / (dpi if dpi and dpi > 72 else 200)
    with pypdfium2.PdfDocument(data) as document:
        assert document[0].get_size() == pytest.approx((each.width * scale, each.height * scale), abs=0.01)
    _, characters = _extract(data)
    found = [(text, sides) for text, sides in characters if not text.isspace()]
    wanted = [character for one in each.words for character in one.characters]
    assert [text for text, _ in found] == [character.text for character in wanted]
    for (_, sides), character in zip(found, wanted, strict=True):
        (left, top), _, (right, bottom), _ = character.box
        assert np.allclose(sides, np.array([left, top, right, bottom]) * scale, atol=1)


def test_writing_in_any_direction_lies_where_it_was_read() -> None:
    """Upward, downward, slanted, upside down, and to the left; read back by the reader of text layers, at 72 points."""
    places = {"up": -90, "down": 90, "slant": -20, "over": 180}
    lines = []
    for index, (text, angle) in enumerate(places.items()):
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        x, y, width, height = 150 + 250 * (index % 2), 150 + 250 * (index // 2), 15 * len(text), 24
        corners = tuple(
            (x + u * cos - v * sin, y + u * sin + v * cos)
            for u, v in ((0, 0), (width, 0), (width, height), (0, height))
        )
        lines.append(Line((word(text, corners),), corners, float(angle), index))  # type: ignore[arg-type]
    left = ((100.0, 20.0), (40.0, 20.0), (40.0, 40.0), (100.0, 40.0))
    lines.append(Line((word("שלום", left),), left, 0.0, len(lines)))
    wanted = Page("x", 1, 600, 600, tuple(lines))
    with Pdf(_write("pdf", wanted, dpi=200), "x") as pdf:
        found = pdf.read(1, 200)
    assert found is not None and found.width == found.height == 600
    words = {one.text: one for one in found.words}
    assert set(words) == {one.text for one in wanted.words}
    for one in wanted.words:
        loose = 6 if one.text == "slant" else 3  # pdfium has no turned boxes
        assert np.allclose(words[one.text].box, one.box, atol=loose), one.text
    assert {line.text: round(line.angle) for line in found.lines} == {line.text: line.angle for line in wanted.lines}


def test_words_that_touch_or_overlap_stay_apart() -> None:
    words = tuple(word(text, box(*sides)) for text, sides in (
        ("one", (10, 10, 40, 30)), ("two", (40, 10, 70, 30)), ("three", (68, 11, 118, 31)), ("a", (118, 10, 122, 30))
    ))  # fmt: skip
    text, _ = _extract(_write("pdf", Page("x", 1, 200, 50, (Line(words, box(10, 10, 122, 31)),))))
    assert text == "one two three a"


def test_a_pdf_shows_the_picture_and_no_text(tmp_path: Path) -> None:
    each = page("Some words", "on a picture")
    pixels = np.full((each.height, each.width, 3), 250, np.uint8)
    pixels[100:200, 100:300] = (200, 30, 60)
    picture = Image.fromarray(pixels)
    picture.info["dpi"] = (144, 144)
    write_pages(
        [(each, picture), (replace(each, number=2), Image.new("RGB", picture.size, (7, 7, 7)))],
        "pdf",
        tmp_path / "x.pdf",
    )
    with Pdf(str(tmp_path / "x.pdf"), "x.pdf") as pdf:
        assert len(pdf) == 2
        first, second = np.asarray(pdf.draw(1, 144), int), np.asarray(pdf.draw(2, 200), int)
    assert first.shape == pixels.shape and np.abs(first - pixels).max() < 40 and np.abs(first - pixels).mean() < 1
    assert np.abs(second - 7).max() < 3


@pytest.mark.parametrize("style", FORMATS)
def test_an_empty_page_is_written(style: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{FORMATS[style].suffixes[0]}"
    write_pages([(EMPTY, _picture(EMPTY))], style, out)
    assert out.exists()
    if style == "pdf":
        assert _extract(out.read_bytes())[0] == ""


@pytest.mark.parametrize("style", FORMATS)
def test_what_dptr_wrote_is_replaced_and_nothing_else(style: str, tmp_path: Path) -> None:
    """Text and tables cannot say who wrote them; a second run does not replace them."""
    out = tmp_path / f"out{FORMATS[style].suffixes[0]}"
    write_pages([(LATIN, _picture(LATIN))], style, out)
    assert is_marked(out) == (style not in ("text", "tsv", "csv"))
    if is_marked(out):
        write_pages([(TURNED, _picture(TURNED))], style, out)
    for mine in (b"mine\n", b"%PDF-1.4\nmine\n%%EOF\n", b'<?xml version="1.0"?>\n<mine/>'):
        out.write_bytes(mine)
        with pytest.raises(UserError, match="nothing in it says that dptr wrote it"):
            write_pages([(LATIN, _picture(LATIN))], style, out)
        assert out.read_bytes() == mine


class _Full(io.BytesIO):
    """A file that something happens to after some bytes."""

    def __init__(self, limit: int, happens: Callable[[], None]) -> None:
        super().__init__()
        self.limit, self.happens = limit, happens

    def write(self, data: object) -> int:
        if self.tell() > self.limit:
            self.happens()
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("style", FORMATS)
def test_a_full_disk_is_no_half_file(style: str) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        FORMATS[style].write([(LATIN, _picture(LATIN))], _Full(-1, fill))


def test_an_interrupt_while_a_pdf_is_saved_is_not_lost() -> None:
    """It comes while pdfium has called back into Python."""
    fired = []

    def interrupt() -> None:
        if not fired:
            fired.append(True)
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt):
        FORMATS["pdf"].write([(LATIN, _picture(LATIN))], _Full(200, interrupt))
    assert fired


@pytest.mark.parametrize("style", FORMATS)
def test_what_breaks_off_leaves_nothing(style: str, tmp_path: Path) -> None:
    def pages() -> Iterator[tuple[Page, Image.Image]]:
        yield LATIN, _picture(LATIN)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pages(pages(), style, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_format_is_chosen_by_name_or_suffix(tmp_path: Path) -> None:
    for style, kind in FORMATS.items():
        assert choose_formats(style, "whatever") == (style,)
        for suffix in kind.suffixes:
            assert choose_formats(None, f"a{suffix.upper()}") == (style,)
    assert all(choose_formats(None, out) == ("text",) for out in ("-", str(tmp_path), "new/"))
    assert choose_formats("pdf,alto,pdf", "new/") == ("pdf", "alto")
    for out in ("a.xml", "a.docx", "a"):
        with pytest.raises(UserError, match="pass --format"):
            choose_formats(None, out)
    with pytest.raises(UserError, match="'docx': there are text, json"):
        choose_formats("text,docx", "a")


@pytest.mark.parametrize("style", ["text", "json", "tsv", "hocr", "pdf"])
def test_pages_read_before_an_interrupt_are_not_lost(
    style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def pages() -> Iterator[tuple[Page, Image.Image]]:
        yield LATIN, _picture(LATIN)
        raise KeyboardInterrupt

    out = tmp_path / f"out{FORMATS[style].suffixes[0]}"
    with pytest.raises(KeyboardInterrupt):
        write_pages(pages(), style, out)
    captured = capsys.readouterr()
    assert not list(tmp_path.iterdir()) and f"{out} is not written" in captured.err
    word = LATIN.words[0].text
    assert (word in captured.out) is FORMATS[style].plain
    assert ("-o DIR/" in captured.err) is not FORMATS[style].plain


def test_a_file_with_a_question_mark_in_its_name_keeps_it(tmp_path: Path) -> None:
    """Behind one in an address is no name."""
    numbers = {"in?/what? now.png": [1], "in?/other.png": [1], "http://x.org/a/b.png?size=3": [1]}
    plan = Plan(("text",), f"{tmp_path}/", None, numbers)
    plan.check()
    plan.write((page("text", source=source), None) for source in numbers)
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == ["b.txt", "other.txt", "what? now.txt"]
