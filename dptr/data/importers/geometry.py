"""A word cut out of a photograph: any outline becomes four corners in reading order, those an upright crop."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.utils.extras import missing_package

DEGENERATE = "degenerate box"
OUTSIDE_PICTURE = "box outside the picture"

MIN_AREA = 4.0  # square pixels; a smaller box shows no letter
MIN_INSIDE = 0.5  # of the box's area: with less in the picture, the label is not what is to be seen
_FLAT = 1e-3  # a corner whose triangle is a smaller part of the quadrilateral is no corner

_ROUNDING = 1e-3  # pixels; least rectangles come in single precision

Points = Float[np.ndarray, "n 2"]
Corners = Float[np.ndarray, "4 2"]


def box_points(left: float, top: float, right: float, bottom: float) -> Corners:
    """An axis-aligned box as its four corners, clockwise from the top left one."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def reading_corners(points: Points) -> Corners | None:
    """Corners of a word whose outline begins at its first letter's top and runs along the word's top first.

    A convex quadrilateral keeps its corners; one that runs the other way round keeps its first corner and is turned
    round, as it would give a mirrored crop. Any other outline becomes the rectangle of least area around it, turned
    so that its top runs the way the word is read: from the first point to the second, or, where six points or more
    are an even number and both halves of the outline run the same way (tops and bottoms of curved words), along the
    mean of the two, which the steep end of an arch does not mislead.

    Args:
        points: x and y in pixels; pixel (i, j) covers i..i+1, j..j+1. A last point equal to the first is left out.

    Returns:
        Corners clockwise as they are seen, top left of the word first; None for less than three different points, or
        coordinates that are not finite.
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
    return _turned(_least_rectangle(points), top + bottom if halves_agree else points[1] - points[0])


def upright_corners(points: Points) -> Corners | None:
    """Corners of a word whose outline begins anywhere: the top is the side that runs most to the right.

    Words turned by less than 45 degrees are rectified; others keep the turn that they have in the picture, up to the
    nearest right angle. Outline and result are otherwise those of ``reading_corners``.
    """
    points = _open_outline(points)
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    corners = points if _signed_area(points) >= 0 else points[::-1]
    if len(corners) != 4 or not _is_convex(corners):
        corners = _least_rectangle(points)
    return _turned(corners, np.array([1.0, 0.0]))


def check_corners(corners: Corners | None, width: int, height: int) -> str | None:
    """None for a box that can be cut out of a picture of that size, else ``DEGENERATE`` or ``OUTSIDE_PICTURE``."""
    if corners is None or _signed_area(corners) < MIN_AREA:
        return DEGENERATE
    inside = _signed_area(_clipped(corners, width, height))
    return OUTSIDE_PICTURE if inside < max(MIN_AREA, MIN_INSIDE * _signed_area(corners)) else None


def cut(image: Image.Image, corners: Corners) -> Image.Image:
    """Cut a word out: an axis-aligned box as it is, rounded outwards; another one by a perspective transform.

    The transform maps the corners to those of an upright crop whose sides are the mean lengths of opposite sides,
    rounded, at least 1; pixels are interpolated bilinearly, those beyond the picture repeat its border.

    Args:
        image: RGB.
        corners: those that ``check_corners`` lets pass.
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
    low = np.maximum(np.floor(corners.min(0)) - 2, 0)  # only what is around the word: a photograph may be huge
    high = np.minimum(np.ceil(corners.max(0)) + 2, image.size)
    around = np.asarray(image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    cv2 = _cv2()
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
    """Square pixels, positive for an outline that is clockwise as it is seen (y runs down): the shoelace formula."""
    if len(points) < 3:
        return 0.0
    x, y = (points - points[0]).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _is_convex(corners: np.ndarray) -> bool:
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return bool(turns.min() > _FLAT * _signed_area(corners))


def _least_rectangle(points: np.ndarray) -> np.ndarray:
    """Corners of the rectangle of least area around the points, clockwise, the first one anywhere."""
    cv2 = _cv2()
    origin = points.mean(0)  # OpenCV computes in single precision
    corners = cv2.boxPoints(cv2.minAreaRect((points - origin).astype(np.float32))).astype(np.float64) + origin
    return corners if _signed_area(corners) >= 0 else corners[::-1]


def _turned(corners: np.ndarray, way: np.ndarray) -> np.ndarray:
    """The corners from that one on whose side runs most nearly along ``way``."""
    sides = np.roll(corners, -1, axis=0) - corners
    along = sides @ way / np.maximum(np.linalg.norm(sides, axis=1), 1e-9)
    return np.roll(corners, -int(along.argmax()), axis=0)


def _clipped(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """The part of a convex outline within the picture (Sutherland and Hodgman, CACM 1974), up to 8 points."""
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


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise missing_package(error, "cutting words out of photographs", "train") from error
    return cv2
