"""Words of lines that run right, left, or both: their order, their confidence, and the boxes around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_photo import box

from dptr.inference.prediction import Prediction
from dptr.photo.assemble import assemble_page
from dptr.photo.spaces import Columns
from dptr.photo.split import Gaps
from dptr.photo.views import LineViews, View

HEBREW = "שלום", "עולם"


def _reading(text: str, each: float = 0.9, confidence: float = 0.8) -> Prediction:
    return Prediction(text, confidence, tuple((character, each) for character in text), uncalibrated=each ** len(text))


def _line(top: float, *texts: str, line_reading: Prediction | None = None) -> View:
    """A view 200 pixels wide whose words share it in equal parts, from left to right."""
    count = len(texts)
    pieces = tuple(((index + 0.1) / count, (index + 0.9) / count) for index in range(count))
    columns = Columns(np.zeros(200), np.zeros(200), 20.0)
    gaps = Gaps(pieces, (0.95,) * (count - 1))
    spans = [(index, index) for index in range(count)]
    readings = {span: _reading(text) for span, text in zip(spans, texts, strict=True)}
    outline = np.array(box(0, top, 200, top + 20))
    return View(outline, columns, gaps, spans, readings=readings, line_reading=line_reading)


def _page(*views: View) -> list[str]:
    page = assemble_page("x", 1, (200, 100), [LineViews([view]) for view in views])
    return [line.text for line in page.lines]


def test_each_line_has_the_order_of_its_own_direction() -> None:
    hebrew = [_line(0, *HEBREW[::-1]), _line(30, *HEBREW[::-1])]
    assert _page(*hebrew) == [" ".join(HEBREW)] * 2
    assert _page(*hebrew, _line(60, "Hello", "World")) == [*[" ".join(HEBREW)] * 2, "Hello World"]
    latin = [_line(0, "Hello", "World"), _line(30, "Hello", "World")]
    assert _page(*latin, _line(60, *HEBREW[::-1])) == ["Hello World", "Hello World", " ".join(HEBREW)]


def test_a_line_without_letters_follows_its_page() -> None:
    assert _page(_line(0, "12", "34")) == ["12 34"]
    assert _page(_line(0, *HEBREW[::-1]), _line(30, "12", "34")) == [" ".join(HEBREW), "34 12"]


@pytest.mark.parametrize(
    "texts", [("2024", "שלום"), ("שלום", "2024"), ("2024", "שלום", "שלום"), ("שלום", "Hello", "שלום")]
)
def test_the_box_of_a_line_holds_all_its_words(texts: tuple[str, ...]) -> None:
    (line,) = assemble_page("x", 1, (200, 100), [LineViews([_line(0, *texts)])]).lines
    words = np.array([word.box for word in line.words])
    assert np.ptp(np.array(line.box)[:, 0]) == pytest.approx(np.ptp(words[..., 0]), abs=0.5)
    assert np.ptp(np.array(line.box)[:, 0]) > 150
    assert line.box[0][0] > line.box[1][0], "it begins at the right"


def test_a_line_read_whole_gives_each_place_its_own_word() -> None:
    mixed = ("5", "GB", "שלום"), "שלום 5 GB"  # numbers and Latin words beside each other run right
    for texts, text in ((HEBREW[::-1], " ".join(HEBREW)), (("Hello", "World"), "Hello World"), mixed):
        view = _line(0, *texts, line_reading=_reading(text))
        assert [reading.text for reading in view.words_of_line().values()] == list(texts)


@pytest.mark.parametrize(
    ("words", "line", "wanted"),
    [
        (("end", "Then", "4"), "end. Then 4.", ["end.", "Then", "4."]),
        (("end", "Then"), "(end, Than!", ["(end,", "Then"]),  # other letters are another reading
        (("end.", "Then"), "end Then", ["end.", "Then"]),
        (("end", "-"), "end. --", ["end.", "-"]),
        (("end", "Then"), "end. The n", ["end", "Then"]),
        (("עולם", "שלום"), "שלום, עולם.", ["עולם.", "שלום,"]),
    ],
)
def test_words_have_the_signs_at_their_ends_that_their_line_has(
    words: tuple[str, ...], line: str, wanted: list[str]
) -> None:
    """Word for word, ``dptr-latin`` often leaves out the period of a sentence."""
    view = _line(0, *words, line_reading=_reading(line))
    before, _ = view.words()
    view.take_signs()
    readings = [view.readings[span] for span in view.words()[0]]
    assert [each.text for each in readings] == wanted and view.words()[0] == before
    assert all("".join(character for character, _ in each.characters) == each.text for each in readings)


def test_a_sign_costs_a_word_no_confidence() -> None:
    """It is that of letters and digits, which are the same; a lower one could leave the word out."""
    view = _line(0, "see", "you", line_reading=replace(_reading("see you."), confidence=0.1))
    own = view.readings[1, 1]
    view.take_signs()
    assert view.readings[1, 1].text == "you."
    assert (view.readings[1, 1].confidence, view.readings[1, 1].product) == (own.confidence, own.product)


def test_characters_stand_where_they_are_seen() -> None:
    """Digits of a Hebrew line from left to right, its letters from right to left."""
    view = _line(0, "x")
    view.readings[0, 0] = _reading("שלום 123")
    words = assemble_page("x", 1, (200, 100), [LineViews([view])]).words
    lefts = {word.text: [min(x for x, _ in each.box) for each in word.characters] for word in words}
    assert lefts["123"] == sorted(lefts["123"]) and lefts["שלום"] == sorted(lefts["שלום"], reverse=True)
    assert max(lefts["123"]) < min(lefts["שלום"])


def test_numbers_and_latin_words_keep_their_order_in_a_line_that_runs_left() -> None:
    assert _page(_line(0, "5", "GB", "שלום"), _line(30, *HEBREW[::-1])) == ["שלום 5 GB", " ".join(HEBREW)]
    view = _line(0, "x")
    view.readings[0, 0] = _reading("שלום עולם 5 GB")
    assert _page(view) == ["שלום עולם 5 GB"]


def test_a_recognizer_of_labels_as_the_eye_goes_has_its_numbers_where_it_saw_them() -> None:
    view = replace(_line(0, "58", "תל", "17", line_reading=_reading("58 תל 17")), line="ltr")
    assert [reading.text for reading in view.words_of_line().values()] == ["58", "תל", "17"]
    assert _page(view) == ["58 תל 17"]
    whole = replace(_line(0, "x"), line="ltr")
    whole.readings[0, 0] = _reading("58 תל 17")
    (line,) = assemble_page("x", 1, (200, 100), [LineViews([whole])]).lines
    lefts = {word.text: min(x for x, _ in word.box) for word in line.words}
    assert lefts["58"] < lefts["תל"] < lefts["17"]


def test_words_of_one_reading_share_its_calibrated_confidence() -> None:
    reading = _reading("ab cdef", each=0.7)
    view = _line(0, "x")
    view.readings[0, 0] = reading
    words = assemble_page("x", 1, (200, 100), [LineViews([view])]).words
    assert [word.text for word in words] == ["ab", "cdef"]
    assert [word.confidence for word in words] == pytest.approx([0.8 ** (2 / 7), 0.8 ** (4 / 7)])


@pytest.mark.parametrize("each", [0.0, 1.0])
def test_a_part_of_a_reading_without_doubt_or_hope_has_the_confidence_of_the_whole(each: float) -> None:
    part = _reading("ab cd", each, confidence=0.3).part((("a", each), ("b", each)))
    assert (part.text, part.confidence, part.product) == ("ab", 0.3, each)
