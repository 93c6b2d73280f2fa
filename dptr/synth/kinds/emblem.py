"""Round badges: text along the rim, or in two parts along its top and its bottom, around a picture or letters."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import backgrounds, colors, pixels
from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.kinds.arc import wrap
from dptr.synth.kinds.kind import NO_SIGN, Kind, Materials, on_ground, write_small
from dptr.synth.layout import Line, draw_word, paste

_RADIUS = 80.0  # pixels; radius of the circle through the middles of the letters
_MIN_LETTER_HEIGHT = 0.36  # least height of letters that can be read, as a share of the radius
_MAX_PART_ANGLE = np.deg2rad(150)  # largest angle that each of two parts spans
_LETTERS = "ABCDEGHKLMNOPRSTU"


def draw_emblem(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a badge. A text of several words may be split: one part along the top, the other along the bottom.

    Returns:
        None for fewer than three letters, for scripts that join their letters, and for texts that are too long.
    """
    if font is None or len(text) < 3 or needs_shaping(text):
        return None
    words = text.split()
    parts = [text]
    if len(words) > 1 and rng.random() < 0.7:
        cut = 1 + int(rng.integers(len(words) - 1))
        parts = [" ".join(words[:cut]), " ".join(words[cut:])]
    concave = [False, True] if len(parts) == 2 else [rng.random() < 0.3]
    spacing, letter_height = rng.uniform(0.02, 0.25), rng.uniform(0.45, 0.75) * _RADIUS
    max_angle = _MAX_PART_ANGLE if len(parts) == 2 else np.deg2rad(300)
    arcs = []
    for part, is_below in zip(parts, concave, strict=True):
        line = draw_word(font, part, spacing)
        size = min(letter_height, max_angle * _RADIUS * line.mask.shape[0] / line.mask.shape[1])
        if size < _MIN_LETTER_HEIGHT * _RADIUS:
            return None
        arcs.append((_scale_line(line, size), is_below))
    letter_height = max(line.mask.shape[0] for line, _ in arcs)
    badge_radius = _RADIUS + 0.5 * letter_height * rng.uniform(1.15, 1.5)
    side = int(2 * badge_radius) + 12
    mask = np.zeros((side, side), np.uint8)
    for line, is_below in arcs:
        arc = wrap(line, 0.0, is_below, _RADIUS)
        left = (side - arc.mask.shape[1]) // 2
        top = side / 2 - _RADIUS - line.mask.shape[0] / 2
        paste(mask, arc.mask, left, int(side - top - arc.mask.shape[0]) if is_below else int(top))
    ground, ink = _draw_badge(mask, badge_radius, letter_height, len(parts) == 1, materials, rng)
    box = (0, 0, side, side)
    if len(parts) == 1 and rng.random() < 0.4:
        left, top, width, height = cv2.boundingRect(mask)
        box = (left, top, left + width, top + height)
    letters = max(map(len, parts))
    return on_ground(
        Line(
            mask,
            box,
            np.full((len(text), 2, 2), np.nan),
            rows=(box[3] - box[1]) / letter_height,
            across=letters * (box[2] - box[0]) / max(line.mask.shape[1] for line, _ in arcs),
        ),
        ground,
        ink,
    )


def _scale_line(line: Line, height: float) -> Line:
    factor = height / line.mask.shape[0]
    size = max(1, round(line.mask.shape[1] * factor)), max(1, round(height))
    return Line(cv2.resize(line.mask, size, interpolation=cv2.INTER_AREA), (0, 0, *size), line.stops * factor)


def _draw_badge(
    mask: np.ndarray,
    badge_radius: float,
    letter_height: float,
    allow_letters: bool,
    materials: Materials,
    rng: Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Paint the badge below the letters.

    Args:
        mask: of the letters; it gives the size of the picture.
        badge_radius: radius of the badge in pixels.
        letter_height: height of the letters in pixels.
        allow_letters: whether the middle may show letters of another text.

    Returns:
        The ground, and the color (3,) of the letters.
    """
    side = mask.shape[0]
    middle = (side // 2, side // 2)
    wall, face = materials.color(rng), materials.color(rng)
    flat = rng.random() < 0.3  # printed or carved text, without a disc
    if materials.photographs and not flat and rng.random() < 0.4:
        ground = backgrounds.crop_photograph(rng, materials.photographs, side, side)
    else:
        ground = pixels.solid_color(face if flat else wall, side, side)
    ground += pixels.to_rgb(rng.uniform(0, 25) * pixels.smooth_noise(rng, side, side, int(rng.integers(3, 12))))
    ink = colors.pick_contrasting_color(rng, materials.palette, face, rng.uniform(90, 230))
    if rng.random() < 0.4:
        ink = colors.pick_black_or_white(rng, face)
    if not flat:
        ground = _paint_disc(ground, middle, badge_radius, face, -1)
    inner = _RADIUS - letter_height * rng.uniform(0.6, 0.75)
    if rng.random() < 0.75:
        ground = _paint_disc(ground, middle, badge_radius - rng.uniform(2, 6), ink, int(rng.integers(1, 5)))
    core = materials.color(rng)
    filled = rng.random() < 0.35
    if filled:
        ground = _paint_disc(ground, middle, inner, core, -1)
    elif rng.random() < 0.6:
        ground = _paint_disc(ground, middle, inner, ink, int(rng.integers(1, 4)))
    back = core if filled else face
    color = ink if rng.random() < 0.6 else materials.color(rng)
    if np.abs(color - back).mean() < 30:
        color = colors.pick_black_or_white(rng, back)
    _draw_middle(ground, inner, color, allow_letters, materials, rng)
    return ground, ink


def _draw_middle(
    ground: np.ndarray, inner: float, color: np.ndarray, allow_letters: bool, materials: Materials, rng: Generator
) -> None:
    """Draw a star, a blob, small letters of another text, or nothing in the middle of the badge, in place."""
    side, kind = ground.shape[0], rng.random()
    layer = np.zeros((side, side), np.uint8)
    center, radius = np.array((side, side)) / 2, rng.uniform(0.35, 0.75) * inner
    if kind < 0.3:
        points = 2 * int(rng.integers(4, 9))
        angles = np.arange(points) * 2 * np.pi / points - np.pi / 2
        lengths = np.where(np.arange(points) % 2, rng.uniform(0.35, 0.8), 1) * radius
        shape = center + lengths[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
        cv2.fillPoly(layer, [shape.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind < 0.65:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 14))))
        lengths = rng.uniform(0.3, 1, len(angles)) * radius
        shape = center + lengths[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
        cv2.fillPoly(layer, [shape.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind < 0.85 and allow_letters:
        letters = "".join(_LETTERS[i] for i in rng.integers(len(_LETTERS), size=int(rng.integers(2, 5))))
        if materials.fonts.can_draw(letters):
            font = materials.fonts.choose(letters, rng.random())
            width = 0.5 * inner * min(1.0, 2.5 / len(letters))
            write_small(ground, letters, font, color, width, (side / 2 - inner * 0.55, side / 2 - width / 2))
        return
    ground[:] = pixels.blend(ground, color, layer.astype(np.float32) / 255)


def _paint_disc(
    ground: np.ndarray, middle: tuple[int, int], radius: float, color: np.ndarray, thickness: int
) -> np.ndarray:
    """Paint a disc on the ground, or a ring if ``thickness`` (in pixels) is positive."""
    layer = np.zeros(ground.shape[:2], np.uint8)
    cv2.circle(layer, middle, max(1, round(radius)), 255, thickness, cv2.LINE_AA)
    return pixels.blend(ground, color, layer.astype(np.float32) / 255)


EMBLEM = Kind(
    draw_emblem,
    texts=("word", "word", "phrase"),
    effects={**NO_SIGN, "slant": 0.0, "emboss": 0.08, "cut": 0.0},
)
