"""Quadrilaterals cut out of a picture and made straight, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.photo.page import Box

MAX_SIDE = 4096  # pixels of a crop; longer sides are shrunk: recognizers read crops of 32 to 64 rows
_OVERSIZE = 2  # times the side of a crop that its part of the picture may have before it is shrunk first


@dataclass(frozen=True)
class Crop:
    """A straightened part of a picture.

    Attributes:
        image: RGB, the text running from left to right.
        corners: of the part in the picture, where the crop's top left, top right, bottom right and bottom left lie.
    """

    image: Image.Image
    corners: Float[np.ndarray, "4 2"]


def locate(corners: Float[np.ndarray, "4 2"], left: float, top: float, right: float, bottom: float) -> Box:
    """A rectangle of a crop as a quadrilateral of the picture.

    Args:
        corners: of the crop in the picture.
        left, top, right, bottom: as fractions of the crop's width and height.
    """
    matrix = _from_unit_square(corners.astype(float).tobytes())
    points = np.array(((left, top, 1), (right, top, 1), (right, bottom, 1), (left, bottom, 1))) @ matrix.T
    (a, b), (c, d), (e, f), (g, h) = (points[:, :2] / points[:, 2:]).tolist()
    return (a, b), (c, d), (e, f), (g, h)


@lru_cache(maxsize=64)
def _from_unit_square(corners: bytes) -> Float[np.ndarray, "3 3"]:
    """The map that takes (0, 0), (1, 0), (1, 1), (0, 1) to four points; kept, as many boxes are located in one crop."""
    square = np.array(((0, 0), (1, 0), (1, 1), (0, 1)), float)
    return homography(square, np.frombuffer(corners).reshape(4, 2))


def homography(source: Float[np.ndarray, "4 2"], target: Float[np.ndarray, "4 2"]) -> Float[np.ndarray, "3 3"]:
    """The projective map that takes four points to four others; no three of either may lie on one line.

    Raises:
        numpy.linalg.LinAlgError: three do.
    """
    rows = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    solved = np.linalg.solve(np.array(rows), target.reshape(-1))
    return np.append(solved, 1).reshape(3, 3)


def rectify(image: Image.Image, corners: Float[np.ndarray, "4 2"]) -> Crop:
    """Cut out a convex quadrilateral as a rectangle of about its size; what lies outside the picture repeats its edge.

    Args:
        corners: where the crop's top left, top right, bottom right and bottom left lie in the picture; their middle is
            in it.
    """
    width, height = (max(1, round(side)) for side in side_lengths(corners))
    shrink = min(1.0, MAX_SIDE / max(width, height))
    size = max(1, round(shrink * width)), max(1, round(shrink * height))
    (left, top), (right, bottom) = (corners.min(0) - 2).astype(int).tolist(), (corners.max(0) + 3).astype(int).tolist()
    bounds = (
        *(min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)),
        *(max(min(right, image.width), 1), max(min(bottom, image.height), 1)),
    )
    part = image.crop(bounds)
    factor = max(1, int(max(width / size[0], height / size[1]) / _OVERSIZE))
    part = part.reduce(factor) if factor > 1 else part
    beyond = [max(0, side) // factor + 1 for side in (-left, -top, right - image.width, bottom - image.height)]
    edged = np.pad(np.asarray(part), ((beyond[1], beyond[3]), (beyond[0], beyond[2]), (0, 0)), mode="edge")
    inside = (corners - np.array(bounds[:2])) / factor + beyond[:2]
    frame = np.array(((0, 0), (size[0], 0), size, (0, size[1])), float)
    matrix = homography(frame, inside)
    straight = Image.fromarray(edged).transform(
        size, Image.Transform.PERSPECTIVE, matrix.reshape(-1)[:8].tolist(), Image.Resampling.BICUBIC
    )
    return Crop(straight, corners)


def lengthen(corners: Float[np.ndarray, "4 2"], beside: float) -> Float[np.ndarray, "4 2"]:
    """A quadrilateral that begins earlier and ends later by ``beside`` pixels, along its upper and its lower side."""
    above, below = corners[1] - corners[0], corners[2] - corners[3]
    above, below = (beside * side / max(float(np.hypot(*side)), 1e-6) for side in (above, below))
    return corners + np.array((-above, above, below, -below))


def side_lengths(corners: Float[np.ndarray, "4 2"]) -> tuple[float, float]:
    """Mean width and height of a quadrilateral, along its text and across it."""
    lengths = np.hypot(*(np.roll(corners, -1, 0) - corners).T)
    return float(lengths[0] + lengths[2]) / 2, float(lengths[1] + lengths[3]) / 2
