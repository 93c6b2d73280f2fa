"""Geometry of words in photographs: outlines to four corners in reading order, and corners to an upright crop."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.utils.extras import import_package

DEGENERATE = "degenerate box"
OUTSIDE_PICTURE = "box outside the picture"

MIN_AREA = 4.0  # square pixels; a smaller box is too small to show a letter
MIN_INSIDE = 0.5  # share of a box's area that must be inside the picture; with less, the crop does not show the label
_MIN_TURN = 1e-3  # least turn at a corner (cross product of its sides), relative to the area of the quadrilateral
_TOLERANCE = 1e-3  # pixels; OpenCV computes rectangles in single precision

Points = Float[np.ndarray, "n 2"]
Corners = Float[np.ndarray, "4 2"]


def box_points(left: float, top: float, right: float, bottom: float) -> Corners:
    """The four corners of an axis-aligned box, clockwise from the top left."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def reading_corners(points: Points) -> Corners | None:
    """The corners of a word whose outline begins above its first letter and runs along the top first.

    A convex quadrilateral keeps its corners. If it runs counterclockwise, all corners but the first are reversed, since
    the crop would be mirrored otherwise. Any other outline is replaced by the rectangle of least area around it, whose
    top side has the reading direction. This is the direction from the first point to the second. If the outline has an
    even number of six or more points, and its two halves (top and bottom of a curved word) have similar directions, it
    is the mean direction of the halves, which is more robust at the steep end of an arch.

    Args:
        points: x and y in pixels; pixel (i, j) covers i..i+1, j..j+1. A last point equal to the first is ignored.

    Returns:
        Corners clockwise in the picture, beginning with the word's top left; None for fewer than three points or
        coordinates that are not finite.
    """
    points = _open_outline(points)
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    if len(points) == 4:
        corners = points if _signed_area(points) >= 0 else points[[0, 3, 2, 1]]
        if _is_convex(corners):
            return corners
    middle = len(points) // 2
    top, bottom = points[middle - 1] - points[0], points[middle] - points[-1]
    halves_agree = len(points) >= 6 and len(points) % 2 == 0 and top @ bottom > 0
    return _rotate_corners(_least_rectangle(points), top + bottom if halves_agree else points[1] - points[0])


def upright_corners(points: Points) -> Corners | None:
    """The corners of a word whose outline begins anywhere. The side that points most to the right becomes the top.

    So words rotated by less than 45 degrees become upright. Others stay rotated by a multiple of 90 degrees. Apart from
    this, outline and result are as in ``reading_corners``.
    """
    points = _open_outline(points)
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    corners = points if _signed_area(points) >= 0 else points[::-1]
    if len(corners) != 4 or not _is_convex(corners):
        corners = _least_rectangle(points)
    return _rotate_corners(corners, np.array([1.0, 0.0]))


def check_corners(corners: Corners | None, width: int, height: int) -> str | None:
    """Check whether a box can be cut out of a picture.

    Args:
        corners: in pixels, clockwise; None for an outline without corners.
        width, height: size of the picture in pixels.

    Returns:
        None if it can, otherwise the reason: ``DEGENERATE`` or ``OUTSIDE_PICTURE``.
    """
    if corners is None or _signed_area(corners) < MIN_AREA:
        return DEGENERATE
    inside = _signed_area(_clipped(corners, width, height))
    return OUTSIDE_PICTURE if inside < max(MIN_AREA, MIN_INSIDE * _signed_area(corners)) else None


def cut(image: Image.Image, corners: Corners) -> Image.Image:
    """Cut a word out of a photograph.

    Axis-aligned boxes are rounded outwards and cropped. Other boxes are rectified by a perspective transform with
    bilinear interpolation, which repeats border pixels beyond the picture. Width and height of a rectified crop are the
    mean lengths of opposite sides, rounded, at least 1 pixel.

    Args:
        image: RGB.
        corners: corners that ``check_corners`` accepts.
    """
    left, top = corners[0]
    right, bottom = corners[2]
    if left < right and top < bottom and np.array_equal(corners, box_points(left, top, right, bottom)):
        low, high = np.floor(corners[0] + _TOLERANCE), np.ceil(corners[2] - _TOLERANCE)
        low, high = np.maximum(low, 0), np.minimum(high, image.size)
        return image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    width = max(1, round((sides[0] + sides[2]) / 2))
    height = max(1, round((sides[1] + sides[3]) / 2))
    # Photographs may be huge, so only the surroundings of the word are warped.
    low = np.maximum(np.floor(corners.min(0)) - 2, 0)
    high = np.minimum(np.ceil(corners.max(0)) + 2, image.size)
    around = np.asarray(image.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    cv2 = _import_cv2()
    pixel_center = low + 0.5  # OpenCV's origin is the center of the first pixel
    matrix = cv2.getPerspectiveTransform(
        (corners - pixel_center).astype(np.float32), (box_points(0, 0, width, height) - 0.5).astype(np.float32)
    )
    crop = cv2.warpPerspective(around, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Image.fromarray(crop)


def _open_outline(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points[:-1] if len(points) > 1 and np.array_equal(points[0], points[-1]) else points


def _signed_area(points: np.ndarray) -> float:
    """Signed area by the shoelace formula: positive for an outline that is clockwise in the picture (y points down)."""
    if len(points) < 3:
        return 0.0
    x, y = (points - points[0]).T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)


def _is_convex(corners: np.ndarray) -> bool:
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return bool(turns.min() > _MIN_TURN * _signed_area(corners))


def _least_rectangle(points: np.ndarray) -> np.ndarray:
    """Corners of the rectangle of least area around the points, clockwise; the rectangle may be rotated."""
    cv2 = _import_cv2()
    origin = points.mean(0)  # OpenCV computes in single precision, so coordinates must be small
    corners = cv2.boxPoints(cv2.minAreaRect((points - origin).astype(np.float32))).astype(np.float64) + origin
    return corners if _signed_area(corners) >= 0 else corners[::-1]


def _rotate_corners(corners: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Rotate the order of the corners so that the first side is the one nearest to this direction."""
    sides = np.roll(corners, -1, axis=0) - corners
    along = sides @ direction / np.maximum(np.linalg.norm(sides, axis=1), 1e-9)
    return np.roll(corners, -int(along.argmax()), axis=0)


def _clipped(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Clip a convex quadrilateral to the picture (Sutherland and Hodgman, CACM 1974). The result has up to 8 points."""
    points = corners
    for axis, limit, sign in ((0, 0, 1), (0, width, -1), (1, 0, 1), (1, height, -1)):
        depth = sign * (points[:, axis] - limit)
        clipped = []
        for index in range(len(points)):
            start_depth, end_depth = depth[index - 1], depth[index]
            if (start_depth >= 0) != (end_depth >= 0):
                clipped.append(
                    points[index - 1] + (points[index] - points[index - 1]) * (start_depth / (start_depth - end_depth))
                )
            if end_depth >= 0:
                clipped.append(points[index])
        points = np.array(clipped).reshape(-1, 2)
    return points


def _import_cv2() -> Any:
    return import_package("cv2", "cutting words out of photographs", "train")
