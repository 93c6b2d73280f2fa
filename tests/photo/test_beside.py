"""What words of a line become beside the others: joined where no space belongs, and read as their line runs."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from helpers_photo import box

from dptr.inference.prediction import Prediction
from dptr.label.propose import words_of
from dptr.photo.assemble import assemble_page
from dptr.photo.page import LEAST_CONFIDENCE, Page
from dptr.photo.run import keep_confident
from dptr.photo.spaces import Columns
from dptr.photo.split import Gaps
from dptr.photo.views import LineViews, View
from dptr.text.direction import to_logical, to_visual

WIDE = 0.9  # of the height, a gap as wide as a letter


def read(text: str, **other: object) -> Prediction:
    return replace(Prediction(text, 0.95, tuple((each, 0.9) for each in text), uncalibrated=0.9 ** len(text)), **other)  # type: ignore[arg-type]


def show(*words: Prediction, gap: float = 0.2, in_line: Prediction | None = None) -> View:
    """A line 20 pixels high whose words have letters as wide, and gaps of ``gap`` times that between them."""
    lengths = [len(word.text) for word in words]
    width = sum(lengths) + gap * (len(words) - 1)
    begins = [sum(lengths[:index]) + gap * index for index in range(len(words))]
    pieces = tuple((begin / width, (begin + length) / width) for begin, length in zip(begins, lengths, strict=True))
    columns = Columns(np.zeros(round(16 * width)), np.zeros(round(16 * width)), 16.0)
    spans = [(index, index) for index in range(len(words))]
    outline = np.array(box(0, 0, 20 * width, 20))
    view = View(
        outline, columns, Gaps(pieces, (0.95,) * (len(words) - 1)), spans, readings=dict(zip(spans, words, strict=True))
    )
    if in_line is not None:
        view.take_line(in_line)
    return view


def assemble(*views: View) -> Page:
    return assemble_page("x", 1, (2000, 100), [LineViews([view]) for view in views])


@pytest.mark.parametrize(
    ("texts", "gap", "wanted"),
    [
        (("営", "業", "時間は午前九時"), 0.2, "営業時間は午前九時"),
        (("上海", "北京"), WIDE, "上海 北京"),
        (("东京。", "大阪"), 0.8, "东京。大阪"),
        (("说", "「好」"), 0.2, "说「好」"),
        (("安卓", "iPhone", "15", "手机"), 0.2, "安卓 iPhone 15 手机"),
        (("서울", "강남"), 0.2, "서울 강남"),
        (("Hello,", "World"), 0.2, "Hello, World"),
    ],
)
def test_scripts_without_spaces_get_none_from_gaps(texts: tuple[str, ...], gap: float, wanted: str) -> None:
    """Any line is split where a gap may be a space, and into no more than six pieces a word."""
    page = assemble(show(*map(read, texts), gap=gap))
    assert page.text == wanted
    assert [word.text for word in page.words] == wanted.split()
    assert all("".join(each.text for each in word.characters) == word.text for word in page.words)


def test_the_confidence_of_joined_words_is_the_product_of_theirs() -> None:
    (word,) = assemble(show(read("上", confidence=0.5), read("海", confidence=0.9))).words
    assert word.confidence == 0.45 and word.box[1][0] - word.box[0][0] == pytest.approx(44, abs=2)


def test_an_unsure_word_does_not_take_its_line_along() -> None:
    """Words below ``LEAST_CONFIDENCE`` are not shown."""
    page = assemble(show(read("東京", confidence=0.9), read("都", confidence=0.3), read("新宿", confidence=0.9)))
    kept, left_out = keep_confident(page, LEAST_CONFIDENCE)
    assert (kept.text, left_out) == ("東京 新宿", 1)


def test_a_space_that_was_read_stays() -> None:
    assert assemble(show(read("上海"), read("北京"), in_line=read("上海 北京"))).text == "上海 北京"
    assert assemble(show(read("上海"), read("北京"), in_line=read("上海北京"))).text == "上海北京"


def test_words_that_were_asked_for_stay_apart() -> None:
    expected = [read(text, outside=0.1) for text in ("上海", "北京")]
    assert [word.text for word in assemble(show(*expected)).words] == ["上海", "北京"]
    assert assemble(show(read("上海"), read("北京", runaway=True))).text == "上海 北京"


@pytest.mark.parametrize(
    "line",
    [
        *("נוסדה בשנת 2024.", "מחיר (50 שקל) כולל", "האם ב 1999?", "גיל 18+ בלבד", "הנחה 20%!", "חנות Sony."),
        *("عام 2024.", "السعر (50 ريال) شامل", "خصم 50% على الكل", "من 9:00-17:00 يوميا", "عمر 18+ فقط"),
        *("גר ב Main St. 12 היום", "(12) [3] שלום"),
    ],
)
def test_signs_and_numbers_are_read_as_their_line_runs(line: str) -> None:
    """In a crop alone ``2024.`` at the end of a Hebrew line shows as ``.2024``; a set of crops keeps it so."""
    shown = to_visual(line).split(" ")
    readings = [read(to_logical(each)) for each in shown]  # what has no leftward letter stays as it stands
    page = assemble(show(*readings), replace(show(read("עולם"), read("שלום")), outline=np.array(box(0, 60, 200, 80))))
    assert page.lines[0].text == line
    page = replace(page, lines=page.lines[:1])
    assert sorted(each.text for each in words_of(page, 1.0)) == sorted(each.text for each in readings)
    for word in page.words:
        assert "".join(each.text for each in word.characters) == word.text


def test_a_reading_of_several_words_is_read_as_before() -> None:
    text = "נוסדה בשנת 2024."
    page = assemble(show(read(text)))
    assert page.text == text and [word.alone for word in page.words] == ["", "", ".2024"]
    in_line = show(*map(read, (".2024", "בשנת", "נוסדה")), in_line=read(text)).words_of_line()
    assert [reading.text for reading in in_line.values()] == [".2024", "בשנת", "נוסדה"]


def test_lines_from_left_to_right_stay() -> None:
    draw = random.Random(2)
    for _ in range(50):
        texts = ["".join(draw.choices("ab12.,()%-", k=draw.randint(1, 5))) for _ in range(4)]
        assert assemble(show(*map(read, texts))).text == " ".join(texts)
