"""Detection of curved text: which regions of a detector are bent, and which outlines their text may have.

The network of a DB detector marks kernels. A kernel is the middle part of a text, and follows a gentle arc. In a tight
arc, the kernel is filled on the inside: its outer edge still follows the text, but its middle does so less. So there
are two guesses of the center line, and the readings decide between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.polynomial import Polynomial

# Chosen on kernels of rendered arcs and of the 60 photographs of research/evidence/scenes.py.
# The unit "heights" is the height of the kernel.
LEAST_BEND = 0.2  # heights; least deviation of the outer edge from a straight line
LEAST_EXPLAINED = 0.5  # least share of the squared residuals of a line that a cubic curve removes
LEAST_HEIGHT = 10.0  # pixels; the edges of lower kernels are too rough
LEAST_ASPECT = 1.8  # least width / height of the rectangle around a kernel
MOST_FILLED = 0.9  # largest share of that rectangle; straight kernels fill more
_RING_RADIUS = 2.0  # heights; least radius of a ring
_RING_SPAN = np.radians(90), np.radians(330)  # smallest and largest angle that a ring covers
_SAME = 0.1  # heights; two center lines that are closer count as one
_ROUND = 0.15  # heights; largest RMS deviation of an outer edge from a circle
_INNER = 0.88  # share of the length to which curves are fitted, since the ends are round
_THIN = 20  # percentile of the heights along a kernel that represents the parts without filling
_MOST_HIGH = 0.9  # largest ratio of half the height of an outline to its radius
_COLUMN = 3.0  # pixels per column; narrower columns miss pixels of rotated pictures
_STEP = 1.0  # heights between two points of a center line
_LEAST_POINTS = 7


@dataclass(frozen=True)
class _Fit:
    """A cubic curve through an edge of a kernel, or through its middle.

    Attributes:
        bend: range of its deviations from its chord, in pixels.
        explained: share of a line's squared residuals that the curve removes.
        rises: whether its middle lies above its ends.
    """

    curve: Polynomial
    bend: float
    explained: float
    rises: bool


@dataclass(frozen=True)
class _Unrolled:
    """A kernel in coordinates along it (x) and across it (y, downward).

    Attributes:
        x, top, bottom: of its columns (``_edges``).
        roll: maps such coordinates (n, 2) back to the picture.
        ring: 1 for a ring that is open at the bottom, -1 for one that is open at the top, 0 for straight axes.
    """

    x: Float[np.ndarray, " n"]
    top: Float[np.ndarray, " n"]
    bottom: Float[np.ndarray, " n"]
    roll: Callable[[Float[np.ndarray, "m 2"]], Float[np.ndarray, "m 2"]]
    ring: int = 0

    @property
    def height(self) -> float:
        return float(np.median(self.bottom - self.top))

    def inner(self) -> slice:
        """All columns except those at the ends."""
        cut = int((1 - _INNER) / 2 * len(self.x))
        return slice(cut, len(self.x) - cut)

    def places(self) -> Float[np.ndarray, " k"]:
        """Positions along the whole length, about ``_STEP`` heights apart."""
        begin, end = self.x[0] - _COLUMN / 2, self.x[-1] + _COLUMN / 2
        return np.linspace(begin, end, max(_LEAST_POINTS, 1 + int(np.ceil((end - begin) / (_STEP * self.height)))))

    def fit(self, y: Float[np.ndarray, " n"]) -> _Fit:
        x, y = self.x[self.inner()], y[self.inner()]
        line, curve = (Polynomial.fit(x, y, degree) for degree in (1, 3))
        before, after = (float(((y - each(x)) ** 2).sum()) for each in (line, curve))
        chord = curve(x) - np.interp(x, x[[0, -1]], curve(x[[0, -1]]))
        rises = curve(x[len(x) // 2]) < curve(x[[0, -1]]).mean()
        return _Fit(curve, float(np.ptp(chord)), 1 - after / max(before, 1e-9), bool(rises))


def find_outlines(
    pixels: Float[np.ndarray, "n 2"], box: Float[np.ndarray, "4 2"], unclip: float
) -> list[Float[np.ndarray, "points 2"]]:
    """Find the outlines that the text of a curved kernel may have, the likelier first; none if the kernel is straight.

    A kernel is curved if it is an open ring. It is also curved if its outer edge deviates from a straight line by at
    least ``LEAST_BEND`` of its height, its middle by half of that to the same side, and cubic curves remove at least
    ``LEAST_EXPLAINED`` of the squared residuals of lines.

    Args:
        pixels: centers of the kernel's pixels.
        box: the smallest rectangle around the kernel.
        unclip: by how much kernels are grown, as for ``dptr.photo.detect.find_boxes``.

    Returns:
        Outlines of 2k points, as for ``dptr.photo.strip.Strip``. The text runs to the right, or down if it is steep.
    """
    height, width = sorted(float(np.hypot(*side)) for side in (box[1] - box[0], box[3] - box[0]))
    if height < LEAST_HEIGHT or len(pixels) > MOST_FILLED * width * height:
        return []
    kernel = _unroll_ring(pixels)
    if kernel is None:
        if width < LEAST_ASPECT * height:
            return []
        kernel = _unroll_straight(pixels)
        if kernel.height < LEAST_HEIGHT:
            return []
    middle = kernel.fit((kernel.top + kernel.bottom) / 2)
    outer_is_top = kernel.ring > 0
    if not kernel.ring:
        outer_is_top = middle.rises
        outer = kernel.fit(kernel.top if outer_is_top else kernel.bottom)
        least = LEAST_BEND * kernel.height
        is_bent = outer.bend >= least and middle.bend >= least / 2 and outer.rises == middle.rises
        if not is_bent or min(outer.explained, middle.explained) < LEAST_EXPLAINED:
            return []
    center = _follow_middle(pixels, kernel, middle.curve)
    outer_line = _follow_outer_edge(pixels, kernel, outer_is_top)
    if outer_line is None:
        return [grow_line(center, kernel.height, unclip)]
    distance = np.hypot(*(outer_line[0][:, None] - center).transpose(2, 0, 1)).min(1).max()
    lines = [outer_line] if distance < _SAME * kernel.height else [outer_line, (center, kernel.height)]
    return [grow_line(line, line_height, unclip) for line, line_height in lines]


def fit_circle(points: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, " 2"], float]:
    """The center and the radius of the circle nearest to points (Pratt 1987). The radius is huge for points on a line.

    It minimizes the squares of a (x^2 + y^2) + b x + c y + d under b^2 + c^2 - 4 a d = 1. Unlike Kasa's constraint a =
    1, this does not shrink short arcs, and it allows lines.
    """
    middle = points.mean(0)
    scale = float(np.sqrt(((points - middle) ** 2).sum(1).mean())) or 1.0
    x, y = ((points - middle) / scale).T
    design = np.stack((x**2 + y**2, x, y, np.ones_like(x)), 1)
    constraint = np.array(((0, 0, 0, -2), (0, 1, 0, 0), (0, 0, 1, 0), (-2, 0, 0, 0)), float)
    values, vectors = np.linalg.eig(np.linalg.solve(constraint, design.T @ design / len(points)))
    best = np.where(values.real > -1e-9, values.real, np.inf).argmin()
    a, b, c, d = vectors[:, best].real
    a = a if abs(a) > 1e-9 else 1e-9
    radius = np.sqrt(max((b**2 + c**2) / (4 * a**2) - d / a, 0.0))
    return middle - scale * np.array((b, c)) / (2 * a), float(scale * radius)


def grow_line(line: Float[np.ndarray, "k 2"], height: float, unclip: float) -> Float[np.ndarray, "points 2"]:
    """The outline around the center line of a kernel, grown on all sides like the box of a straight kernel."""
    steps = np.diff(line, axis=0)
    length = float(np.hypot(*steps.T).sum())
    total_turn = np.ptp(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    margin = unclip * length * height / (2 * (length + height))
    half = min(height / 2 + margin, _MOST_HIGH * length / max(total_turn, 1e-9))
    tangents = np.gradient(line, axis=0)
    tangents /= np.maximum(np.hypot(*tangents.T), 1e-9)[:, None]
    line = np.concatenate((line[:1] - margin * tangents[:1], line, line[-1:] + margin * tangents[-1:]))
    tangents = np.concatenate((tangents[:1], tangents, tangents[-1:]))
    offsets = half * np.stack((-tangents[:, 1], tangents[:, 0]), 1)
    return np.concatenate((line - offsets, (line + offsets)[::-1]))


def _unroll_straight(pixels: Float[np.ndarray, "n 2"]) -> _Unrolled:
    """Unroll along the principal axis. On an arc, this is the chord, unlike the axis of the smallest rectangle."""
    middle = pixels.mean(0)
    u = np.linalg.eigh(np.cov((pixels - middle).T))[1][:, 1]
    u = u * _forward(u)
    axes = np.array((u, (-u[1], u[0])))
    return _Unrolled(*_edges((pixels - middle) @ axes.T), lambda points: points @ axes + middle, 0)


def _unroll_ring(pixels: Float[np.ndarray, "n 2"]) -> _Unrolled | None:
    """Unroll along a circle; None if the pixels are not a ring: too short, closed, or too thick."""
    center, radius = fit_circle(pixels)
    ring = _Ring(center, radius, pixels)
    x, y = ring.unroll(pixels).T
    if not _RING_SPAN[0] <= np.ptp(x) / radius <= _RING_SPAN[1]:
        return None
    kernel = _Unrolled(*_edges(np.stack((x, y), 1)), ring.roll, ring.way)
    return kernel if radius >= _RING_RADIUS * kernel.height else None


class _Ring:
    """Coordinates along a circle (x) and across it (y), from the middle of some points; x runs right, or down, and y
    down.

    Attributes:
        way: 1 if x runs clockwise, as on an arch; -1 if counterclockwise, as on a bowl.
    """

    def __init__(self, center: Float[np.ndarray, " 2"], radius: float, points: Float[np.ndarray, "n 2"]) -> None:
        self.center, self.radius = center, radius
        directions = points - center
        directions /= np.maximum(np.hypot(*directions.T), 1e-9)[:, None]
        x, y = directions.mean(0)
        self.middle = float(np.arctan2(y, x))
        self.way = _forward(np.array((-y, x)))

    def unroll(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        x, y = (points - self.center).T
        turn = (np.arctan2(y, x) - self.middle + np.pi) % (2 * np.pi) - np.pi
        return self.way * np.stack((self.radius * turn, self.radius - np.hypot(x, y)), 1)

    def roll(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        along, across = self.way * points.T
        turn, radius = self.middle + along / self.radius, self.radius - across
        return self.center + radius[:, None] * np.stack((np.cos(turn), np.sin(turn)), 1)


def _follow_middle(pixels: Float[np.ndarray, "n 2"], kernel: _Unrolled, curve: Polynomial) -> Float[np.ndarray, "k 2"]:
    """The center line through the middles of the columns.

    For a straight kernel, the columns are first made perpendicular to a circle, as the ends of the text are. The circle
    is fitted to the first guess, ``curve``.
    """
    if not kernel.ring:
        ring = _Ring(*fit_circle(kernel.roll(np.stack((kernel.x, curve(kernel.x)), 1)[kernel.inner()])), pixels)
        kernel = _Unrolled(*_edges(ring.unroll(pixels)), ring.roll, ring.way)
        curve = kernel.fit((kernel.top + kernel.bottom) / 2).curve
    places = kernel.places()
    return kernel.roll(np.stack((places, curve(places)), 1))


def _follow_outer_edge(
    pixels: Float[np.ndarray, "n 2"], kernel: _Unrolled, outer_is_top: bool
) -> tuple[Float[np.ndarray, "k 2"], float] | None:
    """The center line parallel to a circle through the outer edge, and its height; None without such a circle."""
    edge = kernel.roll(np.stack((kernel.x, kernel.top if outer_is_top else kernel.bottom), 1)[kernel.inner()])
    center, radius = fit_circle(edge)
    residuals = np.hypot(*(edge - center).T) - radius
    ring = _Ring(center, radius, pixels)
    if np.sqrt((residuals**2).mean()) > _ROUND * kernel.height or (ring.way > 0) != outer_is_top:
        return None
    unrolled = _Unrolled(*_edges(ring.unroll(pixels)), ring.roll, ring.way)
    height = float(np.percentile(unrolled.bottom - unrolled.top, _THIN))
    places = unrolled.places()
    return ring.roll(np.stack((places, np.full_like(places, ring.way * height / 2)), 1)), height


def _edges(
    points: Float[np.ndarray, "n 2"],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The centers of the non-empty columns, ``_COLUMN`` pixels wide, and the y of their tops and of their bottoms."""
    begin = points[:, 0].min() - 0.5
    column = ((points[:, 0] - begin) / _COLUMN).astype(int)
    top, bottom = np.full(column.max() + 1, np.inf), np.full(column.max() + 1, -np.inf)
    np.minimum.at(top, column, points[:, 1] - 0.5)
    np.maximum.at(bottom, column, points[:, 1] + 0.5)
    is_filled = np.isfinite(top)
    return begin + _COLUMN * (np.flatnonzero(is_filled) + 0.5), top[is_filled], bottom[is_filled]


def _forward(along: Float[np.ndarray, " 2"]) -> int:
    """1 if a direction points to the right, or down if it is steep; otherwise -1."""
    return 1 if (along[0] if abs(along[0]) >= abs(along[1]) else along[1]) > 0 else -1
