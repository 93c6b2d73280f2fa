"""Sign boards: the plate that a word stands on, with its border and screws, before another background.

Lengths are in pixels of the word's mask, in which the board is a rectangle around the word; one matrix takes it to the
crop, with the word.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import pixels

_FRACTION = 4  # bits of sub-pixels in OpenCV's coordinates
_QUADRANTS = np.array(((1, 1), (-1, 1), (-1, -1), (1, -1)))  # in the order of their angles


@dataclass(frozen=True)
class SignBoard:
    """Where a board is.

    Attributes:
        size: (2,), width and height of the word.
        room: (2,), how far the board reaches beyond it at its sides, and above and below.
        matrix: (3, 3), from pixels right of and below the word's upper left corner to those of the crop.
    """

    size: np.ndarray
    room: np.ndarray
    matrix: np.ndarray

    def area(self, shape: tuple[int, int], inset: float = 0.0, radius: float = 0.0) -> np.ndarray:
        """The board less ``inset`` on each side, its corners rounded by ``radius``: float32 ``shape`` in [0, 1]."""
        half = self.size / 2 + self.room - inset
        radius = max(0.0, min(radius, *half))
        angles = np.linspace(0, np.pi / 2, 6) + np.pi / 2 * np.arange(4)[:, None]
        arcs = radius * np.stack((np.cos(angles), np.sin(angles)), -1)
        centers = self.size / 2 + (half - radius) * _QUADRANTS
        return self._filled((centers[:, None] + arcs).reshape(-1, 2), shape)

    def disc(self, shape: tuple[int, int], center: np.ndarray, radius: float) -> np.ndarray:
        """A disc at ``center`` (2,): float32 ``shape`` in [0, 1]."""
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        return self._filled(center + radius * np.stack((np.cos(angles), np.sin(angles)), 1), shape)

    def _filled(self, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        projected = cv2.perspectiveTransform(points[None], self.matrix)
        layer = np.zeros(shape, np.uint8)
        cv2.fillPoly(layer, np.round(projected * 2**_FRACTION).astype(np.int32), 255, cv2.LINE_AA, _FRACTION)
        return layer.astype(np.float32) / 255


def draw_sign_board(
    front: np.ndarray, behind: np.ndarray, color: np.ndarray, board: SignBoard, rng: Generator
) -> np.ndarray:
    """``board``, painted as ``front``, before ``behind``, with a border of ``color`` and perhaps screws.

    Args:
        front, behind: float32 (h, w, 3).
        color: float32 (3,).

    Returns:
        float32 (h, w, 3).
    """
    shape = front.shape[0], front.shape[1]
    least = float(board.room.min())
    radius = rng.choice((0.0, 0.6, 1.0, 1.9)) * least  # at 2 a border would touch the corners of the word
    area = board.area(shape, 0.0, radius)
    if rng.random() < 0.4:  # it stands off the wall
        soft = cv2.GaussianBlur(np.roll(area, rng.integers(-2, 3, 2), (0, 1)), (0, 0), 1.5)
        behind = behind * pixels.to_rgb(1 - rng.uniform(0.2, 0.6) * soft)
    image = pixels.blend(behind, front, area)
    if rng.random() < 0.8:
        inset = rng.choice((0.0, 0.12, 0.25)) * least
        inner = inset + rng.uniform(0.12, 0.35) * least
        ring = board.area(shape, inset, radius - inset) - board.area(shape, inner, radius - inner)
        image = pixels.blend(image, color, np.maximum(ring, 0))
    if rng.random() < 0.3:
        metal = np.full(3, rng.uniform(60, 200), np.float32)
        for center in _screws(board, rng):
            head = board.disc(shape, center, 0.22 * least)
            light = board.disc(shape, center - 0.07 * least, 0.1 * least)
            image = pixels.blend(pixels.blend(image, metal, head), 0.5 * metal + 127, light)
    return image


def _screws(board: SignBoard, rng: Generator) -> np.ndarray:
    """Centers of two screws at the sides, or of four in the corners: (n, 2)."""
    low, high = -board.room / 2, board.size + board.room / 2
    if rng.random() < 0.5:
        return np.array([(x, board.size[1] / 2) for x in (low[0], high[0])])
    return np.array([(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])])
