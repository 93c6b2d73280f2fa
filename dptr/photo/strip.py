"""Curved strips of text: smooth curves along the top and the bottom of an outline, and positions between them.

An outline has 2k points: k along the top of the text in reading direction, then k back along the bottom, each opposite
to its partner. Total-Text and SCUT-CTW1500 label curved text in this way.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_FINE = 16  # samples between two neighboring points of an outline
_TURN = np.radians(10)  # largest turn of the direction in a piece that counts as straight


class Strip:
    """The strip inside an outline.

    A position on a strip is a pair of fractions: along its center line, and across it from the top to the bottom.

    Attributes:
        length: of the center line, in pixels.
        height: mean distance between the top and the bottom, in pixels.
        pieces: the number of equal parts along the strip that are nearly straight.
    """

    def __init__(self, outline: Float[np.ndarray, "points 2"]) -> None:
        half = len(outline) // 2
        sides = np.concatenate((outline[:half], outline[: half - 1 : -1]), 1)  # x and y of the top, then of the bottom
        knots = _cumulative_lengths(_center_line(sides))
        is_distinct = np.diff(knots, prepend=-np.inf) > 1e-6 * (1 + knots[-1])  # coincident neighbors count once
        knots, sides, half = knots[is_distinct], sides[is_distinct], int(is_distinct.sum())
        samples = np.interp(np.linspace(0, half - 1, (half - 1) * _FINE + 1), np.arange(half), knots)
        self._sides = interpolate(knots, sides, samples)
        center = _center_line(self._sides)
        lengths = _cumulative_lengths(center)
        self.length = float(lengths[-1])
        self.height = float(np.hypot(*(self._sides[:, 2:] - self._sides[:, :2]).T).mean())
        self._along = lengths / self.length
        directions = np.unwrap(np.arctan2(*np.diff(center, axis=0).T[::-1]))
        self.pieces = max(1, int(np.ceil(np.abs(np.diff(directions)).sum() / _TURN)))

    def locate(self, along: Float[np.ndarray, " n"], across: float) -> Float[np.ndarray, "n 2"]:
        """Pixel coordinates of positions on the strip; positions before its start or after its end are moved there."""
        top, bottom = (self._interpolate(along, slice(first, first + 2)) for first in (0, 2))
        return top + across * (bottom - top)

    def outline(self, left: float, top: float, right: float, bottom: float) -> Float[np.ndarray, "points 2"]:
        """The outline of a part of the strip; it has four points if the part is nearly straight."""
        along = np.linspace(left, right, 1 + max(1, int(np.ceil(abs(right - left) * self.pieces))))
        return np.concatenate((self.locate(along, top), self.locate(along[::-1], bottom)))

    def _interpolate(self, along: Float[np.ndarray, " n"], columns: slice) -> Float[np.ndarray, "n 2"]:
        return np.stack([np.interp(along, self._along, side) for side in self._sides[:, columns].T], 1)


def direction(outline: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " 2"]:
    """The overall direction of a text, of length 1, between the means of the two halves of its center line."""
    half = len(outline) // 2
    center = (outline[:half] + outline[: half - 1 : -1]) / 2
    step = center[-(half // 2) :].mean(0) - center[: half // 2].mean(0)
    return step / max(float(np.hypot(*step)), 1e-9)


def enclose(outline: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "4 2"]:
    """A quadrilateral around an outline: an outline of four points itself, otherwise a rectangle.

    The rectangle is parallel to ``direction``. Its first corner is the start of the text at the top.
    """
    if len(outline) == 4:
        return outline
    u, half = direction(outline), len(outline) // 2
    v = np.array((-u[1], u[0]))
    v = v if (outline[half:].mean(0) - outline[:half].mean(0)) @ v > 0 else -v  # right-to-left text begins on the right
    along, across = outline @ u, outline @ v
    left, right, top, bottom = along.min(), along.max(), across.min(), across.max()
    return np.array([left * u + top * v, right * u + top * v, right * u + bottom * v, left * u + bottom * v])


def interpolate(
    knots: Float[np.ndarray, " k"], values: Float[np.ndarray, "k n"], places: Float[np.ndarray, " p"]
) -> Float[np.ndarray, "p n"]:
    """Interpolate values smoothly with cubic Hermite pieces.

    The slope at a knot is that of the parabola through the knot and its two neighbors.

    Args:
        knots: increasing, at least two; two knots are joined by a straight line.
        places: between the first and the last knot.
    """
    gaps = np.diff(knots)[:, None]
    secants = np.diff(values, axis=0) / gaps
    if len(knots) == 2:
        slopes = np.repeat(secants, 2, 0)
    else:
        inner = (gaps[1:] * secants[:-1] + gaps[:-1] * secants[1:]) / (gaps[1:] + gaps[:-1])
        slopes = np.concatenate((2 * secants[:1] - inner[:1], inner, 2 * secants[-1:] - inner[-1:]))
    piece = np.clip(np.searchsorted(knots, places, "right") - 1, 0, len(gaps) - 1)
    step, t = gaps[piece], (places[:, None] - knots[piece, None]) / gaps[piece]
    begin, end = values[piece], values[piece + 1]
    slope_terms = step * (t * (1 - t) ** 2 * slopes[piece] - t**2 * (1 - t) * slopes[piece + 1])
    return begin + (3 - 2 * t) * t**2 * (end - begin) + slope_terms


def _center_line(sides: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 2"]:
    return (sides[:, :2] + sides[:, 2:]) / 2


def _cumulative_lengths(line: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """The length of a line from its start to each of its points; always increasing."""
    steps = np.maximum(np.hypot(*np.diff(line, axis=0).T), 1e-9)
    return np.concatenate(([0.0], steps.cumsum()))
