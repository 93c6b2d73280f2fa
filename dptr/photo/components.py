"""Connected regions of a mask, and the smallest rectangles around them, in numpy alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int


def label_runs(mask: Bool[np.ndarray, "h w"]) -> tuple[Int[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """Find the regions of a mask; pixels that touch at a side or a corner belong to the same region.

    Returns:
        runs: horizontal runs of set pixels, from top to bottom: row, first column, column after the last.
        labels: the region of each run, numbered from 0 without gaps.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    rows, columns = np.nonzero(np.diff(padded, axis=1))
    row, first, after = rows[::2], columns[::2], columns[1::2]
    runs = np.stack((row, first, after), 1)
    if not len(runs):
        return runs, np.zeros(0, int)
    # Number the pixels of all rows consecutively, with space between rows, so that one search covers all rows.
    stride = width + 2
    begin, end = row * stride + first, row * stride + after
    # Index of the first run in the next row that ends at or after the start of each run.
    low = np.searchsorted(end, begin + stride, "left")
    high = np.searchsorted(begin, end + stride, "right")
    count = np.maximum(high - low, 0)
    upper = np.repeat(np.arange(len(runs)), count)
    lower = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count) + np.repeat(low, count)
    return runs, _label_components(len(runs), upper, lower)


def _label_components(count: int, starts: Int[np.ndarray, " e"], ends: Int[np.ndarray, " e"]) -> Int[np.ndarray, " n"]:
    """The connected components of a graph: the component of each of ``count`` nodes, numbered by their first nodes."""
    parent = np.arange(count)
    while True:
        roots = parent[starts], parent[ends]
        if np.array_equal(*roots):
            return np.unique(parent, return_inverse=True)[1]
        np.minimum.at(parent, np.maximum(*roots), np.minimum(*roots))
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]


def convex_hull(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "k 2"]:
    """The corners of the convex hull, in order (Andrew's monotone chain); one or two points stay as they are."""
    ordered = [(float(x), float(y)) for x, y in np.unique(points, axis=0)]
    if len(ordered) < 3:
        return np.array(ordered)
    halves: list[list[tuple[float, float]]] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for point in sequence:
            while len(chain) > 1 and _cross_product(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        halves.append(chain[:-1])
    return np.array(halves[0] + halves[1])


def _cross_product(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def smallest_rectangle(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "4 2"]:
    """The rectangle of least area around all points; one of its sides lies on a side of the convex hull.

    Returns:
        Its corners, clockwise as seen on the picture (y down), from the one nearest to the top left.
    """
    hull = convex_hull(points)
    sides = np.roll(hull, -1, 0) - hull
    lengths = np.hypot(*sides.T)
    sides = sides[lengths > 0] / lengths[lengths > 0, None] if (lengths > 0).any() else np.array([[1.0, 0.0]])
    along, across = hull @ sides.T, hull @ np.stack((-sides[:, 1], sides[:, 0]))
    areas = np.ptp(along, 0) * np.ptp(across, 0)
    best = int(areas.argmin())
    u, v = sides[best], np.array((-sides[best, 1], sides[best, 0]))
    (left, right), (top, bottom) = ((each[:, best].min(), each[:, best].max()) for each in (along, across))
    corners = np.array([left * u + top * v, right * u + top * v, right * u + bottom * v, left * u + bottom * v])
    return np.roll(corners, -int(corners.sum(1).argmin()), 0)
