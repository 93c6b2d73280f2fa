"""Words in several rows: letters one below the other, as on the signs of hotels and in upright CJK; words on two lines.

``Line.stops`` are NaN: the columns of such a crop do not tell its letters apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from PIL import ImageFont

from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.layout import SIZE, Line, draw_mask, draw_word, load_font, paste, trim

_WIDE = "\u2e80"  # from here on characters stand in squares of an em: CJK radicals, kana, Han, Hangul
# In upright CJK, dashes and brackets are turned, and stops move from the lower left to the upper right of their square
# (Unicode Standard Annex 50). Done here: fonts' own vertical forms are often missing, and wrong in some.
_TURNED = set("-()[]<>~\u2013\u2014\u2015\u2026\u2025\u30fc\u301c\uff5e\uff08\uff09\uff3b\uff3d\uff1d\uff1a\uff1b")
_TURNED |= set(map(chr, (*range(0x3008, 0x3012), *range(0x3014, 0x301C))))
_STOPS = set("\u3001\u3002\uff0c\uff0e")
_MIDDLE = -0.38  # of the em square, below the baseline as a share of an em: squares reach from -0.88 to 0.12


def can_stack_letters(text: str, height: int) -> bool:
    """Whether ``text`` can be read upright in a crop of ``height`` pixels: letters that do not join, two or more.

    A letter needs 6 pixels, one of CJK 10.
    """
    return not needs_shaping(text) and 2 <= len(text) <= height // (10 if _is_wide(text) else 6)


def stack_letters(font: Font, text: str, spacing: float) -> Line:
    """``text`` from top to bottom, each letter upright, on baselines of equal distance, their widths centered.

    Args:
        spacing: room between two rows as a share of an em.
    """
    face, wide = load_font(font.path, font.number, False), _is_wide(text)
    cells = [_cell(face, char, wide) for char in text]
    boxes = np.array([box for _, box in cells])
    (left, top), (right, bottom) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    pitch = max(bottom - top, SIZE if wide else SIZE / 2) + spacing * SIZE
    canvas = np.zeros((round(len(text) * pitch) + 4, round(right - left) + 4), np.uint8)
    for row, (glyph, box) in enumerate(cells):
        paste(canvas, glyph, round(box[0] - left), round(row * pitch + box[1] - top))
    return _rows(canvas, len(text), len(text), upright=True)


def stack_words(font: Font, text: str, rng: Generator) -> Line:
    """The words of ``text`` (two or more, parted by spaces) on two lines as equal in length as can be.

    Lines are centered or begin together; now and then the shorter one is set larger, to the width of the other.
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
    share = rng.choice((0.0, 0.5, 0.5))
    for mask, top in ((upper, 0), (lower, upper.shape[0] + gap)):
        paste(canvas, mask, int(share * (width - mask.shape[1])), top)
    return _rows(canvas, len(text), 2, upright=False)


def _cell(face: ImageFont.FreeTypeFont, char: str, wide: bool) -> tuple[np.ndarray, np.ndarray]:
    """A letter's mask and its box (left, top, right, bottom) around the middle of its width on the baseline."""
    middle, half = _MIDDLE * SIZE, face.getlength(char) / 2
    glyph, box = draw_mask(face, char)
    left, top, right, bottom = np.array(box) - (half, 0, half, 0)
    if wide and char in _TURNED:
        turned = middle - bottom, middle + left, middle - top, middle + right
        return np.rot90(glyph, -1), np.array(turned)
    raised = 0.55 * SIZE if wide and char in _STOPS else 0.0
    return glyph, np.array((left + raised, top - raised, right + raised, bottom - raised))


def _is_wide(text: str) -> bool:
    return any(char >= _WIDE for char in text)


def _enlarge(mask: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(mask, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR) if factor > 1 else mask


def _rows(canvas: np.ndarray, letters: int, rows: int, upright: bool) -> Line:
    mask, _ = trim(canvas)
    return Line(mask, (0, 0, mask.shape[1], mask.shape[0]), np.full((letters, 2, 2), np.nan), rows, upright)
