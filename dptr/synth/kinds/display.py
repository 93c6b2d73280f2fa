"""Readings on luminous or liquid crystal displays: of seven or fourteen segments, dot matrices, and screens."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import layout, pixels
from dptr.synth.fonts import Font
from dptr.synth.kinds import dot_matrix, segments
from dptr.synth.kinds.kind import NO_SIGN, Kind, Materials, enlarge, on_ground, stretch, write_small
from dptr.synth.layout import Line

# RGB of lamps, of liquid crystals without a backlight, and of liquid crystals with one.
_LAMPS = ((255, 30, 20), (255, 45, 30), (60, 255, 70), (40, 160, 255), (90, 230, 255), (255, 170, 20), (235, 245, 255),
          (120, 235, 255), (250, 240, 60))  # fmt: skip
_CRYSTALS = ((150, 160, 140), (170, 175, 165), (195, 195, 190), (120, 125, 120), (95, 105, 115), (140, 170, 185),
             (150, 150, 130), (215, 220, 215))  # fmt: skip
_LIT_CRYSTALS = ((70, 225, 90), (140, 240, 90), (40, 130, 255), (60, 190, 255), (20, 70, 240), (255, 190, 60))
_UNITS = (
    "mmHg",
    "bpm",
    "%",
    "kg",
    "C",
    "F",
    "SpO2",
    "PR",
    "min",
    "V",
    "A",
    "kWh",
    "Hz",
    "PM",
    "AM",
    "SYS",
    "DIA",
    "lb",
)


@dataclass(frozen=True)
class _Look:
    """The colors of a display."""

    ground: np.ndarray  # (3,), RGB
    ink: np.ndarray  # (3,), RGB
    unlit: float  # opacity of unlit segments: 0 = color of the ground, 1 = color of the ink
    shines: bool  # whether the ink emits light


def draw_display(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a reading on a display: with segments or dots if these can show the text, else on a screen."""
    if font is None:
        return None
    kind = rng.random()
    shapes: np.ndarray | None = None
    screen = False
    if kind < 0.72 and segments.can_draw(text, segments.SEVEN):
        line, shapes = _draw_segments(text, segments.SEVEN, rng)
    elif kind < 0.82 and segments.can_draw(text, segments.FOURTEEN):
        line, shapes = _draw_segments(text, segments.FOURTEEN, rng)
    elif kind < 0.9 and dot_matrix.can_draw(text):
        line = dot_matrix.draw_dots(text, rng.uniform(0.38, 0.52), rng.uniform(0.8, 1.1))
    else:
        screen = True
        line = stretch(layout.draw_word(font, text, rng.uniform(0, 0.08)), rng.uniform(0.75, 1.0))
    return _paint_display(line, shapes, _choose_look(rng, screen), materials, rng)


def _draw_segments(text: str, table: dict[str, str], rng: Generator) -> tuple[Line, np.ndarray]:
    """Draw ``text`` with segments of random proportions; see ``segments.draw_segments`` for the result."""
    thickness, width = rng.uniform(0.09, 0.17), rng.uniform(0.45, 0.62)
    gap = rng.uniform(0.05, 0.35) if rng.random() < 0.8 else rng.uniform(0.35, 0.6)
    if table is segments.SEVEN:
        table = {**table, **segments.VARIANTS[int(rng.integers(len(segments.VARIANTS)))]}
    else:
        thickness, width, gap = rng.uniform(0.07, 0.11), rng.uniform(0.6, 0.75), min(gap, 0.4)
    slant = rng.choice((0.0, 0.0, rng.uniform(0.03, 0.18)))
    return segments.draw_segments(text, table, width, thickness, gap, slant, rng.uniform(0.08, 0.28))


def _choose_look(rng: Generator, screen: bool) -> _Look:
    def near(color: tuple[int, int, int], spread: float) -> np.ndarray:
        return np.clip(np.array(color) * np.exp(rng.normal(0, 2 * spread)) + rng.normal(0, 100 * spread, 3), 0, 255)

    kind = rng.random()
    unlit = float(rng.choice((0.0, rng.uniform(0.02, 0.12))))
    if kind < 0.38 or screen:
        lamp = near(_LAMPS[int(rng.integers(len(_LAMPS)))], 0.1)
        dark = rng.uniform(0, 45) + 0.08 * rng.random() * lamp
        return _Look(dark, lamp, unlit, True)
    if kind < 0.46:  # light digits on a dark crystal, or on a blue one with a backlight
        blue = rng.random() < 0.5
        ground = near((30, 60, 220), 0.2) if blue else np.full(3, rng.uniform(25, 70))
        return _Look(ground, np.full(3, rng.uniform(200, 255)), unlit, False)
    lit = rng.random() < 0.3
    crystals = _LIT_CRYSTALS if lit else _CRYSTALS
    ground = near(crystals[int(rng.integers(len(crystals)))], 0.1 if lit else 0.08)
    ink = ground * rng.uniform(0.08, 0.55) + rng.uniform(0, 15)
    return _Look(ground, ink, unlit, False)


def _paint_display(line: Line, shapes: np.ndarray | None, look: _Look, materials: Materials, rng: Generator) -> Line:
    """Paint the display around a line.

    Args:
        shapes: mask of all segments, lit or not, of the size of the line's mask; None = the display has no segments.
    """
    margins = tuple(rng.uniform(0.45, 0.8, 4))
    if shapes is not None:
        shapes = enlarge(Line(shapes, line.box, line.stops), margins).mask
    line = enlarge(line, margins)
    height, width = line.mask.shape
    ground = pixels.solid_color(look.ground, height, width)
    if rng.random() < 0.6:
        ground = ground * pixels.to_rgb(1 - rng.uniform(0.05, 0.35) * pixels.linear_gradient(rng, height, width))
    if shapes is not None and look.unlit:
        ground = pixels.blend(ground, look.ink, look.unlit * shapes.astype(np.float32) / 255)
    ink = line.mask.astype(np.float32) / 255
    if look.shines:
        for sigma, max_opacity in ((rng.uniform(2, 5), 0.7), (rng.uniform(8, 16), 0.5)):
            glow = cv2.GaussianBlur(ink, (0, 0), sigma)
            ground = pixels.blend(ground, look.ink, np.minimum(rng.uniform(0, max_opacity) * glow, 1))
    elif rng.random() < 0.5:  # the segments cast a shadow on the back of the display
        shift = np.array([[1, 0, rng.uniform(-3, 3)], [0, 1, rng.uniform(0.5, 4)]], np.float32)
        shadow = cv2.warpAffine(ink, shift, (width, height))
        ground = pixels.blend(ground, look.ink, rng.uniform(0.08, 0.3) * shadow)
    ground = np.ascontiguousarray(ground)
    if shapes is not None and rng.random() < 0.25:
        _write_neighbor(ground, line, look, rng)
    if rng.random() < 0.3:
        _write_unit(ground, line, look, materials, rng)
    if rng.random() < 0.55:
        ground = _set_in_bezel(ground, line, rng)
    color = look.ink
    if look.shines and rng.random() < 0.4:  # overexposed
        color = color + rng.uniform(0.2, 0.8) * (255 - color)
    return on_ground(line, ground, color)


def _write_neighbor(ground: np.ndarray, line: Line, look: _Look, rng: Generator) -> None:
    """Write another reading above or below on ``ground``, in place; the crop shows at most a part of it."""
    _, top, _, bottom = line.box
    text = "".join(str(digit) for digit in rng.integers(10, size=int(rng.integers(1, 5))))
    other, _ = _draw_segments(text, segments.SEVEN, rng)
    gap = rng.uniform(0.25, 0.5) * layout.SIZE
    y = bottom + gap if rng.random() < 0.5 else top - gap - other.mask.shape[0]
    layer = np.zeros(ground.shape[:2], np.uint8)
    layout.paste(layer, other.mask, int(line.box[0] + rng.uniform(-0.3, 0.6) * layout.SIZE), int(y))
    ground[:] = pixels.blend(ground, look.ink, layer.astype(np.float32) / 255)


def _write_unit(ground: np.ndarray, line: Line, look: _Look, materials: Materials, rng: Generator) -> None:
    """Write a unit beside or above the reading on ``ground``, in place, too small to be read along with it."""
    unit = _UNITS[int(rng.integers(len(_UNITS)))]
    left, top, right, bottom = line.box
    if not materials.fonts.can_draw(unit):
        return
    font = materials.fonts.choose(unit, rng.random(), "plain")
    size = rng.uniform(0.12, 0.2) * (bottom - top)
    beside = rng.random() < 0.6
    corner = (right + 0.14 * layout.SIZE, rng.uniform(top, bottom - size)) if beside else (left, top - 2.2 * size)
    write_small(ground, unit, font, look.ink, size, corner)


def _set_in_bezel(ground: np.ndarray, line: Line, rng: Generator) -> np.ndarray:
    """Paint the case of the display, which is visible on none to four sides of the picture."""
    height, width = ground.shape[:2]
    left, top, right, bottom = line.box
    visible_margins = rng.uniform(0.12, 0.5, 4) * layout.SIZE
    margins = np.where(rng.random(4) < 0.55, visible_margins, 10 * layout.SIZE)
    corner = int(left - margins[0]), int(top - margins[1])
    opposite = int(right + margins[2]), int(bottom + margins[3])
    inside = np.zeros((height, width), np.uint8)
    cv2.rectangle(inside, corner, opposite, 255, -1)
    case = np.full(3, rng.choice((rng.uniform(10, 60), rng.uniform(180, 250)))) + rng.normal(0, 8, 3)
    edge = cv2.GaussianBlur(inside.astype(np.float32) / 255, (0, 0), rng.uniform(0.6, 2))
    ground = pixels.blend(pixels.solid_color(case, height, width), ground, edge)
    if rng.random() < 0.4:  # a light or dark rim
        rim = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32) / 255
        ground = pixels.blend(ground, np.full(3, rng.uniform(0, 255), np.float32), 0.6 * rim)
    return ground


DISPLAY = Kind(
    draw_display,
    texts=("reading", "reading", "reading", "reading", "clock", "message"),
    fonts="plain",
    effects={
        **NO_SIGN, "shadow": 0.0, "texture": 0.03, "wear": 0.0,
        "rotation": 0.5, "perspective": 0.35, "glare": 0.08, "bloom": 0.08, "grayscale": 0.02,
        "low_resolution": 0.35, "cut": 0.03, "slant": 0.05,
    },
)  # fmt: skip
