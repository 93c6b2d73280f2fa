"""Sign boards: the plate on which a word stands, with its border and screws, before another background.

In the word's mask the board is a rectangle around the word. Lengths are in pixels of that mask; the perspective
transform of the word takes the board to the crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import pixels

_FRACTION = 4  # fractional bits of coordinates that OpenCV draws
_QUADRANTS = np.array(((1, 1), (-1, 1), (-1, -1), (1, -1)))  # signs of x and y, in the order of the angles


@dataclass(frozen=True)
class SignBoard:
    """The place of a board.

    Attributes:
        size: (2,), width and height of the word.
        room: (2,), margins of the board around the word: left and right, above and below.
        matrix: (3, 3), perspective transform to pixels of the crop, from coordinates whose origin is the upper left
            corner of the word.
    """

    size: np.ndarray
    room: np.ndarray
    matrix: np.ndarray

    def area(self, shape: tuple[int, int], inset: float = 0.0, radius: float = 0.0) -> np.ndarray:
        """The mask of the board, smaller by ``inset`` on each side, with corners of ``radius``.

        Args:
            shape: height and width of the crop.

        Returns:
            float32 ``shape`` in [0, 1].
        """
        half = self.size / 2 + self.room - inset
        radius = max(0.0, min(radius, *half))
        angles = np.linspace(0, np.pi / 2, 6) + np.pi / 2 * np.arange(4)[:, None]
        arcs = radius * np.stack((np.cos(angles), np.sin(angles)), -1)
        centers = self.size / 2 + (half - radius) * _QUADRANTS
        return self._fill((centers[:, None] + arcs).reshape(-1, 2), shape)

    def disc(self, shape: tuple[int, int], center: np.ndarray, radius: float) -> np.ndarray:
        """The mask of a disc at ``center`` (2,) on the board: float32 ``shape`` in [0, 1]."""
        angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        return self._fill(center + radius * np.stack((np.cos(angles), np.sin(angles)), 1), shape)

    def _fill(self, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        projected = cv2.perspectiveTransform(points[None], self.matrix)
        layer = np.zeros(shape, np.uint8)
        cv2.fillPoly(layer, np.round(projected * 2**_FRACTION).astype(np.int32), 255, cv2.LINE_AA, _FRACTION)
        return layer.astype(np.float32) / 255


def draw_sign_board(
    front: np.ndarray, behind: np.ndarray, color: np.ndarray, board: SignBoard, rng: Generator
) -> np.ndarray:
    """Draw a board before a background, perhaps with a shadow, a border, and screws.

    Args:
        front: painting of the board, float32 (h, w, 3).
        behind: background, float32 (h, w, 3).
        color: of the border, float32 (3,).

    Returns:
        float32 (h, w, 3).
    """
    shape = front.shape[0], front.shape[1]
    margin = float(board.room.min())
    radius = rng.choice((0.0, 0.6, 1.0, 1.9)) * margin  # at 2, a border would touch the corners of the word
    area = board.area(shape, 0.0, radius)
    if rng.random() < 0.4:  # the shadow of a board that stands off the wall
        shadow = cv2.GaussianBlur(np.roll(area, rng.integers(-2, 3, 2), (0, 1)), (0, 0), 1.5)
        behind = behind * pixels.to_rgb(1 - rng.uniform(0.2, 0.6) * shadow)
    image = pixels.blend(behind, front, area)
    if rng.random() < 0.8:
        inset = rng.choice((0.0, 0.12, 0.25)) * margin
        inner = inset + rng.uniform(0.12, 0.35) * margin
        border = board.area(shape, inset, radius - inset) - board.area(shape, inner, radius - inner)
        image = pixels.blend(image, color, np.maximum(border, 0))
    if rng.random() < 0.3:
        screw_color = np.full(3, rng.uniform(60, 200), np.float32)
        for center in _place_screws(board, rng):
            head = board.disc(shape, center, 0.22 * margin)
            light = board.disc(shape, center - 0.07 * margin, 0.1 * margin)
            image = pixels.blend(pixels.blend(image, screw_color, head), 0.5 * screw_color + 127, light)
    return image


def _place_screws(board: SignBoard, rng: Generator) -> np.ndarray:
    """Centers of two screws at the sides, or of four in the corners: (n, 2)."""
    low, high = -board.room / 2, board.size + board.room / 2
    if rng.random() < 0.5:
        return np.array([(x, board.size[1] / 2) for x in (low[0], high[0])])
    return np.array([(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])])
