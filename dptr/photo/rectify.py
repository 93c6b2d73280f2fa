"""Cut outlines of text out of a picture as straight rectangles, and map places in them back to the picture.

An outline of four points is a quadrilateral, seen in perspective. An outline of more points is a curved strip
(``dptr.photo.strip``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from PIL import Image

from dptr.photo.page import Outline
from dptr.photo.strip import Strip

MAX_SIDE = 4096  # pixels; longer crops are shrunk, since recognizers read crops of 32 to 64 rows
_FINER = 4  # quadrilaterals per nearly straight piece of a strip
_OVERSIZE = 2  # a part of the picture with more than this many times the side of its crop is shrunk first


@dataclass(frozen=True)
class Crop:
    """A straightened part of a picture.

    Attributes:
        image: RGB; the text runs from left to right.
        outline: the part in the picture: the upper side of the crop from left to right, then its lower side from right
            to left.
    """

    image: Image.Image
    outline: Float[np.ndarray, "points 2"]


def locate(outline: Float[np.ndarray, "points 2"], left: float, top: float, right: float, bottom: float) -> Outline:
    """Map a rectangle of a crop to an outline in the picture.

    Args:
        outline: of the crop in the picture.
        left, top, right, bottom: fractions of the crop's width and height.
    """
    if len(outline) > 4:
        points = Strip(outline).outline(left, top, right, bottom)
    else:
        matrix = _from_unit_square(outline.astype(float).tobytes())
        mapped = np.array(((left, top, 1), (right, top, 1), (right, bottom, 1), (left, bottom, 1))) @ matrix.T
        points = mapped[:, :2] / mapped[:, 2:]
    return tuple((x, y) for x, y in points.tolist())


@lru_cache(maxsize=64)
def _from_unit_square(corners: bytes) -> Float[np.ndarray, "3 3"]:
    """The map from (0, 0), (1, 0), (1, 1), (0, 1) to four points; cached, since many boxes share a crop."""
    square = np.array(((0, 0), (1, 0), (1, 1), (0, 1)), float)
    return homography(square, np.frombuffer(corners).reshape(4, 2))


def homography(source: Float[np.ndarray, "4 2"], target: Float[np.ndarray, "4 2"]) -> Float[np.ndarray, "3 3"]:
    """The projective map from four points to four others. No three points of either may be collinear.

    Raises:
        numpy.linalg.LinAlgError: three points are collinear.
    """
    rows = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    solution = np.linalg.solve(np.array(rows), target.reshape(-1))
    return np.append(solution, 1).reshape(3, 3)


def rectify(image: Image.Image, outline: Float[np.ndarray, "points 2"]) -> Crop:
    """Cut an outline out of a picture, as a rectangle of about the same size, but with sides of at most ``MAX_SIDE``.

    Beyond the picture, its edge pixels are repeated.

    Args:
        outline: the positions of the crop's top left, top right, bottom right, and bottom left corners in the picture,
            a convex quadrilateral; or a strip of more points. Its center is in the picture.
    """
    strip = Strip(outline) if len(outline) > 4 else None
    width, height = (max(1, round(side)) for side in side_lengths(outline))
    shrink = min(1.0, MAX_SIDE / max(width, height))
    size = max(1, round(shrink * width)), max(1, round(shrink * height))
    (left, top), (right, bottom) = (outline.min(0) - 2).astype(int).tolist(), (outline.max(0) + 3).astype(int).tolist()
    bounds = (
        *(min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)),
        *(max(min(right, image.width), 1), max(min(bottom, image.height), 1)),
    )
    part = image.crop(bounds)
    factor = max(1, int(max(width / size[0], height / size[1]) / _OVERSIZE))
    part = part.reduce(factor) if factor > 1 else part
    margins = [max(0, side) // factor + 1 for side in (-left, -top, right - image.width, bottom - image.height)]
    padded = Image.fromarray(
        np.pad(np.asarray(part), ((margins[1], margins[3]), (margins[0], margins[2]), (0, 0)), "edge")
    )

    corner = np.array(bounds[:2]) - factor * np.array(margins[:2])  # top left corner of ``padded``, in the picture
    frame = np.array(((0, 0), (size[0], 0), size, (0, size[1])), float)
    if strip is None:
        matrix = homography(frame, (outline - bounds[:2]) / factor + margins[:2])
        straight = padded.transform(
            size, Image.Transform.PERSPECTIVE, matrix.reshape(-1)[:8].tolist(), Image.Resampling.BICUBIC
        )
    else:
        mesh = _mesh(strip, size, corner, factor)
        straight = padded.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)
    return Crop(straight, outline)


def _mesh(
    strip: Strip, size: tuple[int, int], corner: Float[np.ndarray, " 2"], factor: int
) -> list[tuple[tuple[int, int, int, int], tuple[float, ...]]]:
    """Vertical slices of a crop, and the quadrilaterals of their sources, in the format of Pillow's mesh transform.

    Args:
        size: of the crop, in pixels.
        corner: the top left corner of the transformed image, in the picture.
        factor: pixels of the picture per pixel of the transformed image.
    """
    columns = np.linspace(0, size[0], min(size[0], _FINER * strip.pieces) + 1).round().astype(int)
    top, bottom = ((strip.locate(columns / size[0], side) - corner) / factor for side in (0.0, 1.0))
    return [
        ((int(columns[i]), 0, int(columns[i + 1]), size[1]), (*top[i], *bottom[i], *bottom[i + 1], *top[i + 1]))
        for i in range(len(columns) - 1)
    ]


def find_flaw(box: Float[np.ndarray, "4 2"], size: tuple[int, int]) -> str:
    """The reason why a quadrilateral cannot be cut out of a picture, as a clause for an error message; empty if it can.

    Args:
        size: width and height of the picture, in pixels.
    """
    sides = np.roll(box, -1, 0) - box
    next_sides = np.roll(sides, -1, 0)
    x, y = (box - box[0]).T
    if (sides[:, 0] * next_sides[:, 1] - sides[:, 1] * next_sides[:, 0] <= 0).any():
        return "its corners do not follow each other clockwise around it"
    if float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) < 2:
        return "it has less than a square pixel"
    middle = box.mean(0)
    return "" if (middle >= 0).all() and (middle < size).all() else "its middle lies outside the picture"


def lengthen(outline: Float[np.ndarray, "points 2"], beside: float) -> Float[np.ndarray, "more 2"]:
    """Extend an outline by ``beside`` pixels before the start and after the end of its text.

    A quadrilateral is extended along its upper and its lower side. A strip gets one more pair of points at each end.
    """
    if len(outline) > 4:
        half = len(outline) // 2
        center = (outline[:half] + outline[: half - 1 : -1]) / 2
        begin, end = (beside * _unit(step) for step in (center[0] - center[1], center[-1] - center[-2]))
        top = outline[0] + begin, *outline[:half], outline[half - 1] + end
        return np.array([*top, outline[half] + end, *outline[half:], outline[-1] + begin])
    top_step, bottom_step = (beside * _unit(side) for side in (outline[1] - outline[0], outline[2] - outline[3]))
    return outline + np.array((-top_step, top_step, bottom_step, -bottom_step))


def side_lengths(outline: Float[np.ndarray, "points 2"]) -> tuple[float, float]:
    """The mean width of an outline, along its text, and its mean height, across it, in pixels."""
    if len(outline) > 4:
        strip = Strip(outline)
        return strip.length, strip.height
    lengths = np.hypot(*(np.roll(outline, -1, 0) - outline).T)
    return float(lengths[0] + lengths[2]) / 2, float(lengths[1] + lengths[3]) / 2


def _unit(step: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
    return step / max(float(np.hypot(*step)), 1e-6)
