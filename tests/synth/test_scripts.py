"""Scripts with rules of their own: shaped, joined and drawn in their direction, with the fonts of ``tests/fonts``."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont, features

from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.synth import Font, FontIndex, Renderer, layout
from dptr.synth.layout import SIZE, draw_word
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.unicode import JOINERS

SAMPLES = {"ar": "سلامعبجد", "he": "שלום", "hi": "कषतरमडक्ि", "bn": "কষতরজঞ্ি", "ta": "தமிழ்", "ru": "жЯф", "el": "λόγ",
           "de": "ßÄö", "zh": "的一是", "ja": "のトの日", "ko": "이다의"}  # fmt: skip
shaped = pytest.mark.skipif(not features.check("raqm"), reason="Pillow without raqm draws no shaped script")


def fonts_of(code: str, fonts: list[Font]) -> list[Font]:
    """Those that draw a script's letters."""
    return [font for font in fonts if all(letter in font for letter in SAMPLES[code])]


@pytest.fixture
def font(request, script_fonts) -> Font:
    """The first font of ``tests/fonts`` for a script."""
    return fonts_of(request.param, script_fonts)[0]


def unshaped(font: Font, text: str) -> np.ndarray:
    """The nominal glyphs of the letters, one after the other from left to right."""
    face = ImageFont.truetype(font.path, SIZE, index=font.number, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = face.getbbox(text)
    image = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, 255, face)
    return np.asarray(image)


def parts(mask: np.ndarray) -> int:
    """Runs of columns with ink."""
    ink = (mask > 100).any(0).astype(int)
    return int((np.diff(ink, prepend=0) == 1).sum())


@shaped
@pytest.mark.parametrize("font", ["ar"], indirect=True)
def test_arabic_letters_join(font):
    """Initial, medial and final forms are narrower than the isolated ones, and touch: معجب is one stroke."""
    joined, isolated = draw_word(font, "معجب").mask, unshaped(font, "معجب")
    assert joined.shape[1] < 0.9 * isolated.shape[1]
    assert parts(joined) == 1 < parts(isolated)


@shaped
@pytest.mark.parametrize("font", ["ar"], indirect=True)
def test_a_letter_that_does_not_join_leaves_a_gap(font):
    assert parts(draw_word(font, "درد").mask) >= 2


@shaped
@pytest.mark.parametrize(
    ("font", "conjunct", "apart"),
    [("hi", "क्ष", "कष"), ("hi", "त्र", "तर"), ("bn", "ক্ষ", "কষ"), ("bn", "জ্ঞ", "জঞ")],
    indirect=["font"],
)
def test_conjuncts_form(font, conjunct, apart):
    """A conjunct is one glyph, narrower than its consonants side by side, and its virama is not drawn."""
    width = draw_word(font, conjunct).mask.shape[1]
    assert width < 0.85 * draw_word(font, apart).mask.shape[1]
    assert width < 0.85 * unshaped(font, conjunct).shape[1]


@shaped
@pytest.mark.parametrize(("font", "sign", "consonant"), [("hi", "ि", "क"), ("bn", "ি", "ক")], indirect=["font"])
def test_a_vowel_sign_written_after_is_drawn_before_its_consonant(font, sign, consonant):
    """Drawn is what the nominal glyphs give in the order sign, consonant, not in that of the text."""
    drawn = draw_word(font, consonant + sign).mask
    before, after = (likeness(drawn, unshaped(font, text)) for text in (sign + consonant, consonant + sign))
    assert before > after + 0.15


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of their ink, the other stretched to the one's size."""
    left, top, width, height = cv2.boundingRect(other)
    other = cv2.resize(other[top : top + height, left : left + width], one.shape[::-1], interpolation=cv2.INTER_AREA)
    first, second = one > 100, other > 100
    return float((first & second).sum() / (first | second).sum())


@shaped
@pytest.mark.parametrize(("font", "tall", "low"), [("ar", "ا", "د"), ("he", "ל", "ה")], indirect=["font"])
def test_the_first_letter_stands_right(font, tall, low):
    """A label is in logical order: the ink of its first letter, here told by its height, lies right."""
    for text, right in ((tall + low, True), (low + tall, False)):
        mask = draw_word(font, text).mask
        columns = np.flatnonzero((mask[: mask.shape[0] // 8] > 100).any(0))
        assert (columns.mean() > mask.shape[1] / 2) == right


@shaped
@shaped
@pytest.mark.parametrize("font", ["ar"], indirect=True)
@pytest.mark.parametrize("text", ["٢٥٪", "٪٢٥", "٣٤/١٢"])
def test_arabic_digits_without_letters_stand_as_beside_letters(font, text):
    assert all(character in font for character in text)
    face = ImageFont.truetype(font.path, SIZE, index=font.number, layout_engine=ImageFont.Layout.RAQM)
    left, top, right, bottom = face.getbbox("\u200f" + text)  # Unicode's mark of a line from right to left
    expected = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(expected).text((1 - left, 1 - top), "\u200f" + text, 255, face)
    drawn = draw_word(font, text).mask
    assert np.array_equal(drawn, layout.trim(np.asarray(expected))[0])


@pytest.mark.parametrize("code", SAMPLES)
def test_every_character_drawn_is_in_the_font(code, script_fonts):
    """fontTools' character map of the chosen file holds each letter of the word."""
    pytest.importorskip("wordfreq")
    fonts = fonts_of(code, script_fonts)
    words = SourceConfig(kind="wordfreq", language=code, top=5000)
    corpus = Corpus(CorpusConfig(sources=(words, SourceConfig(kind="pattern"))), resolve_charset(code), 25, seed=0)
    source = RenderedWords(corpus, Renderer(RenderConfig(), 0, FontIndex(fonts)))
    maps = {font.path: set(TTFont(font.path, fontNumber=font.number, lazy=True).getBestCmap()) for font in fonts}
    own = 0
    for index in range(200):
        word = source.word(index)
        font = source.renderer.fonts.choose(word, index / 200)
        assert {ord(c) for c in word if c != " " and c not in JOINERS} <= maps[font.path], (word, font.path)
        own += any(ord(c) > 0x7F for c in word)
    assert own > 10
