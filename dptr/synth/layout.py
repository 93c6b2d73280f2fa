"""Words as masks: drawn with a font, spaced, thickened, bent, and set among pieces of other words.

Masks are uint8 (height, width), 255 = ink, drawn at ``SIZE`` pixels an em. Where each letter stands is carried along.
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

SIZE = 60
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels, the last two exclusive


@dataclass(frozen=True)
class Line:
    """A mask, the box of the word in it, and where its letters stand; what lies outside the box belongs to neighbors.

    Attributes:
        stops: float64 (letters, 2, 2): where each letter begins and where it ends, halfway up the line; x and y in
            pixels of the mask. NaN for scripts that join their letters, and where there are several rows.
        rows: how many rows of letters lie one below the other, or would fit into the word's height.
        upright: each row is one letter.
        across: how many letters fit into the word's width; None = all of them, or one where they are upright.
        ground: uint8 (h, w, 3), RGB: what the letters stand on, drawn already, as large as the mask; None = it is left
            to ``paint``.
        ink: (3,), RGB in [0, 255]: the letters' color on that ground; None = chosen by its contrast.
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
    """An opened font at ``SIZE``; ``shaped`` asks for the raqm engine."""
    engine = ImageFont.Layout.RAQM if shaped else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, SIZE, index=number, layout_engine=engine)


def draw_word(font: Font, text: str, spacing: float = 0.0, with_stops: bool = True) -> Line:
    """``text``, cut to its ink.

    Args:
        spacing: extra room between letters as a share of an em; ignored for scripts that join their letters.
        with_stops: whether it is looked up where letters stand, which takes a while; else the stops may be NaN.
    """
    if spacing == 0 or len(text) == 1 or needs_shaping(text):
        face = load_font(font.path, font.number, needs_shaping(text))
        mask, box = draw_mask(face, text)
        ends = np.full(len(text) + 1, np.nan)
        if with_stops and not needs_shaping(text):
            ends = 1 - box[0] + _ends(font, text)
        return _make_line(mask, np.stack((ends[:-1], ends[1:]), 1))
    return draw_letters(font, text, spacing, np.zeros((len(text), 3)))


def draw_letters(font: Font, text: str, spacing: float, jitter: np.ndarray) -> Line:
    """``text`` letter by letter (no shaping), cut to its ink.

    Args:
        spacing: extra room between letters as a share of an em.
        jitter: (letters, 3): each one's rise as a share of an em, turn in radians, and growth (0.1 = a tenth larger,
            standing on the baseline).
    """
    key = font.path, font.number
    edge = SIZE
    advances = [
        _advance(*key, char) * (1 + grow) + spacing * SIZE for char, grow in zip(text, jitter[:, 2], strict=True)
    ]
    starts = edge + np.cumsum([0.0, *advances])
    canvas = np.zeros((4 * SIZE, int(starts[-1]) + 2 * edge), np.uint8)
    for char, start, (rise, turn, grow) in zip(text, starts, jitter, strict=False):
        glyph, (left, top, right, bottom) = _glyph(*key, char)
        if right <= left or bottom <= top:
            continue
        if turn or grow:
            glyph = _rotate(glyph, turn, 1 + grow)
            center = (left + right) / 2 * (1 + grow), (top + bottom) / 2 * (1 + grow)
            left, top = center[0] - glyph.shape[1] / 2, center[1] - glyph.shape[0] / 2
        paste(canvas, glyph, round(start + left), round(2.5 * SIZE + top - rise * SIZE))
    return _make_line(canvas, np.stack((starts[:-1], starts[1:] - spacing * SIZE), 1))


def _ends(font: Font, text: str) -> np.ndarray:
    """Where each letter ends, not shaped, with a leading 0: float64 (letters + 1), pixels from the line's start."""
    steps = [0.0, _advance(font.path, font.number, text[0])]
    steps += [_step(font.path, font.number, pair) for pair in map("".join, itertools.pairwise(text))]
    return np.cumsum(steps)


@functools.lru_cache(maxsize=2**16)
def _advance(path: str, number: int, character: str) -> float:
    return load_font(path, number, False).getlength(character)


@functools.lru_cache(maxsize=2**14)  # some 30 MB
def _glyph(path: str, number: int, character: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    return draw_mask(load_font(path, number, False), character)


@functools.lru_cache(maxsize=2**17)
def _step(path: str, number: int, pair: str) -> float:
    """How far the second letter of a pair moves the end, kerning with the first included."""
    return load_font(path, number, False).getlength(pair) - _advance(path, number, pair[0])


def thicken(line: Line, pixels: int) -> Line:
    """``embolden`` for a line that fills its mask."""
    mask = embolden(line.mask, pixels)
    margin = (mask.shape[1] - line.mask.shape[1]) / 2, (mask.shape[0] - line.mask.shape[0]) / 2
    return replace(line, mask=mask, box=(0, 0, mask.shape[1], mask.shape[0]), stops=np.add(line.stops, margin))


def embolden(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Strokes thicker by ``pixels`` on each side (thinner where negative), on a margin that fits."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(pixels) + 1,) * 2)
    if pixels < 0:
        thin = cv2.erode(mask, kernel)
        return thin if thin.sum() > 0.4 * mask.sum() else mask  # hair lines would vanish
    return cv2.dilate(pad(mask, pixels, pixels), kernel)


def bend(line: Line, angle: float) -> Line:
    """Letters along an arc that spans ``angle`` radians; positive bends the middle upwards. Cut to the ink.

    The line fills its mask.
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
    """Letters on a wave: the column at x moves down by ``amplitude * sin(2 pi x / length + phase)``. Cut to the ink.

    The line fills its mask.

    Args:
        amplitude, length: pixels.
    """
    height, width = line.mask.shape
    edge = int(np.ceil(abs(amplitude)))

    def fall(x: np.ndarray) -> np.ndarray:
        return amplitude * np.sin(2 * np.pi * x / length + phase)

    x = np.arange(width, dtype=np.float32)
    source_y = np.arange(-edge, height + edge, dtype=np.float32)[:, None] - fall(x).astype(np.float32)
    source_x = np.ascontiguousarray(np.broadcast_to(x, source_y.shape))
    mask, corner = trim(cv2.remap(line.mask, source_x, source_y, cv2.INTER_LINEAR))
    stops = np.stack((line.stops[..., 0], line.stops[..., 1] + edge + fall(line.stops[..., 0])), -1)
    return replace(line, mask=mask, box=(0, 0, mask.shape[1], mask.shape[0]), stops=stops - corner)


def add_neighbors(line: Line, font: Font, text: str, rng: Generator) -> Line:
    """Set the word among others in its font: beside it a space away, above and below a line away.

    The line fills its mask.
    """
    height, width = line.mask.shape
    letters = [char for char in string.ascii_letters if char in font] or sorted(set(text))
    if needs_shaping(text):
        letters = list(dict.fromkeys(text))
    rise, side = int(height * rng.uniform(0.9, 1.3)), int(SIZE * 1.5)
    canvas = np.zeros((height + 2 * rise, width + 2 * side), np.uint8)
    canvas[rise : rise + height, side : side + width] = line.mask
    where = rng.random(4) < (0.35, 0.35, 0.4, 0.4)  # left, right, above, below
    if not where.any():
        where[int(rng.integers(4))] = True
    gap = int(SIZE * rng.uniform(0.22, 0.5))
    lead = int(height * rng.uniform(0.12, 0.5))
    for side_index in np.flatnonzero(where):
        beside = side_index < 2
        count = int(rng.integers(1, 4)) if beside else int(np.clip(rng.normal(len(text) * 1.3, 3), 2, 25))
        word = "".join(letters[i] for i in rng.integers(len(letters), size=count))
        other, _ = trim(draw_mask(load_font(font.path, font.number, needs_shaping(word)), word)[0])
        if beside:
            top = rise + (height - other.shape[0]) * int(rng.integers(0, 2))
            left = side - gap - other.shape[1] if side_index == 0 else side + width + gap
        else:
            top = rise - lead - other.shape[0] if side_index == 2 else rise + height + lead
            left = side + int(rng.integers(-SIZE, max(1, width // 3)))
        paste(canvas, other, left, top)
    return Line(canvas, (side, rise, side + width, rise + height), np.add(line.stops, (side, rise)))


def pad(mask: np.ndarray, x: int, y: int) -> np.ndarray:
    """Empty margins of ``x`` and ``y`` pixels."""
    return cv2.copyMakeBorder(mask, y, y, x, x, cv2.BORDER_CONSTANT, value=0)


def draw_mask(face: ImageFont.FreeTypeFont, text: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """``text`` as ``face`` draws it; on a line from right to left where it holds such letters, or Arabic digits.

    Returns:
        uint8 (height, width), with a pixel around its ink; and the box of its ink (left, top, right, bottom) from the
        start of its baseline.
    """
    glyphs, (left, top) = face.getmask2(text, anchor="ls", direction=line_direction(face, text))
    width, height = glyphs.size
    image = Image.new("L", (max(1, width + 2), max(1, height + 2)))
    image.im.paste(glyphs, (1, 1, width + 1, height + 1))
    return np.asarray(image), (left, top, left + width, top + height)


def line_direction(face: ImageFont.FreeTypeFont, text: str) -> Literal["rtl"] | None:
    """For Pillow, which without it looks at the first letter: ``$١٢`` has none, and is no line from left to right."""
    return "rtl" if face.layout_engine == ImageFont.Layout.RAQM and needs_reordering(text) else None


def _rotate(glyph: np.ndarray, turn: float, scale: float) -> np.ndarray:
    """``glyph`` turned by ``turn`` radians and scaled, on a canvas that holds it, its center kept."""
    height, width = glyph.shape
    side = np.array([[abs(np.cos(turn)), abs(np.sin(turn))], [abs(np.sin(turn)), abs(np.cos(turn))]]) * scale
    out = np.ceil(side @ (width, height)).astype(int) + 2
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), np.rad2deg(turn), scale)
    matrix[:, 2] = matrix[:, 2] + (out - (width, height)) / 2
    return cv2.warpAffine(glyph, matrix, (int(out[0]), int(out[1])))


def trim(mask: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Cut away empty rows and columns (one empty pixel where there is no ink at all); and the corner's x and y."""
    left, top, width, height = cv2.boundingRect(mask)
    return (mask[top : top + height, left : left + width] if width else np.zeros((1, 1), np.uint8)), (left, top)


def _make_line(mask: np.ndarray, ends: np.ndarray) -> Line:
    """A line cut to its ink; ``ends`` (letters, 2) are the x where letters begin and end."""
    mask, (left, _) = trim(mask)
    height, width = mask.shape
    return Line(mask, (0, 0, width, height), np.stack((ends - left, np.full_like(ends, height / 2)), -1))


def paste(canvas: np.ndarray, mask: np.ndarray, left: int, top: int) -> None:
    """Brighten ``canvas`` by ``mask`` at a place that may lie partly outside."""
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + mask.shape[1], canvas.shape[1]), min(top + mask.shape[0], canvas.shape[0])
    if x0 < x1 and y0 < y1:
        part = canvas[y0:y1, x0:x1]
        np.maximum(part, mask[y0 - top : y1 - top, x0 - left : x1 - left], out=part)
