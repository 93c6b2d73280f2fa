"""Curved text in what a detector marks: which regions are bent, and the outlines that their text may have.

The network of a DB detector marks a kernel, the middle of the text. A kernel follows a gentle arc. Where the arc is
tight, it is filled on the inside: its outer edge still follows the text, its middle less so. So there are two guesses
at the center line, and reading both decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.polynomial import Polynomial

# Chosen on kernels of rendered arcs and of the 60 photographs of research/evidence/scenes.py.
LEAST_BEND = 0.2  # of a kernel's height: by how much its outer edge leaves a straight line, at least
LEAST_EXPLAINED = 0.5  # of what a straight line leaves, by a curve
LEAST_HEIGHT = 10.0  # pixels of a kernel: edges of lower ones are too rough
LEAST_ASPECT = 1.8  # width / height of the rectangle around a kernel
MOST_FILLED = 0.9  # of that rectangle; straight kernels fill more
_RING_RADIUS = 2.0  # heights of a kernel: radius from which on it may be a ring
_RING_SPAN = np.radians(90), np.radians(330)  # of a ring
_SAME = 0.1  # heights of a kernel between two center lines, below which they are one
_ROUND = 0.15  # heights of a kernel by which its outer edge may leave a circle
_INNER = 0.88  # share of the length in which curves are fitted: ends are round
_THIN = 20  # percentile of the heights along a kernel: of where it is not filled on the inside
_MOST_HIGH = 0.9  # of the radius: half the height of an outline
_COLUMN = 3.0  # pixels of a column: narrower ones miss pixels of a picture that is turned
_STEP = 1.0  # heights of a kernel between two points of a center line
_LEAST_POINTS = 7


@dataclass(frozen=True)
class _Fit:
    """A cubic curve through an edge of a kernel, or its middle.

    Attributes:
        bend: pixels by which it leaves a straight line, to both sides together.
        explained: share of the squares left by a straight line that it takes away.
        rises: whether its middle lies above its ends.
    """

    curve: Polynomial
    bend: float
    explained: float
    rises: bool


@dataclass(frozen=True)
class _Unrolled:
    """A kernel with its length as x and its height as y, y down.

    Attributes:
        x, top, bottom: of its columns (``_edges``).
        roll: takes such coordinates (n, 2) to the picture.
        ring: 1 for a ring that is open at the bottom, -1 at the top, 0 for a straight frame.
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
        """The columns but those at the ends."""
        cut = int((1 - _INNER) / 2 * len(self.x))
        return slice(cut, len(self.x) - cut)

    def places(self) -> Float[np.ndarray, " k"]:
        """Places along the whole length, about ``_STEP`` heights apart."""
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
    """The outlines that the text of a curved kernel may have, the likelier first; none if the kernel is straight.

    A kernel is curved if it is an open ring; or if its outer edge leaves a straight line by ``LEAST_BEND`` of its
    height, its middle by half of that to the same side, and curves explain ``LEAST_EXPLAINED`` of what lines leave.

    Args:
        pixels: centers of the kernel's pixels.
        box: the smallest rectangle around it.
        unclip: by how much kernels are grown, as for ``dptr.photo.detect.find_boxes``.

    Returns:
        Of 2k points each, as for ``dptr.photo.strip.Strip``, the text running to the right, or down where it is steep.
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
        bent = outer.bend >= least and middle.bend >= least / 2 and outer.rises == middle.rises
        if not bent or min(outer.explained, middle.explained) < LEAST_EXPLAINED:
            return []
    center = _follow_middle(pixels, kernel, middle.curve)
    around = _follow_outer_edge(pixels, kernel, outer_is_top)
    if around is None:
        return [grow_line(center, kernel.height, unclip)]
    apart = np.hypot(*(around[0][:, None] - center).transpose(2, 0, 1)).min(1).max()
    lines = [around] if apart < _SAME * kernel.height else [around, (center, kernel.height)]
    return [grow_line(line, thick, unclip) for line, thick in lines]


def fit_circle(points: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, " 2"], float]:
    """The circle nearest to points: its center and its radius, huge for points on a line (Pratt 1987).

    Least squares of a (x^2 + y^2) + b x + c y + d under b^2 + c^2 - 4 a d = 1: unlike Kasa's a = 1, it does not shrink
    short arcs, and it allows lines.
    """
    middle = points.mean(0)
    scale = float(np.sqrt(((points - middle) ** 2).sum(1).mean())) or 1.0
    x, y = ((points - middle) / scale).T
    design = np.stack((x**2 + y**2, x, y, np.ones_like(x)), 1)
    constraint = np.array(((0, 0, 0, -2), (0, 1, 0, 0), (0, 0, 1, 0), (-2, 0, 0, 0)), float)
    values, vectors = np.linalg.eig(np.linalg.solve(constraint, design.T @ design / len(points)))
    least = np.where(values.real > -1e-9, values.real, np.inf).argmin()
    a, b, c, d = vectors[:, least].real
    a = a if abs(a) > 1e-9 else 1e-9
    radius = np.sqrt(max((b**2 + c**2) / (4 * a**2) - d / a, 0.0))
    return middle - scale * np.array((b, c)) / (2 * a), float(scale * radius)


def grow_line(line: Float[np.ndarray, "k 2"], height: float, unclip: float) -> Float[np.ndarray, "points 2"]:
    """The outline around a kernel's center line, grown on all sides as the box of a straight one is."""
    steps = np.diff(line, axis=0)
    length = float(np.hypot(*steps.T).sum())
    turn = np.ptp(np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    margin = unclip * length * height / (2 * (length + height))
    half = min(height / 2 + margin, _MOST_HIGH * length / max(turn, 1e-9))
    tangents = np.gradient(line, axis=0)
    tangents /= np.maximum(np.hypot(*tangents.T), 1e-9)[:, None]
    line = np.concatenate((line[:1] - margin * tangents[:1], line, line[-1:] + margin * tangents[-1:]))
    tangents = np.concatenate((tangents[:1], tangents, tangents[-1:]))
    down = half * np.stack((-tangents[:, 1], tangents[:, 0]), 1)
    return np.concatenate((line - down, (line + down)[::-1]))


def _unroll_straight(pixels: Float[np.ndarray, "n 2"]) -> _Unrolled:
    """Along the principal axis: on an arc it is the chord, which the smallest rectangle need not follow."""
    middle = pixels.mean(0)
    u = np.linalg.eigh(np.cov((pixels - middle).T))[1][:, 1]
    u = u * _forward(u)
    axes = np.array((u, (-u[1], u[0])))
    return _Unrolled(*_edges((pixels - middle) @ axes.T), lambda points: points @ axes + middle, 0)


def _unroll_ring(pixels: Float[np.ndarray, "n 2"]) -> _Unrolled | None:
    """None if the pixels are no ring: too short, closed, or too thick."""
    center, radius = fit_circle(pixels)
    ring = _Ring(center, radius, pixels)
    x, y = ring.unroll(pixels).T
    if not _RING_SPAN[0] <= np.ptp(x) / radius <= _RING_SPAN[1]:
        return None
    kernel = _Unrolled(*_edges(np.stack((x, y), 1)), ring.roll, ring.way)
    return kernel if radius >= _RING_RADIUS * kernel.height else None


class _Ring:
    """Coordinates along a circle, from the middle of some points, and across it: x to the right, or down, and y down.

    Attributes:
        way: 1 if x runs clockwise, as on an arch, and -1 if not, as on a bowl.
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
    """The center line along the middles of columns that stand on a circle through a first guess, as the ends do."""
    if not kernel.ring:
        ring = _Ring(*fit_circle(kernel.roll(np.stack((kernel.x, curve(kernel.x)), 1)[kernel.inner()])), pixels)
        kernel = _Unrolled(*_edges(ring.unroll(pixels)), ring.roll, ring.way)
        curve = kernel.fit((kernel.top + kernel.bottom) / 2).curve
    places = kernel.places()
    return kernel.roll(np.stack((places, curve(places)), 1))


def _follow_outer_edge(
    pixels: Float[np.ndarray, "n 2"], kernel: _Unrolled, outer_is_top: bool
) -> tuple[Float[np.ndarray, "k 2"], float] | None:
    """The center line along a circle through the outer edge, and its height; None if that edge is no such circle."""
    edge = kernel.roll(np.stack((kernel.x, kernel.top if outer_is_top else kernel.bottom), 1)[kernel.inner()])
    center, radius = fit_circle(edge)
    off = np.hypot(*(edge - center).T) - radius
    ring = _Ring(center, radius, pixels)
    if np.sqrt((off**2).mean()) > _ROUND * kernel.height or (ring.way > 0) != outer_is_top:
        return None
    unrolled = _Unrolled(*_edges(ring.unroll(pixels)), ring.roll, ring.way)
    height = float(np.percentile(unrolled.bottom - unrolled.top, _THIN))
    places = unrolled.places()
    return ring.roll(np.stack((places, np.full_like(places, ring.way * height / 2)), 1)), height


def _edges(
    points: Float[np.ndarray, "n 2"],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """The middles of columns of ``_COLUMN`` pixels that are not empty, and y of their tops and of their bottoms."""
    begin = points[:, 0].min() - 0.5
    column = ((points[:, 0] - begin) / _COLUMN).astype(int)
    top, bottom = np.full(column.max() + 1, np.inf), np.full(column.max() + 1, -np.inf)
    np.minimum.at(top, column, points[:, 1] - 0.5)
    np.maximum.at(bottom, column, points[:, 1] + 0.5)
    used = np.isfinite(top)
    return begin + _COLUMN * (np.flatnonzero(used) + 0.5), top[used], bottom[used]


def _forward(along: Float[np.ndarray, " 2"]) -> int:
    """1 if a direction leads to the right, or down where it is steep; else -1."""
    return 1 if (along[0] if abs(along[0]) >= abs(along[1]) else along[1]) > 0 else -1
