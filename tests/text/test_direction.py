"""Right-to-left text as it stands in a picture: beside python-bidi, by hand, and back again."""

from __future__ import annotations

import random
from typing import Literal

import pytest
from bidi import get_display
from hypothesis import given
from hypothesis import strategies as st

from dptr.text.direction import MIRRORED, reorder, visual_order

HEBREW, ARABIC = "אבגדהוזחט", "ابجدهوزحطئلا"
MARKS = "\u05b7\u064e"
NUMBERS = (
    *("12", "3.50", "10:30", "2024/05/01", "12-13", "$5", "5%", "+972", "-7"),
    *("١٢٣", "٤٫٥", "٢٠٢٤/٠٥/٠١", "٢٠٢٤-٠٥", "٥٠٪"),
)
LATIN = "USB", "Coca Cola", "A4", "e-mail"
ALPHABET = "abAB 12309.,:/-+%$()[]«»٪€،؟!\u200c۳١٢٣" + HEBREW[:4] + ARABIC[:5] + MARKS


def write_texts(letters: str, count: int) -> list[str]:
    """Words with at most one number or Latin word between two of them."""
    draw = random.Random(7)
    texts = []
    for _ in range(count):
        words = ["".join(draw.choices(letters, k=draw.randint(1, 6))) for _ in range(draw.randint(2, 4))]
        words.insert(draw.randint(1, len(words) - 1), draw.choice((*NUMBERS, *LATIN)))
        texts.append(" ".join(words[: draw.randint(1, len(words))]))
    return texts


@pytest.mark.parametrize("letters", [HEBREW, ARABIC], ids=["Hebrew", "Arabic"])
def test_the_order_is_that_of_the_unicode_algorithm(letters: str) -> None:
    for text in write_texts(letters, 3000):
        assert reorder(text) == get_display(text, base_dir="R"), text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("س ى د ٢٢٢٢", "٢٢٢٢ د ى س"),  # an Egyptian plate: digits on its left
        ("שלום (12)", "(12) םולש"),  # glyphs of brackets are mirrored
        ("«שלום»", "«םולש»"),
        ("שלום 5 GB", "5 GB םולש"),
        ("שָלוֹם", "םוֹלשָ"),
        ("2024", "2024"),
        ("٢٠٢٤", "٢٠٢٤"),
        ("abc 12 (d)", "abc 12 (d)"),
        ("", ""),
    ],
)
def test_by_hand(text: str, shown: str) -> None:
    assert reorder(text) == shown
    assert reorder(shown) == text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("58تونس8888", "58سنوت8888"),  # a Tunisian plate, its label written as the eye goes
        ("א ב 12 גה (דו)", "ב א 12 הג (וד)"),
        ("abc אב-ג", "abc ג-בא"),
        ("(אב) 5%", "(בא) 5%"),
        ("12", "12"),
    ],
)
def test_words_are_turned_where_they_are(text: str, shown: str) -> None:
    assert reorder(text, line="ltr") == shown
    assert reorder(shown, line="ltr") == text


@given(st.text(ALPHABET, max_size=14), st.sampled_from(["rtl", "ltr"]))
def test_there_and_back(text: str, line: Literal["rtl", "ltr"]) -> None:
    text = text.lstrip(MARKS)
    shown = reorder(text, line=line)
    assert reorder(shown, line=line) == text
    order = visual_order(text, line)
    assert sorted(order) == list(range(len(text)))
    assert all(mine in (text[place], MIRRORED.get(text[place])) for mine, place in zip(shown, order, strict=True))


def test_a_mirror_that_is_not_at_hand_is_not_used() -> None:
    assert reorder("(א)", {}) == ")א("
