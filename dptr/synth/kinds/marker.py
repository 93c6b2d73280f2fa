"""Codes on cable markers: white and yellow sleeves around a wire, printed in one line."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import layout, pixels
from dptr.synth.fonts import Font
from dptr.synth.kinds.kind import NO_SIGN, Kind, Materials, enlarge, on_ground, stretch, turn_around
from dptr.synth.layout import Line

_UPSIDE_DOWN = 0.13  # share of upside-down markers in photographs of switch cabinets
_SLEEVES = ((245, 245, 245), (225, 228, 230), (200, 205, 205), (150, 152, 152), (250, 225, 40), (225, 190, 50))
_SLEEVE_SHARES = (0.35, 0.2, 0.15, 0.1, 0.14, 0.06)


def draw_marker(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a code on its sleeve, which is shaded as a cylinder, and on what lies behind."""
    if font is None:
        return None
    wide = rng.random() < 0.4
    line = layout.draw_word(font, text, rng.uniform(0.2, 0.6) if wide else rng.uniform(0, 0.15))
    line = stretch(line, rng.uniform(1.0, 1.5) if wide else rng.uniform(0.65, 1.1))
    if rng.random() < 0.3:
        line = layout.thicken(line, int(rng.choice((-1, 1, 2))))
    line = enlarge(line, tuple(rng.uniform(0.6, 0.9, 4)))
    ground = _draw_sleeve(line, materials, rng)
    ink = np.full(3, rng.uniform(5, 70)) if rng.random() < 0.85 else np.full(3, rng.uniform(70, 130))
    line = on_ground(line, ground, ink)
    return turn_around(line) if rng.random() < _UPSIDE_DOWN else line


def _draw_sleeve(line: Line, materials: Materials, rng: Generator) -> np.ndarray:
    image_height, image_width = line.mask.shape
    left, top, right, bottom = line.box
    letter_height = bottom - top
    color = np.array(_SLEEVES[int(rng.choice(len(_SLEEVES), p=_SLEEVE_SHARES))], np.float32)
    sleeve = pixels.solid_color(color * rng.uniform(0.75, 1.0), image_height, image_width)
    upper, lower = top - rng.uniform(0.08, 0.5) * letter_height, bottom + rng.uniform(0.08, 0.5) * letter_height
    middle, radius = (upper + lower) / 2, (lower - upper) / 2
    # Lambert's law on a cylinder that is lit from ``lean`` radians above its front, with some ambient light.
    height = np.clip((np.arange(image_height, dtype=np.float32) - middle) / radius, -1, 1)
    lean = rng.uniform(-0.9, 0.9)
    light = np.clip(np.sqrt(1 - height**2) * np.cos(lean) - height * np.sin(lean), 0, 1)
    ambient = rng.uniform(0.45, 0.85)
    sleeve = sleeve * pixels.to_rgb(np.tile((ambient + (1 - ambient) * light)[:, None], (1, image_width)))
    inside = np.clip(radius - np.abs(np.arange(image_height, dtype=np.float32) - middle) + 0.5, 0, 1)
    cover = np.tile(inside[:, None], (1, image_width))
    if rng.random() < 0.25:  # the end of the sleeve
        end = int(rng.uniform(0.1, 0.5) * letter_height)
        side = slice(0, max(0, left - end)) if rng.random() < 0.5 else slice(right + end, image_width)
        cover[:, side] = 0
    wall = pixels.solid_color(materials.color(rng) * rng.uniform(0.1, 0.8), image_height, image_width)
    ground = pixels.blend(wall, sleeve, cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.8, 3)))
    return ground + pixels.to_rgb(rng.uniform(0, 8) * pixels.smooth_noise(rng, image_height, image_width, 10))


MARKER = Kind(
    draw_marker,
    texts=("marker",),
    fonts="plain",
    effects={
        **NO_SIGN, "shadow": 0.0, "texture": 0.0, "occlusion": 0.02,
        "slant": 0.2, "rotation": 0.15, "perspective": 0.2, "cut": 0.22, "blur": 0.45, "low_resolution": 0.4,
        "wear": 0.15, "defocus": 0.15, "bloom": 0.02,
    },
)  # fmt: skip
