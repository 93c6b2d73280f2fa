"""Words along an arc of up to 300 degrees: over the top of a circle (convex) or along its bottom (concave)."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.kinds.kind import Kind, Materials
from dptr.synth.layout import Line, draw_word, trim

_MAX_DIAMETER = 240  # pixels; the largest diameter of a circle, more than a crop shows
_MAX_ROWS = 4.6  # largest height of the arc, in heights of its letters; on a higher arc, letters become too small
_MAX_LETTER_ANGLE = np.deg2rad(40)  # largest angle per letter, so that short words span short arcs
_MIN_RADIUS = 0.8  # least radius, in heights of the line; on a smaller circle, the feet of letters would overlap
_MAX_PLACED_ANGLE = np.deg2rad(130)  # largest angle at which each column of the crop shows one letter


def draw_arc(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a word along an arc.

    Returns:
        None for fewer than three letters, for scripts that join their letters, and for texts that are too long.
    """
    if font is None or len(text) < 3 or needs_shaping(text):
        return None
    spacing = rng.uniform(0, 0.12) if rng.random() < 0.6 else rng.uniform(0.12, 0.5)
    line, concave = draw_word(font, text, spacing), rng.random() < 0.35
    length = line.mask.shape[1] / line.mask.shape[0]
    for degrees in rng.uniform(90, 300, 4):
        angle = min(np.deg2rad(degrees), len(text) * _MAX_LETTER_ANGLE, length / _MIN_RADIUS)
        if 1 + length / angle * (1 - np.cos(angle / 2)) < _MAX_ROWS:
            return wrap(line, angle, concave)
    return None


def wrap(line: Line, angle: float, concave: bool, radius: float | None = None) -> Line:
    """Bend a line along a circle and crop the mask to its ink.

    Args:
        line: its box is the whole mask.
        angle: that the line spans, in radians; ignored if ``radius`` is given.
        concave: whether the line runs along the bottom of the circle, with upright letters, instead of over its top.
        radius: of the circle through the middles of the letters, in pixels; None = computed from ``angle``.
    """
    height, width = line.mask.shape
    angle = angle if radius is None else width / radius
    radius = width / angle
    scale = min(1.0, _MAX_DIAMETER / (2 * radius + height))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        line = replace(line, mask=cv2.resize(line.mask, size, interpolation=cv2.INTER_AREA), stops=line.stops * scale)
        height, width, radius = size[1], size[0], size[0] / angle
    outer, half = radius + height / 2, angle / 2
    side = int(np.ceil(2 * outer)) + 2
    center = side / 2
    bottom = center - min(outer * np.cos(half), (outer - height) * np.cos(half))  # y of the lowest pixel
    across = np.arange(side, dtype=np.float32)[None] - np.float32(center)
    down = np.arange(int(np.ceil(bottom)) + 2, dtype=np.float32)[:, None] - np.float32(center)
    distance = np.sqrt(across**2 + down**2)
    turn = np.arctan2(np.broadcast_to(across, distance.shape), np.broadcast_to(-down, distance.shape))
    along = turn * np.float32(radius) + np.float32(width / 2)
    inward = np.float32(outer) - distance
    if concave:  # the arc is flipped below; the letters are flipped here, so that they end upright
        inward = height - 1 - inward
    mask = cv2.remap(line.mask, along, inward, cv2.INTER_LINEAR)
    theta = (line.stops[..., 0] - width / 2) / radius
    stops = np.stack((center + radius * np.sin(theta), center - radius * np.cos(theta)), -1)
    if concave:
        mask = np.ascontiguousarray(mask[::-1])
        stops[..., 1] = mask.shape[0] - 1 - stops[..., 1]
    if angle > _MAX_PLACED_ANGLE:
        stops[:] = np.nan
    mask, corner = trim(mask)
    pitch = width / max(1, len(stops))
    return Line(
        mask,
        (0, 0, mask.shape[1], mask.shape[0]),
        stops - corner,
        rows=max(1.0, mask.shape[0] / height),
        across=mask.shape[1] / pitch,
    )


ARC = Kind(draw_arc, texts=("word", "word", "phrase"), effects={"sign_board": 0.0, "quarter_turn": 0.0, "slant": 0.0})
