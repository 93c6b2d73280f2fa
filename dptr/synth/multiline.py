"""Text in several rows: letters one below the other, as on hotel signs and in vertical CJK, and words on two lines.

``Line.stops`` are NaN, because a column of such a crop shows several letters.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from PIL import ImageFont

from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.layout import SIZE, Line, draw_mask, draw_word, load_font, paste, trim

_FIRST_WIDE = "\u2e80"  # the first of the characters that fill a square of an em: CJK radicals, kana, Han, Hangul
# In vertical CJK text, dashes and brackets are rotated, and commas and full stops move from the lower left to the upper
# right of their square (Unicode Standard Annex 50). The vertical forms of fonts are not used: they are often missing,
# and wrong in some fonts.
_ROTATED = set("-()[]<>~\u2013\u2014\u2015\u2026\u2025\u30fc\u301c\uff5e\uff08\uff09\uff3b\uff3d\uff1d\uff1a\uff1b")
_ROTATED |= set(map(chr, (*range(0x3008, 0x3012), *range(0x3014, 0x301C))))
_STOPS = set("\u3001\u3002\uff0c\uff0e")
_SQUARE_CENTER = -0.38  # y of the center of an em square, in em below the baseline: squares reach from -0.88 to 0.12


def can_stack_letters(text: str, height: int) -> bool:
    """Whether ``text`` can be read with its letters one below the other in a crop of ``height`` pixels.

    It needs at least two letters, in a script that does not join them. A letter needs 6 pixels; in text with CJK, 10.
    """
    return not needs_shaping(text) and 2 <= len(text) <= height // (10 if _is_wide(text) else 6)


def stack_letters(font: Font, text: str, spacing: float) -> Line:
    """Draw ``text`` from top to bottom: letters are upright and centered, and their baselines are evenly spaced.

    Args:
        spacing: extra space between two rows in em.
    """
    face, wide = load_font(font.path, font.number, False), _is_wide(text)
    cells = [_cell(face, char, wide) for char in text]
    boxes = np.array([box for _, box in cells])
    (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    pitch = max(bottom - top, SIZE if wide else SIZE / 2) + spacing * SIZE
    canvas = np.zeros((round(len(text) * pitch) + 4, round(right - left) + 4), np.uint8)
    for row, (glyph, box) in enumerate(cells):
        paste(canvas, glyph, round(box[0] - left), round(row * pitch + box[1] - top))
    return _make_rows(canvas, len(text), len(text), upright=True)


def stack_words(font: Font, text: str, rng: Generator) -> Line:
    """Draw ``text`` on two lines whose lengths are as equal as possible.

    Lines are centered or aligned on the left. In three of ten crops the shorter line is enlarged towards the width of
    the longer one, by a factor of at most 1.6.

    Args:
        text: two or more words, separated by spaces.
    """
    words = text.split()
    lines = min(
        ((" ".join(words[:count]), " ".join(words[count:])) for count in range(1, len(words))),
        key=lambda pair: max(map(len, pair)),
    )
    masks = [draw_word(font, line).mask for line in lines]
    if rng.random() < 0.3:
        width = max(mask.shape[1] for mask in masks)
        masks = [_enlarge(mask, min(1.6, width / mask.shape[1])) for mask in masks]
    (upper, lower), gap = masks, int(rng.uniform(0.1, 0.45) * SIZE)
    width = max(upper.shape[1], lower.shape[1])
    canvas = np.zeros((upper.shape[0] + gap + lower.shape[0], width), np.uint8)
    alignment = rng.choice((0.0, 0.5, 0.5))
    for mask, top in ((upper, 0), (lower, upper.shape[0] + gap)):
        paste(canvas, mask, int(alignment * (width - mask.shape[1])), top)
    return _make_rows(canvas, len(text), 2, upright=False)


def _cell(face: ImageFont.FreeTypeFont, char: str, wide: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw a letter of a stack: its mask, and its box (left, top, right, bottom).

    The origin of the box is the middle of the letter's width on the baseline. If ``wide``, punctuation takes its form
    in vertical CJK text.
    """
    middle, half = _SQUARE_CENTER * SIZE, face.getlength(char) / 2
    glyph, box = draw_mask(face, char)
    left, top, right, bottom = np.array(box) - (half, 0, half, 0)
    if wide and char in _ROTATED:
        rotated_box = middle - bottom, middle + left, middle - top, middle + right
        return np.rot90(glyph, -1), np.array(rotated_box)
    raised = 0.55 * SIZE if wide and char in _STOPS else 0.0
    return glyph, np.array((left + raised, top - raised, right + raised, bottom - raised))


def _is_wide(text: str) -> bool:
    return any(char >= _FIRST_WIDE for char in text)


def _enlarge(mask: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(mask, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR) if factor > 1 else mask


def _make_rows(canvas: np.ndarray, letters: int, rows: int, upright: bool) -> Line:
    """A line cropped to its ink, with NaN as stops."""
    mask, _ = trim(canvas)
    return Line(mask, (0, 0, mask.shape[1], mask.shape[0]), np.full((letters, 2, 2), np.nan), rows, upright)
