"""Masks of words: drawn with a font, spaced, thickened, bent, and set among pieces of other words.

Masks are uint8 (height, width), 255 = ink, drawn at ``SIZE`` pixels per em. Each function also updates the positions of
the letters.
"""

from __future__ import annotations

import functools
import itertools
import string
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFont

from dptr.synth.fonts import Font, needs_shaping
from dptr.text.direction import needs_reordering

SIZE = 60  # pixels per em
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two exclusive


@dataclass(frozen=True)
class Line:
    """A drawn word: its mask, its box, and the positions of its letters.

    Attributes:
        mask: uint8 (h, w), 255 = ink. Ink outside ``box`` belongs to neighboring words.
        box: the box of the word in the mask.
        stops: float64 (letters, 2, 2): for each letter two points, where it begins and where it ends, at half the
            height of the line; x and y in pixels of the mask. NaN for scripts that join their letters, for several
            rows, and for other words whose letters have no places from left to right.
        rows: how many rows of letters the word has, or how many would fit into its height.
        upright: whether letters stand one below the other, so that each row is one letter.
        across: how many letters fit into the word's width; None = all of them, or one if ``upright``.
        ground: uint8 (h, w, 3), RGB: the background that the letters stand on, of the size of the mask; None =
            ``paint`` draws the background.
        ink: (3,), RGB in [0, 255]: the letters' color on ``ground``; None = ``paint`` chooses it by contrast.
    """

    mask: np.ndarray
    box: Box
    stops: np.ndarray
    rows: float = 1
    upright: bool = False
    across: float | None = None
    ground: np.ndarray | None = None
    ink: np.ndarray | None = None


@functools.lru_cache(maxsize=4096)  # 45 kB each
def load_font(path: str, number: int, shaped: bool) -> ImageFont.FreeTypeFont:
    """Open face ``number`` of a font file at ``SIZE``, with the shaping engine raqm if ``shaped``."""
    engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, SIZE, index=number, layout_engine=engine)


def draw_word(font: Font, text: str, spacing: float = 0.0, with_stops: bool = True) -> Line:
    """Draw ``text`` and crop the mask to its ink.

    Args:
        spacing: extra space between letters in em; ignored for text that needs shaping.
        with_stops: whether to compute the positions of letters, which takes time; if off, ``stops`` may be NaN.
    """
    if spacing == 0 or len(text) == 1 or needs_shaping(text):
        face = load_font(font.path, font.number, needs_shaping(text))
        mask, box = draw_mask(face, text)
        ends = np.full(len(text) + 1, np.nan)
        if with_stops and not needs_shaping(text):
            ends = 1 - box[0] + _find_ends(font, text)
        return _make_line(mask, np.stack((ends[:-1], ends[1:]), 1))
    return draw_letters(font, text, spacing, np.zeros((len(text), 3)))


def draw_letters(font: Font, text: str, spacing: float, jitter: np.ndarray) -> Line:
    """Draw ``text`` letter by letter, without shaping, and crop the mask to its ink.

    Args:
        spacing: extra space between letters in em.
        jitter: (letters, 3): for each letter its rise in em, its counterclockwise rotation in radians, and its growth
            (0.1 = a tenth larger; the letter grows from the baseline).
    """
    face_key = font.path, font.number
    margin = SIZE
    advances = [
        _measure_advance(*face_key, char) * (1 + grow) + spacing * SIZE
        for char, grow in zip(text, jitter[:, 2], strict=True)
    ]
    starts = margin + np.cumsum([0.0, *advances])
    canvas = np.zeros((4 * SIZE, int(starts[-1]) + 2 * margin), np.uint8)
    for char, start, (rise, turn, grow) in zip(text, starts, jitter, strict=False):
        glyph, (left, top, right, bottom) = _draw_glyph(*face_key, char)
        if right <= left or bottom <= top:
            continue
        if turn or grow:
            glyph = _rotate(glyph, turn, 1 + grow)
            center = (left + right) / 2 * (1 + grow), (top + bottom) / 2 * (1 + grow)
            left, top = center[0] - glyph.shape[1] / 2, center[1] - glyph.shape[0] / 2
        paste(canvas, glyph, round(start + left), round(2.5 * SIZE + top - rise * SIZE))
    return _make_line(canvas, np.stack((starts[:-1], starts[1:] - spacing * SIZE), 1))


def _find_ends(font: Font, text: str) -> np.ndarray:
    """Where letters end without shaping, after a leading 0: float64 (letters + 1,), pixels from the line's start."""
    steps = [0.0, _measure_advance(font.path, font.number, text[0])]
    steps += [_measure_step(font.path, font.number, pair) for pair in map("".join, itertools.pairwise(text))]
    return np.cumsum(steps)


@functools.lru_cache(maxsize=2**16)
def _measure_advance(path: str, number: int, character: str) -> float:
    return load_font(path, number, False).getlength(character)


@functools.lru_cache(maxsize=2**14)  # about 30 MB
def _draw_glyph(path: str, number: int, character: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    return draw_mask(load_font(path, number, False), character)


@functools.lru_cache(maxsize=2**17)
def _measure_step(path: str, number: int, pair: str) -> float:
    """The advance of the second letter of a pair, including the kerning of the pair, in pixels."""
    return load_font(path, number, False).getlength(pair) - _measure_advance(path, number, pair[0])


def thicken(line: Line, pixels: int) -> Line:
    """``embolden`` for a line whose box is the whole mask."""
    mask = embolden(line.mask, pixels)
    margin = (mask.shape[1] - line.mask.shape[1]) / 2, (mask.shape[0] - line.mask.shape[0]) / 2
    return replace(line, mask=mask, box=(0, 0, mask.shape[1], mask.shape[0]), stops=np.add(line.stops, margin))


def embolden(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Make strokes thicker by ``pixels`` on each side, on a mask with as large a margin; thinner if negative.

    A mask that would lose more than 60 % of its ink is returned unchanged.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    if pixels < 0:
        thin = cv2.erode(mask, kernel)
        return thin if thin.sum() > 0.4 * mask.sum() else mask  # else hairlines would vanish
    return cv2.dilate(pad(mask, pixels, pixels), kernel)


def bend(line: Line, angle: float) -> Line:
    """Bend a line along an arc and crop the mask to the ink.

    Args:
        line: its box is the whole mask.
        angle: of the arc in radians; a positive angle bends the middle upwards.
    """
    height, width = line.mask.shape
    radius = width / abs(angle)
    half = abs(angle) / 2
    inner = radius - height / 2 if radius > height / 2 else 0.0
    outer = radius + height / 2
    out_width = int(np.ceil(2 * outer * np.sin(min(half, np.pi / 2))))
    out_height = int(np.ceil(outer - inner * np.cos(half)))
    x = np.arange(out_width, dtype=np.float32) - out_width / 2
    y = outer - np.arange(out_height, dtype=np.float32)
    distance = np.sqrt(x[None] ** 2 + y[:, None] ** 2)
    theta = np.arctan2(x[None], np.maximum(y[:, None], 1e-3))
    source_x = (theta * radius + width / 2).astype(np.float32)
    source_y = (outer - distance).astype(np.float32)
    if angle < 0:
        source_y = height - 1 - source_y[::-1]
        source_x = np.ascontiguousarray(source_x[::-1])
    turn = (line.stops[..., 0] - width / 2) / radius
    stops = np.stack((out_width / 2 + radius * np.sin(turn), outer - radius * np.cos(turn)), -1)
    if angle < 0:
        stops[..., 1] = out_height - 1 - stops[..., 1]
    mask = cv2.remap(line.mask, source_x, np.ascontiguousarray(source_y), cv2.INTER_LINEAR)
    mask, corner = trim(mask)
    return Line(mask, (0, 0, mask.shape[1], mask.shape[0]), stops - corner)


def wave(line: Line, amplitude: float, length: float, phase: float) -> Line:
    """Shift the column at x down by ``amplitude * sin(2 pi x / length + phase)`` and crop the mask to the ink.

    Args:
        line: its box is the whole mask.
        amplitude, length: in pixels.
        phase: in radians.
    """
    height, width = line.mask.shape
    margin = int(np.ceil(abs(amplitude)))

    def shift_at(x: np.ndarray) -> np.ndarray:
        return amplitude * np.sin(2 * np.pi * x / length + phase)

    x = np.arange(width, dtype=np.float32)
    source_y = np.arange(-margin, height + margin, dtype=np.float32)[:, None] - shift_at(x).astype(np.float32)
    source_x = np.ascontiguousarray(np.broadcast_to(x, source_y.shape))
    mask, corner = trim(cv2.remap(line.mask, source_x, source_y, cv2.INTER_LINEAR))
    stops = np.stack((line.stops[..., 0], line.stops[..., 1] + margin + shift_at(line.stops[..., 0])), -1)
    return replace(line, mask=mask, box=(0, 0, mask.shape[1], mask.shape[0]), stops=stops - corner)


def add_neighbors(line: Line, font: Font, text: str, rng: Generator) -> Line:
    """Add one to four random words of the same font: beside the word at a word space, above and below at a line space.

    Args:
        line: its box is the whole mask.
        text: the text of the line. Its characters make up the other words if it needs shaping, or if the font has no
            Latin letters.
    """
    height, width = line.mask.shape
    letters = [char for char in string.ascii_letters if char in font] or sorted(set(text))
    if needs_shaping(text):
        letters = list(dict.fromkeys(text))
    margin_y, margin_x = int(height * rng.uniform(0.9, 1.3)), int(SIZE * 1.5)
    canvas = np.zeros((height + 2 * margin_y, width + 2 * margin_x), np.uint8)
    canvas[margin_y : margin_y + height, margin_x : margin_x + width] = line.mask
    sides = rng.random(4) < (0.35, 0.35, 0.4, 0.4)  # left, right, above, below
    if not sides.any():
        sides[int(rng.integers(4))] = True
    gap = int(SIZE * rng.uniform(0.22, 0.5))
    line_gap = int(height * rng.uniform(0.12, 0.5))
    for side_index in np.flatnonzero(sides):
        is_beside = side_index < 2
        count = int(rng.integers(1, 4)) if is_beside else int(np.clip(rng.normal(len(text) * 1.3, 3), 2, 25))
        word = "".join(letters[i] for i in rng.integers(len(letters), size=count))
        other, _ = trim(draw_mask(load_font(font.path, font.number, needs_shaping(word)), word)[0])
        if is_beside:
            top = margin_y + (height - other.shape[0]) * int(rng.integers(0, 2))
            left = margin_x - gap - other.shape[1] if side_index == 0 else margin_x + width + gap
        else:
            top = margin_y - line_gap - other.shape[0] if side_index == 2 else margin_y + height + line_gap
            left = margin_x + int(rng.integers(-SIZE, max(1, width // 3)))
        paste(canvas, other, left, top)
    box = (margin_x, margin_y, margin_x + width, margin_y + height)
    return Line(canvas, box, np.add(line.stops, (margin_x, margin_y)))


def pad(mask: np.ndarray, x: int, y: int) -> np.ndarray:
    """Add empty margins: ``x`` pixels on the left and the right, ``y`` above and below."""
    return cv2.copyMakeBorder(mask, y, y, x, x, cv2.BORDER_CONSTANT, value=0)


def draw_mask(face: ImageFont.FreeTypeFont, text: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Draw ``text`` with ``face``; the line runs from right to left as ``line_direction`` says.

    Returns:
        A mask, uint8 (height, width), with a margin of one pixel around the ink; and the box of the ink (left, top,
        right, bottom) relative to the start of the baseline.
    """
    glyphs, (left, top) = face.getmask2(text, anchor="ls", direction=line_direction(face, text))
    width, height = glyphs.size
    image = Image.new("L", (max(1, width + 2), max(1, height + 2)))
    image.im.paste(glyphs, (1, 1, width + 1, height + 1))
    return np.asarray(image), (left, top, left + width, top + height)


def line_direction(face: ImageFont.FreeTypeFont, text: str) -> Literal["rtl"] | None:
    """The direction for Pillow: "rtl" if ``text`` has letters from right to left or Arabic digits, else its default.

    By default Pillow looks at the first letter. That is wrong for ``$١٢``, which has no letters but runs from right to
    left.
    """
    return "rtl" if face.layout_engine == ImageFont.Layout.RAQM and needs_reordering(text) else None


def _rotate(glyph: np.ndarray, turn: float, scale: float) -> np.ndarray:
    """Scale ``glyph``, rotate it counterclockwise by ``turn`` radians, and center it on a canvas that fits it."""
    height, width = glyph.shape
    extent = np.array([[abs(np.cos(turn)), abs(np.sin(turn))], [abs(np.sin(turn)), abs(np.cos(turn))]]) * scale
    out = np.ceil(extent @ (width, height)).astype(int) + 2
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), np.rad2deg(turn), scale)
    matrix[:, 2] = matrix[:, 2] + (out - (width, height)) / 2
    return cv2.warpAffine(glyph, matrix, (int(out[0]), int(out[1])))


def trim(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Crop a mask to its ink, or to one empty pixel if there is none; also return the upper left corner (x, y)."""
    left, top, width, height = cv2.boundingRect(mask)
    return (mask[top : top + height, left : left + width] if width else np.zeros((1, 1), np.uint8)), (left, top)


def _make_line(mask: np.ndarray, ends: np.ndarray) -> Line:
    """A line cropped to its ink; ``ends`` (letters, 2) holds the x at which each letter begins and ends."""
    mask, (left, _) = trim(mask)
    height, width = mask.shape
    return Line(mask, (0, 0, width, height), np.stack((ends - left, np.full_like(ends, height / 2)), -1))


def paste(canvas: np.ndarray, mask: np.ndarray, left: int, top: int) -> None:
    """Draw ``mask`` on ``canvas`` in place by the maximum of both; the parts outside the canvas are cut off."""
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + mask.shape[1], canvas.shape[1]), min(top + mask.shape[0], canvas.shape[0])
    if x0 < x1 and y0 < y1:
        part = canvas[y0:y1, x0:x1]
        np.maximum(part, mask[y0 - top : y1 - top, x0 - left : x1 - left], out=part)
