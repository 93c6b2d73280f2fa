"""Sheets are read in order and in little memory; boxes of files; the picture with what was read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers_photo import FakeOCR, box, page, ring_outline, word
from PIL import Image

from dptr.photo import overlay
from dptr.photo.boxes import give_boxes, read_boxes, take_boxes
from dptr.photo.inputs import Failure, Sheet
from dptr.photo.outputs.plain import write_tsv
from dptr.photo.overlay import BOX_COLOR, draw_overlay
from dptr.photo.page import Line, Outline, Page
from dptr.photo.run import keep_confident, run_ocr
from dptr.photo.shapes import reverse
from dptr.photo.spaces import SpaceFinder
from dptr.photo.strip import enclose
from dptr.photo.views import cut_lines
from dptr.utils.errors import UserError


def _sheet(number: int, own_text: bool = False) -> Sheet:
    picture = Image.new("RGB", (40, 30), (number, 0, 0))
    return Sheet("x", number, picture, page(f"own {number}", number=number) if own_text else None)


def _failure(number: int) -> Failure:
    return Failure("x", number, UserError(f"x: page {number} is damaged"))


@pytest.mark.parametrize("ahead", [0, 1, 3, 100])
def test_outcomes_come_in_order_whatever_the_reader_takes_ahead(ahead: int) -> None:
    ocr = FakeOCR()
    ocr.ahead = ahead
    kinds = "rrottferrrtofr"  # read, own text, failed
    sheets = [
        {"f": _failure, "e": _failure}.get(kind, lambda n, k=kind: _sheet(n, k in "ot"))(n)
        for n, kind in enumerate(kinds, 1)
    ]
    outcomes = list(run_ocr(ocr, iter(sheets), keep_pictures=True))
    assert [outcome.number for outcome in outcomes] == list(range(1, len(kinds) + 1))
    for outcome, kind in zip(outcomes, kinds, strict=True):
        if kind in "fe":
            assert isinstance(outcome.page, UserError) and outcome.picture is None
            continue
        assert isinstance(outcome.page, Page) and outcome.picture is not None
        assert outcome.picture.getpixel((0, 0)) == (outcome.number, 0, 0)
        expected = f"own {outcome.number}" if kind in "ot" else f"red {outcome.number}"
        assert outcome.page.text.startswith(expected)


@pytest.mark.parametrize("own_text", [False, True])
def test_pages_stream_through(own_text: bool) -> None:
    """No more sheets are opened than the reader takes ahead, and one."""
    opened = 0

    def sheets() -> Iterator[Sheet]:
        nonlocal opened
        for number in range(1, 101):
            opened += 1
            yield _sheet(number, own_text)

    for done, outcome in enumerate(run_ocr(FakeOCR(), sheets(), keep_pictures=False)):
        assert outcome.picture is None or own_text
        assert opened - done <= 5


def test_words_that_are_not_sure_enough_go_and_with_them_their_lines() -> None:
    sure, unsure = word("sure", box(0, 0, 40, 10), 0.8), word("unsure", box(50, 0, 90, 10), 0.2)
    whole = Page(
        "x", 1, 100, 50, tuple(Line(words, box(0, 0, 90, 10)) for words in ((sure, unsure), (unsure,), (sure,)))
    )
    kept, low = keep_confident(whole, 0.8)
    assert (kept.text, low) == ("sure\nsure", 2)
    assert keep_confident(whole, 0.0) == (whole, 0)


def test_a_line_reaches_around_the_words_that_are_left() -> None:
    words = word("one", box(0, 0, 50, 20)), word("two", box(60, 0, 110, 20)), word("~", box(150, 0, 600, 20), 0.1)
    bent: Outline = ((0, 0), (300, 50), (600, 0), (600, 20), (300, 70), (0, 20))
    curved = Line((*words[:2], replace(words[2], outline=bent)), box(0, 0, 600, 70), 3.0, 2, bent)
    for line in (Line(words, box(0, 0, 600, 20)), curved):
        kept, _ = keep_confident(Page("x", 1, 600, 200, (line,)), 0.4)
        assert kept.lines == (Line(words[:2], box(0, 0, 110, 20), line.angle, line.block),)


def test_boxes_are_found_by_name_from_either_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "words.tsv"
    table.write_text("images/a.png\t0\t0\t9\t0\t9\t5\t0\t5\tone, two\nimages/a.png\t-3\t1\t4\t1\t4\t5\t-3\t5\n")
    picture = Image.new("RGB", (20, 10))
    wanted = [[[0, 0], [9, 0], [9, 5], [0, 5]], [[-3, 1], [4, 1], [4, 5], [-3, 5]]]
    for source in ("images/a.png", "./images/a.png", str(tmp_path / "images/a.png")):
        assert [each.tolist() for each in read_boxes(str(table)).of(source, 1, picture)] == wanted
    assert read_boxes(str(table)).of("images/b.png", 1, picture) == []
    assert read_boxes(str(table)).of("images/a.png", 2, picture) == []
    give_boxes(picture, list(np.array(wanted, float)))
    found = take_boxes(picture)
    assert found.boxes.tolist() == wanted and found.scores.tolist() == [1, 1] and not found.outlines
    with pytest.raises(UserError, match="carries no boxes"):
        take_boxes(Image.new("RGB", (20, 10)))


@pytest.mark.parametrize(
    "outline", [(), tuple(map(tuple, ring_outline((100, 100), 60, 20, 150, True, 5).tolist()))], ids=["box", "curved"]
)
def test_boxes_of_text_that_runs_from_right_to_left_are_cut_out_as_others_are(outline: Outline, tmp_path: Path) -> None:
    """They begin on the right in a table of words, and what is cut out along them would be mirrored."""
    place, picture = box(20, 30, 80, 60), Image.new("RGB", (200, 150))
    found = []
    for turned in (False, True):
        own, around = (reverse(each) if turned else each for each in (outline, place))
        words = (replace(word("שלום", around), outline=own),)  # type: ignore[arg-type]
        with open(tmp_path / "words.tsv", "wb") as file:
            write_tsv([(Page("a.png", 1, 200, 150, (Line(words, words[0].box),)), None)], file)
        give_boxes(picture, read_boxes(str(tmp_path / "words.tsv")).of("a.png", 1, picture))
        (line,) = cut_lines(picture, take_boxes(picture), SpaceFinder())
        found.append(line.crops[0].crop.outline)
    assert found[0] == pytest.approx(found[1], abs=0.01)


def test_outlines_of_curved_text_are_boxes_too(tmp_path: Path) -> None:
    outline = ring_outline((100, 100), 60, 20, 150, True, 5)
    cell = " ".join(f"{x},{y}" for x, y in outline)
    table = tmp_path / "words.tsv"
    picture = Image.new("RGB", (200, 150))
    for head, rows in (("image\toutline", f"a.png\t{cell}"), ("image\tx1\toutline", f"a.png\t\t{cell}")):
        table.write_text(f"{head}\n{rows}\n")
        (given,) = read_boxes(str(table)).of("a.png", 1, picture)
        assert given == pytest.approx(outline)
        give_boxes(picture, [box_array := np.array(box(1, 2, 30, 9)), given])
        found = take_boxes(picture)
        assert found.boxes[0] == pytest.approx(box_array) and found.boxes[1] == pytest.approx(enclose(outline))
        assert list(found.outlines) == [1] and found.outlines[1][0] == pytest.approx(outline)


@pytest.mark.parametrize("name", ["a\tb.png", "a\u200fb.png", "caf\udce9.png", "a\\b.png", "a\x1bb.png", "\\u0041.png"])
def test_boxes_of_any_name_are_found_again(name: str, tmp_path: Path) -> None:
    words = (word("one", box(1, 2, 9, 8)),)
    with open(tmp_path / "words.tsv", "wb") as file:
        write_tsv([(Page(name, 1, 20, 10, (Line(words, box(1, 2, 9, 8)),)), None)], file)
    assert len(read_boxes(str(tmp_path / "words.tsv")).of(name, 1, Image.new("RGB", (20, 10)))) == 1


@pytest.mark.parametrize("row", ["9 0 12 0 12 5 9 5", "0 10 5 10 5 12 0 12", "-9 0 0 0 0 5 -9 5", "0 -9 5 -9 5 0 0 0"])
def test_a_box_outside_its_picture_is_refused(row: str, tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("a.png\t" + row.replace(" ", "\t") + "\n")
    boxes = read_boxes(str(tmp_path / "words.tsv"))
    with pytest.raises(UserError, match=r"line 1: the box lies outside a.png, 9x10 pixels"):
        boxes.of("a.png", 1, Image.new("RGB", (9, 10)))


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("10 10 50 10 10 30 50 30", "its corners do not follow each other"),  # by rows
        ("10 10 50 10 50 10 10 10", "its corners do not follow each other"),  # flat
        ("10 10 11 10 11 10.5 10 10.5", "it has less than a square pixel"),
        ("-99 10 50 10 50 30 -99 30", "its middle lies outside the picture"),
    ],
)
def test_a_box_that_cannot_be_cut_out_is_refused(row: str, flaw: str, tmp_path: Path) -> None:
    """It would be passed over, and its word be missing without a word."""
    table, picture = tmp_path / "words.tsv", Image.new("RGB", (100, 40))
    table.write_text("a.png\t" + row.replace(" ", "\t") + "\n")
    with pytest.raises(UserError, match=f"line 1: a box of a.png cannot be cut out, {flaw}"):
        read_boxes(str(table)).of("a.png", 1, picture)


def test_boxes_of_one_picture_under_several_names_are_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = "a.png", "./a.png", str(tmp_path / "a.png"), "a.png"
    rows = [f"{name}\t{x}\t0\t{x + 5}\t0\t{x + 5}\t5\t{x}\t5\n" for x, name in enumerate(names)]
    Path("words.tsv").write_text("\ufeff" + "".join(rows), encoding="utf-8")  # editors begin UTF-8 so
    found = read_boxes("words.tsv").of("a.png", 1, Image.new("RGB", (20, 10)))
    assert [each[0, 0] for each in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\t1\t2\n", "line 1: no box"),
        ("a.png\t1\t2\t3\t4\t5\t6\t7\tx\n", "line 1: no box"),
        ("a.png\t1\t2\t3\t4\t5\t6\t7\tnan\n", "line 1: a corner is no number"),
        ("image\tx1\ty1\nb\t1\t2\n", "no column 'x2'"),
        ("image\toutline\nb\t1,2 3\n", "line 2: no box"),
        ("image\toutline\nb\t\n", "line 2: no box"),
        ("x1\ty1\tx2\ty2\tx3\ty3\tx4\ty4\timage\n0\t0\t9\t0\t9\t9\t0\t9\n", "line 2: no box"),
        ("image\toutline\nb\t1,2 3,4 5,6 7,8 9,10\n", "line 2: an outline of 5 points"),
        ("image\toutline\nb\t1,1 1,1 1,1 1,9 1,9 1,9\n", "line 2: an outline of 6 points"),
        ("image\toutline\nb\t1,1 2,1 inf,1 1,9 1,9 1,9\n", "line 2: a corner is no number"),
        ("a.png\t1\t2\t3\t4\t5\t6\t7\t-1e18\n", "line 1: a corner beyond 1,000,000 pixels"),
        ("image\toutline\nb\t  \n", "line 2: an outline of 0 points"),
        ("a\\x00.png\t0\t0\t9\t0\t9\t5\t0\t5\n", "line 1: U\\+0000 in the name"),
        ("\n", "no boxes in it"),
        ("\xff\n", "no table of boxes"),
    ],
)
def test_what_is_no_table_of_boxes_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        read_boxes(str(tmp_path / "words.tsv"))


def test_the_overlay_has_a_frame_and_a_text_for_each_word() -> None:
    slanted = ((300.0, 200.0), (380.0, 160.0), (390.0, 180.0), (310.0, 220.0))
    words = word("Hello", box(60, 60, 160, 90)), word("up", slanted), word("漢", box(560, 2, 640, 40))  # partly outside
    shown = Page("x", 1, 600, 400, tuple(Line((one,), one.box) for one in words))
    picture = Image.new("RGB", (600, 400), (20, 120, 60))
    drawn = np.asarray(draw_overlay(shown.words, picture), int)
    assert drawn.shape == (400, 600, 3) and (np.asarray(picture) == (20, 120, 60)).all()
    for one in words[:2]:
        for begin, end in zip(one.box, (*one.box[1:], one.box[0]), strict=True):
            points = [
                (begin[0] + (end[0] - begin[0]) * t, begin[1] + (end[1] - begin[1]) * t) for t in (0.25, 0.5, 0.75)
            ]
            around = [drawn[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] for x, y in points]
            assert all(np.abs(pixels - BOX_COLOR).max(axis=2).min() < 60 for pixels in around)
        left, top = min(x for x, _ in one.box), min(y for _, y in one.box)
        label = drawn[int(top) - 15 : int(top) - 2, int(left) : int(left) + 15 * len(one.text)]
        assert (label[..., 0] > 180).any() and (label[..., 1] < 60).any(), "letters on paper"
    inside = drawn[64:86, 64:156]
    assert (inside == (20, 120, 60)).all(), "the picture stays as it is"
    assert math.prod(draw_overlay((), picture).size) == 240_000


FONTS = Path(__file__).parents[1] / "fonts"


def test_letters_that_the_embedded_font_lacks_are_drawn_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    words = word("Hello", box(60, 60, 160, 90)), word("مطعم", box(60, 200, 200, 260))
    picture = Image.new("RGB", (300, 300), (20, 120, 60))
    asked: list[str] = []

    def find(characters: str, file: str) -> str:
        asked.append(characters)
        return file

    pictures = []
    for file in ("", str(FONTS / "NotoSansArabic.ttf")):
        monkeypatch.setattr(overlay, "find_system_font", partial(find, file=file))
        pictures.append(np.asarray(draw_overlay(words, picture), int))
    assert asked == ["طعم"] * 2
    plain, drawn = pictures
    assert (plain[:150] == drawn[:150]).all(), "Latin letters need no other font"
    ink = ((drawn[150:200, :, 0] > 180) & (drawn[150:200, :, 1] < 60)).sum()
    assert ink > 50 > ((plain[150:200, :, 0] > 180) & (plain[150:200, :, 1] < 60)).sum()


@pytest.mark.parametrize(
    ("answer", "characters", "found"),
    [("NotoSansArabic.ttf", "طعم", True), ("NotoSansArabic.ttf", "中", False), ("nothing.ttf", "طعم", False)],
)
def test_a_font_of_the_system_is_one_that_has_the_letters(
    answer: str, characters: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fc-match"
    program.write_text(f"#!/bin/sh\nprintf %s '{FONTS / answer}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert overlay.find_system_font.__wrapped__(characters) == (str(FONTS / answer) if found else "")
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert overlay.find_system_font.__wrapped__(characters) == ""


def test_a_page_draws_itself(tmp_path: Path) -> None:
    one = word("Hello", box(60, 60, 160, 90))
    picture = Image.new("RGB", (600, 400), (20, 120, 60))
    picture.save(tmp_path / "photo.png")
    shown = Page(str(tmp_path / "photo.png"), 1, 600, 400, (Line((one,), one.box),))
    drawn = draw_overlay(shown.words, picture).tobytes()
    assert shown.overlay().tobytes() == shown.overlay(picture).tobytes() == drawn != picture.tobytes()
    with pytest.raises(UserError, match="picture of 60x40 pixels: the page has 600x400"):
        shown.overlay(picture.resize((60, 40)))
    with pytest.raises(UserError, match="page 2 of several; pass the picture"):
        replace(shown, number=2).overlay()
