"""Geometry of words in photographs: from any outline to four corners in reading order, and to an upright crop."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.utils.extras import import_package

DEGENERATE = "degenerate box"
OUTSIDE_PICTURE = "box outside the picture"

MIN_AREA = 4.0  # square pixels; a smaller box shows no letter
MIN_INSIDE = 0.5  # of the box's area; with less inside the picture, the crop does not show the label
_FLAT = 1e-3  # least area of a corner's triangle, relative to the quadrilateral

_ROUNDING = 1e-3  # pixels; OpenCV's rectangles have single precision

Points = Float[np.ndarray, "n 2"]
Corners = Float[np.ndarray, "4 2"]


def box_points(left: float, top: float, right: float, bottom: float) -> Corners:
    """An axis-aligned box as its four corners, clockwise from the top left one."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def reading_corners(points: Points) -> Corners | None:
    """Corners of a word whose outline begins above its first letter and runs along the top first.

    A convex quadrilateral keeps its corners; a counterclockwise one is reversed from its first corner on, since it
    would give a mirrored crop. Any other outline becomes the rectangle of least area around it, whose top side has the
    reading direction: from the first point to the second; or, if there are six or more points, an even number, and both
    halves of the outline (top and bottom of a curved word) have a similar direction, along the mean of the two, which
    is more robust at the steep end of an arch.

    Args:
        points: x and y in pixels; pixel (i, j) covers i..i+1, j..j+1. A last point equal to the first is ignored.

    Returns:
        Corners clockwise in the picture, the word's top left first; None for fewer than three points, or coordinates
        that are not finite.
    """
    points = _open_outline(points)
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    if len(points) == 4:
        corners = points if _signed_area(points) >= 0 else points[[0, 3, 2, 1]]
        if _is_convex(corners):
            return corners
    half = len(points) // 2
    top, bottom = points[half - 1] - points[0], points[half] - points[-1]
    halves_agree = len(points) >= 6 and len(points) % 2 == 0 and top @ bottom > 0
    return _rotate_corners(_least_rectangle(points), top + bottom if halves_agree else points[1] - points[0])


def upright_corners(points: Points) -> Corners | None:
    """Corners of a word whose outline begins anywhere: the top is the side that points most to the right.

    So words that are rotated by less than 45 degrees become upright; others stay rotated by a multiple of 90 degrees.
    Outline and result are otherwise as in ``reading_corners``.
    """
    points = _open_outline(points)
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    corners = points if _signed_area(points) >= 0 else points[::-1]
    if len(corners) != 4 or not _is_convex(corners):
        corners = _least_rectangle(points)
    return _rotate_corners(corners, np.array([1.0, 0.0]))


def check_corners(corners: Corners | None, width: int, height: int) -> str | None:
    """None if a box can be cut out of a picture of this size, otherwise ``DEGENERATE`` or ``OUTSIDE_PICTURE``."""
    if corners is None or _signed_area(corners) < MIN_AREA:
        return DEGENERATE
    inside = _signed_area(_clipped(corners, width, height))
    return OUTSIDE_PICTURE if inside < max(MIN_AREA, MIN_INSIDE * _signed_area(corners)) else None


def cut(image: Image.Image, corners: Corners) -> Image.Image:
    """Cut a word out: axis-aligned boxes are cropped, rounded outwards; others get a perspective transform.

    The sides of a rectified crop are the rounded mean lengths of opposite sides, at least 1. Interpolation is bilinear,
    and repeats the border beyond the picture.

    Args:
        image: RGB.
        corners: accepted by ``check_corners``.
    """
    left, top = corners[0]
    right, bottom = corners[2]
    if left < right and top < bottom and np.array_equal(corners, box_points(left, top, right, bottom)):
        low, high = np.floor(corners[0] + _ROUNDING), np.ceil(corners[2] - _ROUNDING)
        low, high = np.maximum(low, 0), np.minimum(high, image.size)
        return image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    width = max(1, round((sides[0] + sides[2]) / 2))
    height = max(1, round((sides[1] + sides[3]) / 2))
    low = np.maximum(
        np.floor(corners.min(0)) - 2, 0
    )  # warp only the surroundings of the word: a photograph may be huge
    high = np.minimum(np.ceil(corners.max(0)) + 2, image.size)
    around = np.asarray(image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    cv2 = _import_cv2()
    middle = low + 0.5  # OpenCV counts from the middle of the first pixel
    matrix = cv2.getPerspectiveTransform(
        (corners - middle).astype(np.float32), (box_points(0, 0, width, height) - 0.5).astype(np.float32)
    )
    crop = cv2.warpPerspective(around, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Image.fromarray(crop)


def _open_outline(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points[:-1] if len(points) > 1 and np.array_equal(points[0], points[-1]) else points


def _signed_area(points: np.ndarray) -> float:
    """Area by the shoelace formula, positive for an outline that is clockwise in the picture (y points down)."""
    if len(points) < 3:
        return 0.0
    x, y = (points - points[0]).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _is_convex(corners: np.ndarray) -> bool:
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return bool(turns.min() > _FLAT * _signed_area(corners))


def _least_rectangle(points: np.ndarray) -> np.ndarray:
    """Corners of the rectangle of least area around the points, clockwise, in any rotation."""
    cv2 = _import_cv2()
    origin = points.mean(0)  # OpenCV computes in single precision
    corners = cv2.boxPoints(cv2.minAreaRect((points - origin).astype(np.float32))).astype(np.float64) + origin
    return corners if _signed_area(corners) >= 0 else corners[::-1]


def _rotate_corners(corners: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Reorder the corners cyclically so that the first side has most nearly this direction."""
    sides = np.roll(corners, -1, axis=0) - corners
    along = sides @ direction / np.maximum(np.linalg.norm(sides, axis=1), 1e-9)
    return np.roll(corners, -int(along.argmax()), axis=0)


def _clipped(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Clip a convex outline to the picture (Sutherland and Hodgman, CACM 1974); up to 8 points."""
    points = corners
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        depth = sign * (points[:, axis] - limit)
        kept = []
        for index in range(len(points)):
            here, there = depth[index - 1], depth[index]
            if (here >= 0) != (there >= 0):
                kept.append(points[index - 1] + (points[index] - points[index - 1]) * (here / (here - there)))
            if there >= 0:
                kept.append(points[index])
        points = np.array(kept).reshape(-1, 2)
    return points


def _import_cv2() -> Any:
    return import_package("cv2", "cutting words out of photographs", "train")
