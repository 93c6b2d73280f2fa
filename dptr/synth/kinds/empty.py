"""Pictures without text: photographs, plain and textured backgrounds, and shapes that could be mistaken for letters."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import backgrounds, pixels
from dptr.synth.fonts import Font
from dptr.synth.kinds.kind import Kind, Materials, on_ground
from dptr.synth.layout import SIZE, Line

_ASPECTS = (0.6, 9.0)  # range of width / height
_MAX_WIDTH = 600  # largest width in pixels


def draw_empty(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a background without ink; almost half of them are like those of words, which ``paint`` draws.

    Returns:
        None if there is a text.
    """
    if text:
        return None
    aspect = np.exp(rng.uniform(*np.log(_ASPECTS)))
    size = min(_MAX_WIDTH, round(aspect * SIZE)), SIZE
    line = Line(np.zeros(size[::-1], np.uint8), (0, 0, *size), np.zeros((0, 2, 2)), across=1)
    kind = rng.random()
    if kind < 0.45:
        return line
    if kind < 0.7 and materials.photographs:
        return on_ground(line, backgrounds.crop_photograph(rng, materials.photographs, *size[::-1]))
    draw = _DRAWINGS[int(rng.integers(len(_DRAWINGS)))]
    return on_ground(line, _add_grain(draw(_draw_base(*size, materials, rng), materials, rng), rng))


def _draw_base(width: int, height: int, materials: Materials, rng: Generator) -> np.ndarray:
    ground = pixels.solid_color(materials.color(rng), height, width)
    if rng.random() < 0.5:
        ground = pixels.blend(ground, materials.color(rng), pixels.linear_gradient(rng, height, width))
    return ground


def _add_grain(ground: np.ndarray, rng: Generator) -> np.ndarray:
    height, width = ground.shape[:2]
    if rng.random() < 0.4:
        cells = int(rng.integers(3, 24))
        ground = ground + pixels.to_rgb(rng.uniform(5, 50) * pixels.smooth_noise(rng, height, width, cells))
    return ground


def _draw_bars(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Vertical or horizontal bars of random widths: barcodes, fences, blinds."""
    height, width = ground.shape[:2]
    side = width if rng.random() < 0.7 else height
    step = int(rng.integers(2, 12))
    bars = np.repeat(rng.random(side // step + 1) < rng.uniform(0.3, 0.6), step)[:side].astype(np.float32)
    layer = np.broadcast_to(bars if side == width else bars[:, None], (height, width))
    return pixels.blend(ground, materials.color(rng), np.ascontiguousarray(layer))


def _draw_grid(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Tiles, bricks, windows."""
    height, width = ground.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    rows = int(rng.integers(1, 6))
    step, thick = height / rows, int(rng.integers(1, 5))
    length, shift = step * rng.uniform(0.8, 3), rng.uniform(0, 0.5)
    for row in range(rows + 1):
        cv2.line(layer, (0, round(row * step)), (width, round(row * step)), 255, thick)
        for column in range(int(width / length) + 2):
            x = round((column - shift * (row % 2)) * length)
            cv2.line(layer, (x, round(row * step)), (x, round((row + 1) * step)), 255, thick)
    return pixels.blend(ground, materials.color(rng), layer.astype(np.float32) / 255)


def _draw_edges(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Surfaces with straight edges: walls, table tops, sheets of paper."""
    height, width = ground.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        layer = np.zeros((height, width), np.uint8)
        corners = rng.uniform((-0.3, -0.3), (1.3, 1.3), (int(rng.integers(3, 5)), 2)) * (width, height)
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillPoly(layer, [hull], 255, cv2.LINE_AA)
        ground = pixels.blend(ground, materials.color(rng), rng.uniform(0.3, 1) * layer.astype(np.float32) / 255)
    return ground


def _draw_lines(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Wires, cracks, rules, underlines."""
    height, width = ground.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        layer = np.zeros((height, width), np.uint8)
        ends = rng.uniform((-0.1, -0.1), (1.1, 1.1), (2, 2)) * (width, height)
        if rng.random() < 0.5:
            ends[1, 1] = ends[0, 1] + rng.normal(0, 2)
        first, last = ends.astype(int).tolist()
        cv2.line(layer, first, last, 255, int(rng.integers(1, 8)), cv2.LINE_AA)
        ground = pixels.blend(ground, materials.color(rng), layer.astype(np.float32) / 255)
    return ground


def _draw_shapes(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Blobs, stars, arrows, and rings, as in pictograms and ornaments; larger than letters, or cut off."""
    height, width = ground.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        layer = np.zeros((height, width), np.uint8)
        center, radius = rng.uniform((0, 0), (width, height)), rng.uniform(0.15, 0.7) * height
        points = int(rng.integers(3, 15))
        angles = np.sort(rng.uniform(0, 2 * np.pi, points))
        lengths = rng.uniform(0.2, 1, points) * radius
        shape = center + lengths[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
        if rng.random() < 0.7:
            cv2.fillPoly(layer, [shape.astype(np.int32)], 255, cv2.LINE_AA)
        else:
            axes = (max(1, round(radius)), max(1, round(radius * rng.uniform(0.3, 0.7))))
            turn, thick = rng.uniform(0, 180), int(rng.choice((-1, 2, 6)))
            cv2.ellipse(layer, center.astype(int).tolist(), axes, turn, 0, rng.uniform(90, 270), 255, thick)
        ground = pixels.blend(ground, materials.color(rng), layer.astype(np.float32) / 255)
    return ground


def _draw_noise(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    """Gravel, foliage, cloth: noise of one scale, in one color."""
    height, width = ground.shape[:2]
    noise: np.ndarray = rng.standard_normal((height, width), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 6), sigmaY=rng.uniform(0.5, 6))
    noise = noise / (noise.std() + 1e-6)
    cover = np.clip(rng.uniform(0.3, 2) * noise + rng.uniform(-0.5, 0.8), 0, 1)
    return pixels.blend(ground, materials.color(rng), cover)


def _draw_nothing(ground: np.ndarray, materials: Materials, rng: Generator) -> np.ndarray:
    return ground


Draw = Callable[[np.ndarray, Materials, Generator], np.ndarray]
_DRAWINGS: tuple[Draw, ...] = (
    _draw_bars, _draw_grid, _draw_edges, _draw_edges, _draw_lines, _draw_lines, _draw_shapes, _draw_noise,
    _draw_noise, _draw_nothing,
)  # fmt: skip

EMPTY = Kind(
    draw_empty,
    texts=(),
    effects={"photograph": 0.6, "texture": 0.3, "gradient": 0.4, "panel": 0.35, "paper": 0.15, "sign_board": 0.0,
             "outline": 0.0, "double_outline": 0.0, "extrusion": 0.0, "shadow": 0.0, "neon": 0.0, "cut": 0.0},
)  # fmt: skip
