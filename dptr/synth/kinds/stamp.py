"""Codes that are embossed, etched, or painted, also with stencils, on metal, plastic, and cardboard."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import layout, pixels
from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.kinds import dot_matrix
from dptr.synth.kinds.kind import NO_SIGN, Kind, Materials, enlarge, on_ground, relief
from dptr.synth.layout import Line

# Steel, iron, black plastic, brass, copper, white plastic, cardboard.
_SURFACES = ((165, 168, 170), (110, 112, 115), (60, 62, 66), (30, 30, 32), (190, 170, 130), (150, 95, 60),
             (215, 215, 210), (175, 145, 105))  # fmt: skip


def draw_stamp(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a code in relief, as dots punched into metal, etched, or sprayed."""
    if font is None:
        return None
    if rng.random() < 0.15 and dot_matrix.can_draw(text):
        line = dot_matrix.draw_dots(text, rng.uniform(0.25, 0.42), rng.uniform(0.8, 1.1))
    else:
        spacing = 0.0 if needs_shaping(text) else rng.uniform(0, 0.2)
        line = layout.draw_word(font, text, spacing)
    line = enlarge(line, tuple(rng.uniform(0.4, 0.6, 4)))
    ground = _draw_surface(line.mask.shape[0], line.mask.shape[1], materials, rng)
    surface_color = np.array(cv2.mean(ground)[:3])
    kind = rng.random()
    if kind < 0.5:  # raised or punched: visible almost only by the light on its edges
        ground = ground + relief(line.mask, rng, rng.uniform(80, 170))
        return on_ground(line, ground, surface_color * rng.uniform(0.55, 0.95))
    if kind < 0.75:  # etched or burnt: a little darker or lighter
        factor = rng.uniform(0.25, 0.65) if surface_color.mean() > 70 and rng.random() < 0.8 else rng.uniform(1.6, 3)
        return on_ground(line, ground, np.minimum(surface_color * factor + (25 if factor > 1 else 0), 255))
    return on_ground(line, ground)


def _draw_surface(height: int, width: int, materials: Materials, rng: Generator) -> np.ndarray:
    """Draw a brushed, cast, or smooth surface with uneven light on it."""
    color = np.array(_SURFACES[int(rng.integers(len(_SURFACES)))]) * rng.uniform(0.75, 1.2)
    if rng.random() < 0.2:
        color = materials.color(rng)
    ground = pixels.solid_color(np.clip(color, 12, 245), height, width)
    grain: np.ndarray = rng.standard_normal((height, width), dtype=np.float32)
    kind = rng.random()
    sigma_x, sigma_y = (rng.uniform(8, 30), 0.6) if kind < 0.4 else (rng.uniform(0.6, 2.5),) * 2
    grain = cv2.GaussianBlur(grain, (0, 0), sigma_x, sigmaY=sigma_y)
    grain = grain / (grain.std() + 1e-6)
    ground = ground + pixels.to_rgb(rng.uniform(1, 11) * grain)
    light = 1 + rng.uniform(0.05, 0.4) * pixels.smooth_noise(rng, height, width, int(rng.integers(2, 5)))
    return ground * pixels.to_rgb(light)


STAMP = Kind(
    draw_stamp,
    texts=("serial", "serial", "code", "date", "number", "word"),
    fonts="plain",
    effects={
        **NO_SIGN, "shadow": 0.1, "texture": 0.0, "stencil": 0.12, "low_contrast": 0.2,
        "wear": 0.25, "black_or_white": 0.6, "cast_shadow": 0.06, "glare": 0.05, "lighting": 0.4,
    },
)  # fmt: skip
