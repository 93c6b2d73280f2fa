"""Straightened crops hold what the picture shows, and their places go back to it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dptr.photo.rectify import MAX_SIDE, homography, lengthen, locate, rectify, side_lengths

CORNERS = np.array(((60, 20), (160, 50), (150, 90), (50, 55)), float)


def _ramp(width: int = 220, height: int = 140) -> Image.Image:
    """Red grows with x, green with y: a pixel's color says where it is."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


def test_a_homography_takes_its_points_along() -> None:
    source = np.array(((0, 0), (7, 1), (6, 5), (-1, 4)), float)
    mapped = np.concatenate((source, np.ones((4, 1))), 1) @ homography(source, CORNERS).T
    assert mapped[:, :2] / mapped[:, 2:] == pytest.approx(CORNERS)


@pytest.mark.parametrize("turn", range(4))
def test_pixels_come_from_where_locate_says(turn: int) -> None:
    corners = np.roll(CORNERS, turn, 0)
    crop = rectify(_ramp(), corners)
    width, height = crop.image.size
    assert (width, height) == tuple(round(side) for side in side_lengths(corners))
    pixels = np.asarray(crop.image).astype(float)
    for x, y in ((3, 3), (width // 2, height // 2), (width - 4, 5), (6, height - 4)):
        a, _, c, _ = locate(corners, x / width, y / height, (x + 1) / width, (y + 1) / height)
        center = (np.array(a) + c) / 2 - 0.5
        assert pixels[y, x, :2] == pytest.approx(center, abs=1.01)


def test_outside_the_picture_its_edge_is_repeated() -> None:
    image = Image.new("RGB", (40, 30), (10, 200, 30))
    crop = rectify(image, np.array(((-20, -10), (60, -10), (60, 50), (-20, 50)), float))
    assert crop.image.size == (80, 60)
    assert (np.asarray(crop.image) == (10, 200, 30)).all()


def test_large_boxes_are_shrunk() -> None:
    image = Image.new("RGB", (3 * MAX_SIDE, 40), "white")
    crop = rectify(image, np.array(((0, 0), (3 * MAX_SIDE, 0), (3 * MAX_SIDE, 40), (0, 40)), float))
    assert crop.image.size == (MAX_SIDE, 13)


def test_lines_grow_along_their_text() -> None:
    box = np.array(((10, 10), (50, 10), (50, 20), (10, 20)), float)
    assert lengthen(box, 5).tolist() == [[5, 10], [55, 10], [55, 20], [5, 20]]
    assert lengthen(np.roll(box, -1, 0), 5).tolist() == [[50, 5], [50, 25], [10, 25], [10, 5]]
