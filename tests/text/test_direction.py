"""Right-to-left text as it stands in a picture: beside python-bidi, by hand, and back again."""

from __future__ import annotations

import random
from unicodedata import bidirectional

import pytest
from bidi import get_display
from hypothesis import given
from hypothesis import strategies as st

from dptr.text.direction import MIRRORED, LineDirection, logical_order, to_logical, to_visual, visual_order

HEBREW, ARABIC = "אבגדהוזחט", "ابجدهوزحطئلا"
MARKS = "\u05b7\u064e"
NUMBERS = (
    *("12", "3.50", "10:30", "2024/05/01", "12-13", "$5", "5%", "+972", "-7"),
    *("١٢٣", "٤٫٥", "٢٠٢٤/٠٥/٠١", "٢٠٢٤-٠٥", "٥٠٪"),
)
LATIN = "USB", "Coca Cola", "A4", "e-mail"
ALPHABET = "abAB 12309.,:/-+%$()[]«»٪€،؟!\u200c۳١٢٣" + HEBREW[:4] + ARABIC[:5] + MARKS


def write_texts(letters: str, count: int) -> list[str]:
    """Words with at most one number or Latin word before, between, or behind them."""
    draw = random.Random(7)
    texts = []
    for _ in range(count):
        words = ["".join(draw.choices(letters, k=draw.randint(1, 6))) for _ in range(draw.randint(1, 4))]
        words.insert(draw.randint(0, len(words)), draw.choice((*NUMBERS, *LATIN)))
        texts.append(" ".join(words[: draw.randint(1, len(words))]))
    return texts


@pytest.mark.parametrize("letters", [HEBREW, ARABIC], ids=["Hebrew", "Arabic"])
def test_the_order_is_that_of_the_unicode_algorithm(letters: str) -> None:
    for text in write_texts(letters, 3000):
        if set(map(bidirectional, text)) & {"R", "AL", "AN"}:
            assert to_visual(text) == get_display(text, base_dir="R"), text
        assert to_logical(to_visual(text)) == text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("س ى د ٢٢٢٢", "٢٢٢٢ د ى س"),  # an Egyptian plate: digits on its left
        ("74% ب", "ب 74%"),  # European digits before Arabic letters, and behind them
        ("ب 74%", "%74 ب"),
        ("٠١٠ ١٢٣", "١٢٣ ٠١٠"),
        ("א ₪98-₪196", "₪196-₪98 א"),
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
    assert to_visual(text) == shown
    assert to_logical(shown) == text


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
    assert to_visual(text, line="ltr") == shown
    assert to_logical(shown, line="ltr") == text


@given(st.text(ALPHABET, max_size=14), st.sampled_from(["rtl", "ltr"]))
def test_what_is_read_looks_as_what_was_seen(text: str, line: LineDirection) -> None:
    """Different texts may look alike; the one that is read looks like the one that was written."""
    text = text.lstrip(MARKS)
    shown = to_visual(text, line=line)
    read = to_logical(shown, line=line)
    assert to_visual(read, line=line) == shown
    for own, order, seen in ((text, visual_order(text, line), shown), (shown, logical_order(shown, line), read)):
        assert sorted(order) == list(range(len(text)))
        assert all(mine in (own[place], MIRRORED.get(own[place])) for mine, place in zip(seen, order, strict=True))


def test_a_mirror_that_is_not_at_hand_is_not_used() -> None:
    assert to_visual("(א)", {}) == ")א("


def test_long_texts_take_no_time() -> None:
    """They take a minute where the time grows with the third power of the length."""
    for text in ("א" + "$" * 1000 + " " + "1" * 1000, "א" + "12 " * 700, "א" + "a 1 " * 500):
        assert to_logical(to_visual(text)) == text
