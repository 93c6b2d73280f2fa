"""Pictures, frames, and pages come in order, upright, one at a time; what cannot be opened is one line."""

from __future__ import annotations

import io
import re
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from helpers_photo import make_pdf, picture, show
from PIL import Image, TiffImagePlugin

from dptr.photo.inputs import Failure, InputOptions, Pages, Sheet, list_pages, open_sheets, parse_pages
from dptr.photo.outputs import write_pages
from dptr.photo.page import Box, Line, Page, Word
from dptr.utils.errors import UserError
from dptr.utils.images import FRAMES, open_image


def _opened(*sources: str | Path, **options: object) -> list[Sheet | Failure]:
    return list(open_sheets(map(str, sources), InputOptions(**options)))  # type: ignore[arg-type]


def _reds(sheets: list[Sheet | Failure]) -> list[int]:
    assert all(isinstance(sheet, Sheet) and sheet.picture is not None for sheet in sheets)
    return [sheet.picture.getpixel((0, 0))[0] for sheet in sheets]  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("2", [2]),
        ("1-3,5", [1, 2, 3, 5]),
        ("4-", [4, 5]),
        ("3,1", [3, 1]),
        (" 2 - 3 ", [2, 3]),
        ("2,1-3", [2, 1, 3]),
    ],
)
def test_page_ranges(text: str, chosen: list[int]) -> None:
    assert parse_pages(text).choose(5, "x.pdf") == chosen


@pytest.mark.parametrize("text", ["0", "a", "3-2", "1--2", ",", "1,", "-3", "1.5"])
def test_what_is_no_page_range_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no page and no range"):
        parse_pages(text)


@pytest.mark.parametrize("text", ["6", "4-6", "1-2,9"])
def test_a_range_beyond_the_last_page_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"x.pdf: has 5 pages, not page [69]; pass other --pages"):
        parse_pages(text).choose(5, "x.pdf")


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".png", ".webp"])
def test_all_frames_are_read(suffix: str, tmp_path: Path) -> None:
    path = picture(tmp_path / f"frames{suffix}", 10, 100, 200)
    sheets = _opened(path)
    assert [(sheet.source, sheet.number) for sheet in sheets] == [(str(path), number) for number in (1, 2, 3)]
    assert np.allclose(_reds(sheets), [10, 100, 200], atol=4)  # WebP is lossy
    assert list_pages(str(path)) == [1, 2, 3]
    few = {"pages": Pages(((3, 3), (1, 1)))}
    assert np.allclose(_reds(_opened(path, **few)), [200, 10], atol=4)
    assert list_pages(str(path), InputOptions(**few)) == [3, 1]  # type: ignore[arg-type]


def test_what_a_camera_puts_behind_a_jpeg_is_no_page(tmp_path: Path) -> None:
    """Phones write maps of brightness there, cameras previews: their words would be read twice."""
    path, behind = tmp_path / "photo.jpg", Image.new("RGB", (20, 10), "blue")
    Image.new("RGB", (40, 20), "red").save(path, "MPO", save_all=True, append_images=[behind])
    with Image.open(path) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
    assert [sheet.picture.size for sheet in _opened(path)] == [(40, 20)]  # type: ignore[union-attr]
    assert list_pages(str(path)) == [1]
    assert FRAMES not in open_image(path).info


def test_smaller_copies_and_masks_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    """Those of a pyramid; pages that a program calls copies, though they are as large, stay."""
    path = tmp_path / "pyramid.tif"
    kinds = [(40, 0, 10), (20, 1, 30), (10, 1, 50), (40, 4, 70), (40, 1, 90), (30, 0, 110), (15, 5, 130)]
    with TiffImagePlugin.AppendingTiffWriter(str(path), True) as file:
        for side, kind, red in kinds:
            Image.new("RGB", (side, side), (red, 0, 0)).save(file, "TIFF", tiffinfo={254: kind})
            file.newFrame()
    assert _reds(_opened(path)) == [10, 90, 110]
    assert _reds(_opened(path, pages=Pages(((2, 2),)))) == [90]
    assert list_pages(str(path)) == [1, 2, 3]
    assert open_image(path).info[FRAMES] == 3


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    stored = Image.new("RGB", (40, 20), "red")
    stored.paste("blue", (0, 0, 20, 20))
    stored.save(tmp_path / "turned.png", exif=exif)
    (sheet,) = _opened(tmp_path / "turned.png")
    assert isinstance(sheet, Sheet) and sheet.picture is not None and sheet.picture.size == (20, 40)
    assert sheet.picture.getpixel((10, 5)) == (0, 0, 255) and sheet.picture.getpixel((10, 35)) == (255, 0, 0)


def test_resolution_is_known(tmp_path: Path) -> None:
    Image.new("L", (30, 20), 255).save(tmp_path / "scan.tif", dpi=(300, 300))
    (tmp_path / "page.pdf").write_bytes(make_pdf([""]))
    for sheet, dpi in zip(_opened(tmp_path / "scan.tif", tmp_path / "page.pdf", dpi=144), (300, 144), strict=True):
        assert isinstance(sheet, Sheet) and sheet.picture is not None
        assert sheet.picture.mode == "RGB" and tuple(map(round, sheet.picture.info["dpi"])) == (dpi, dpi)


def test_pages_of_a_pdf_are_drawn_as_they_are_shown(tmp_path: Path) -> None:
    bar = "0 0 1 rg 0 150 300 50 re f"  # along the top, blue
    path = tmp_path / "bar.pdf"
    for rotate, size, place in (
        (0, (600, 400), (300, 50)),
        (90, (400, 600), (350, 300)),
        (180, (600, 400), (300, 350)),
    ):
        path.write_bytes(make_pdf([bar, ""], rotate))
        first, second = _opened(path, dpi=144)
        assert isinstance(first, Sheet) and isinstance(second, Sheet) and first.picture and second.picture
        assert (first.number, second.number) == (1, 2) and first.picture.size == size
        pixels = np.asarray(first.picture)
        assert tuple(pixels[place[1], place[0]]) == (0, 0, 255)
        assert (pixels == (0, 0, 255)).all(axis=2).mean() == pytest.approx(0.25, abs=0.01)
        assert (np.asarray(second.picture) == 255).all()
    path.write_bytes(make_pdf([bar], crop="0 160 300 190"))
    (cropped,) = _opened(path, dpi=72)
    assert isinstance(cropped, Sheet) and cropped.picture and cropped.picture.size == (300, 30)
    assert (np.asarray(cropped.picture) == (0, 0, 255)).all()


def _sides(box: Box) -> tuple[float, float, float, float]:
    return (*map(min, zip(*box, strict=True)), *map(max, zip(*box, strict=True)))  # type: ignore[return-value]


def _ink(sheet: Sheet, box: Box) -> tuple[float, float, float, float]:
    """The sides of what is not white within a box, in pixels."""
    left, top, right, bottom = _sides(box)
    dark = np.asarray(sheet.picture)[int(top) : int(bottom) + 1, int(left) : int(right) + 1].min(axis=2) < 128
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
    return int(left) + columns[0], int(top) + rows[0], int(left) + columns[-1] + 1, int(top) + rows[-1] + 1


@pytest.mark.parametrize(("rotate", "crop"), [(0, ""), (90, ""), (180, ""), (270, ""), (0, "20 10 280 190")])
def test_the_text_of_a_pdf_lies_where_it_is_drawn(rotate: int, crop: str, tmp_path: Path) -> None:
    content = show("HELLO WORLD", 50, 150) + show("below it", 50, 125) + show("UP", 250, 50, 20, "0 1 -1 0")
    (tmp_path / "text.pdf").write_bytes(make_pdf([content], rotate, crop=crop))
    (sheet,) = _opened(tmp_path / "text.pdf", text_layer="use", dpi=144)
    assert isinstance(sheet, Sheet) and sheet.page is not None and sheet.picture is not None
    page = sheet.page
    assert (page.width, page.height) == sheet.picture.size
    words = {word.text: word for word in page.words}
    assert sorted(words) == ["HELLO", "UP", "WORLD", "below", "it"]
    assert {word.confidence for word in page.words} == {1.0}
    angles = {line.text: line.angle for line in page.lines}
    assert angles["HELLO WORLD"] % 360 == rotate and angles["UP"] % 360 == (rotate - 90) % 360
    for text in ("HELLO", "WORLD", "UP"):
        word = words[text]
        assert "".join(character.text for character in word.characters) == text
        ink, sides = _ink(sheet, word.box), _sides(word.box)
        upright = (rotate + 90 * (text == "UP")) % 180 == 0
        along, across = ((0, 2), (1, 3)) if upright else ((1, 3), (0, 2))
        for index in along:  # letters have at most a fifth of their width to the sides
            assert abs(ink[index] - sides[index]) < 5
        for index in across:  # Helvetica's capitals are .72 high, its lines 1.16
            assert 0 <= abs(ink[index] - sides[index]) < 0.5 * 40
        first, last = word.characters[0].box, word.characters[-1].box
        assert np.allclose([word.box[0], word.box[3]], [first[0], first[3]], atol=1)
        assert np.allclose([word.box[1], word.box[2]], [last[1], last[2]], atol=1)
        (x0, y0), (x1, y1), _, (x3, y3) = word.box
        angle = np.radians(angles["UP" if text == "UP" else "HELLO WORLD"])
        assert np.allclose(
            np.array([x1 - x0, y1 - y0]) / np.hypot(x1 - x0, y1 - y0), [np.cos(angle), np.sin(angle)], atol=1e-3
        )
        assert (x1 - x0) * (y3 - y0) - (y1 - y0) * (x3 - x0) > 0, "clockwise"


def test_text_that_a_crop_cuts_off_is_not_read(tmp_path: Path) -> None:
    content = show("HELLO", 50, 150) + show("WORLD", 180, 150) + show("away", 50, 20)
    for crop, read in (("", "HELLO WORLD\n\naway"), ("0 100 300 200", "HELLO WORLD"), ("0 100 140 200", "HELLO")):
        (tmp_path / "text.pdf").write_bytes(make_pdf([content], crop=crop))
        (sheet,) = _opened(tmp_path / "text.pdf", text_layer="use")
        assert isinstance(sheet, Sheet) and sheet.page is not None and sheet.page.text == read


def test_slanted_text_has_slanted_boxes(tmp_path: Path) -> None:
    cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))
    content = show("HELLO", 100, 60, 20, f"{cos:.5f} {sin:.5f} {-sin:.5f} {cos:.5f}")
    (tmp_path / "slanted.pdf").write_bytes(make_pdf([content]))
    (sheet,) = _opened(tmp_path / "slanted.pdf", text_layer="use", dpi=72)
    assert isinstance(sheet, Sheet) and sheet.page is not None
    assert sheet.page.lines[0].angle == pytest.approx(-30, abs=0.1)
    ink, sides = _ink(sheet, sheet.page.words[0].box), _sides(sheet.page.words[0].box)
    assert np.allclose(ink, sides, atol=8)


def test_lines_far_from_each_other_are_blocks(tmp_path: Path) -> None:
    content = show("one", 50, 170) + show("two", 50, 148) + show("three", 50, 60) + show("four", 50, 38)
    (tmp_path / "blocks.pdf").write_bytes(make_pdf([content]))
    (sheet,) = _opened(tmp_path / "blocks.pdf", text_layer="use")
    assert isinstance(sheet, Sheet) and sheet.page is not None
    assert sheet.page.text == "one\ntwo\n\nthree\nfour"


@pytest.mark.parametrize("size", [(1280, 720), (1654, 2339), (333, 777), (4032, 3024)])
def test_a_picture_keeps_its_size_through_a_pdf(size: tuple[int, int], tmp_path: Path) -> None:
    picture = Image.new("RGB", size)
    write_pages([(Page("x", 1, *size), picture)], "pdf", tmp_path / "x.pdf")
    (sheet,) = _opened(tmp_path / "x.pdf", dpi=200)
    assert isinstance(sheet, Sheet) and sheet.picture is not None and sheet.picture.size == size


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("co\u00adop", "coop"),
        ("a\ufeffb", "ab"),
        ("\u200dab", "ab"),
        ("one\ue000two", "one two"),
    ],
    ids=ascii,
)
def test_characters_that_show_nothing_part_no_word_of_a_pdf(written: str, read: str, tmp_path: Path) -> None:
    box = (20.0, 20.0), (120.0, 20.0), (120.0, 40.0), (20.0, 40.0)
    page = Page("x", 1, 300, 100, (Line((Word(written, 1.0, box),), box),))
    write_pages([(page, Image.new("RGB", (300, 100), "white"))], "pdf", tmp_path / "x.pdf")
    (sheet,) = _opened(tmp_path / "x.pdf", text_layer="use")
    assert isinstance(sheet, Sheet) and sheet.page is not None and sheet.page.text == read
    assert " ".join("".join(each.text for each in word.characters) for word in sheet.page.words) == read


def test_the_text_layer_is_used_or_ignored(tmp_path: Path) -> None:
    path = tmp_path / "text.pdf"
    path.write_bytes(make_pdf([show("text", 50, 150), "0 0 1 rg 0 0 50 50 re f"]))
    ignored = _opened(path)
    assert all(isinstance(sheet, Sheet) and sheet.page is None and sheet.picture for sheet in ignored)
    first, second = _opened(path, text_layer="use", draw=False)
    assert isinstance(first, Sheet) and first.page is not None and first.page.text == "text" and first.picture is None
    assert isinstance(second, Sheet) and second.page is None and second.picture is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (make_pdf(["a"], encrypted=True), "encrypted; remove its password first"),
        (b"%PDF-1.4\nnothing more", "damaged"),
        (make_pdf([]), "without pages"),
        (make_pdf([""], box="0 0 14000 14000"), "lower --dpi"),
        (b"", "zero bytes"),
        (b"no picture", "not a picture"),
    ],
)
def test_a_bad_file_is_one_line_and_the_others_are_read(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pdf").write_bytes(content)
    picture(tmp_path / "good.png", 77)
    bad, missing, good = _opened(tmp_path / "bad.pdf", tmp_path / "missing.png", tmp_path / "good.png", dpi=300)
    assert isinstance(bad, Failure) and isinstance(missing, Failure)
    line = str(bad.error)
    assert line.startswith(str(tmp_path / "bad.pdf")) and message in line and "\n" not in line
    assert "No such file" in str(missing.error)
    assert _reds([good]) == [77]


def test_a_damaged_frame_does_not_lose_the_others(tmp_path: Path) -> None:
    path = picture(tmp_path / "frames.tif", 10, 100, 200)
    with Image.open(path) as image:
        image.seek(1)
        begin = image.tag_v2[273][0]  # StripOffsets
    data = bytearray(path.read_bytes())
    first = data.find(begin.to_bytes(4, "little"))  # where the second frame's directory names it
    data[first : first + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    one, two, three = _opened(path)
    assert _reds([one, three]) == [10, 200]
    assert isinstance(two, Failure) and two.number == 2 and "damaged" in str(two.error)


def test_a_frame_that_claims_a_huge_size_is_refused(tmp_path: Path) -> None:
    path = picture(tmp_path / "frames.tif", 10, 100, size=(120, 80))
    data = path.read_bytes()
    for tag, value in ((256, 120), (257, 80)):  # width and height
        entry = re.escape(struct.pack("<H", tag)) + b"[\x03\x04]" + re.escape(struct.pack("<xII", 1, value))
        second = list(re.finditer(entry, data, re.DOTALL))[1]
        huge = struct.pack("<HHII", tag, 4, 1, 1 << 20)
        data = data[: second.start()] + huge + data[second.end() :]
    path.write_bytes(data)
    one, two = _opened(path)
    assert _reds([one]) == [10]
    assert isinstance(two, Failure) and "MAX_IMAGE_PIXELS" in str(two.error)


def test_a_pipe_and_standard_input_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(tmp_path / "frames.tif", 10, 100).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert list_pages("-") is None
    sheets = _opened("-")
    assert _reds(sheets) == [10, 100] and [(sheet.source, sheet.number) for sheet in sheets] == [("-", 1), ("-", 2)]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(make_pdf(["", ""]))))
    assert len(_opened("-")) == 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server that has a picture and a PDF, and cuts one short."""
    files = {"/a.png": picture(tmp_path / "a.png", 50).read_bytes(), "/b": make_pdf([""])}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"short")
                return
            found = files.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def test_addresses_are_read(server: str) -> None:
    a, b, missing, cut = _opened(f"{server}/a.png", f"{server}/b", f"{server}/c.png", f"{server}/cut")
    assert _reds([a]) == [50] and isinstance(b, Sheet) and b.source == f"{server}/b"
    assert isinstance(missing, Failure) and "the server answers 404" in str(missing.error)
    assert isinstance(cut, Failure) and f"{server}/cut" in str(cut.error)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x.png", "http://[bad/x.png", "https://", "http://a b/c"])
def test_an_address_that_does_not_answer_is_one_line(address: str) -> None:
    (failure,) = _opened(address)
    assert isinstance(failure, Failure) and address in str(failure.error) and "check the address" in str(failure.error)


@pytest.mark.parametrize("options", [{"dpi": 0}, {"dpi": 5000}, {"text_layer": "maybe"}])
def test_options_are_checked(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match="pass"):
        InputOptions(**options)  # type: ignore[arg-type]


def test_one_page_is_held_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "long.pdf").write_bytes(make_pdf([show(f"page {number}", 50, 150) for number in range(30)]))
    sheets = open_sheets([str(tmp_path / "long.pdf")], InputOptions(dpi=144))
    size = 600 * 400 * 3
    next(sheets)
    tracemalloc.start()
    for sheet in sheets:
        assert isinstance(sheet, Sheet) and sheet.picture is not None and sheet.picture.size == (600, 400)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * size
