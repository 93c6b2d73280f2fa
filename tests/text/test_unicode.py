"""Scripts, directions, grapheme clusters."""

from __future__ import annotations

from itertools import islice

import pytest

from dptr.text.charset import normalize_label
from dptr.text.cldr_words import cldr_words
from dptr.text.languages import LANGUAGES
from dptr.text.unicode import directions, graphemes, is_mark, script


@pytest.mark.parametrize(
    ("text", "clusters"),
    [
        ("", []),
        ("abc", ["a", "b", "c"]),
        ("e\u0301a", ["e\u0301", "a"]),
        ("हिन्दी", ["हि", "न्दी"]),
        ("क्षत्रिय", ["क्ष", "त्रि", "य"]),
        ("क़िला", ["क\u093cि", "ला"]),
        ("क्\u200dष", ["क्\u200dष"]),  # half form: still one
        ("क्\u200cष", ["क्\u200c", "ष"]),  # the non-joiner parts them
        ("বাংলাদেশ", ["বাং", "লা", "দে", "শ"]),
        ("தமிழ்", ["த", "மி", "ழ்"]),
        ("می\u200cخواهم", ["م", "ی\u200c", "خ", "و", "ا", "ه", "م"]),
        ("\u093fक", ["\u093f", "क"]),
        ("한국", ["한", "국"]),
    ],
)
def test_graphemes(text, clusters):
    assert graphemes(text) == clusters


@pytest.mark.parametrize("language", ["hi", "bn", "ta", "ar", "fa", "he", "vi", "el", "uk", "ko", "ja", "zh"])
def test_graphemes_are_those_of_an_independent_library(language):
    regex = pytest.importorskip("regex")
    wordfreq = pytest.importorskip("wordfreq")
    words = [normalize_label(word) for word in islice(wordfreq.iter_wordlist(language, "best"), 3000)]
    unlike = [word for word in words if graphemes(word) != regex.findall(r"\X", word)]
    assert not [word for word in unlike if not regex.search(r"[\p{Emoji_Presentation}\u1100-\u11ff]", word)]
    assert len(unlike) < 10


@pytest.mark.parametrize("language", [code for code in LANGUAGES if LANGUAGES[code].lists[0].kind == "cldr"])
def test_graphemes_of_names_are_those_of_an_independent_library(language):
    """Left out: words with viramas of Burmese, Khmer, and Chakma, which fuse consonants since Unicode 16 alone, and
    with the Syriac sign of abbreviation, which stands before its cluster."""
    regex = pytest.importorskip("regex")
    words = [normalize_label(word) for word in cldr_words(LANGUAGES[language].lists[0].language)]
    compared = [word for word in words if not {"\u1039", "\u17d2", "\U00011133", "\u070f"} & set(word)]
    assert len(compared) > 150
    assert not [word for word in compared if graphemes(word) != regex.findall(r"\X", word)]


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        ("aéßﬁ", "LATIN"),
        ("жЁ", "CYRILLIC"),
        ("ώς", "GREEK"),
        ("بگ\u064e", "ARABIC"),
        ("क\u093f\u094d", "DEVANAGARI"),
        ("漢かカ한", "EAST ASIAN"),
        ("1٣५.«ªº€", ""),
    ],
)
def test_script(characters, expected):
    assert {script(character) for character in characters} == {expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc1!", {"ltr"}), ("שלום1", {"rtl"}), ("سوق٣", {"rtl"}), ("aש", {"ltr", "rtl"}), ("12-3٣!", set()), ("", set())],
)
def test_directions(text, expected):
    assert directions(text) == expected


def test_marks():
    assert [is_mark(c) for c in "a\u0301\u093f\u094dक\u200d"] == [False, True, True, True, False, False]
