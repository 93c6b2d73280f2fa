"""Words cut out of photographs, against planted colors and an independent perspective transform."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_import import is_upright, perspective, photograph
from PIL import Image

from dptr.data.importers.geometry import (
    DEGENERATE,
    OUTSIDE_PICTURE,
    box_points,
    check_corners,
    cut,
    reading_corners,
    upright_corners,
)

SLANTED = [(40, 30), (110, 45), (104, 80), (36, 62)]


def turned(corners, degrees: float, center=(80, 60)):
    angle = np.deg2rad(degrees)
    matrix = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return [tuple(matrix @ (np.array(corner) - center) + center) for corner in corners]


def test_an_upright_box_is_cut_out_exactly():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8))
    for box in [(10, 5, 40, 20), (0, 0, 80, 50), (10.3, 5.9, 39.2, 19.5)]:
        crop = cut(image, reading_corners(box_points(*box)))
        left, top, right, bottom = int(box[0]), int(box[1]), int(np.ceil(box[2])), int(np.ceil(box[3]))
        assert np.array_equal(np.asarray(crop), np.asarray(image)[top:bottom, left:right])
    assert cut(image, reading_corners(box_points(-5, 40, 20, 60))).size == (20, 10)  # what lies within the picture


def test_a_slanted_box_agrees_with_an_independent_transform():
    y, x = np.mgrid[:120, :160]
    waves = [128 + 100 * np.sin(x / a + y / b) for a, b in [(9, 14), (17, 8), (-11, 12)]]
    picture = np.rint(np.stack(waves, 2)).astype(np.uint8)
    for corners in [SLANTED, turned(SLANTED, 90), turned(SLANTED, 200), [(-4, 10), (70, -6), (80, 30), (2, 44)]]:
        corners = np.array(corners, float)
        crop = np.asarray(cut(Image.fromarray(picture), reading_corners(corners)))
        sides = np.linalg.norm(np.roll(corners, -1, 0) - corners, axis=1)
        assert crop.shape == (round((sides[1] + sides[3]) / 2), round((sides[0] + sides[2]) / 2), 3)
        expected = perspective(picture, corners, crop.shape[1], crop.shape[0])
        assert np.abs(crop - expected).max() < 1.5  # OpenCV rounds places to 1/32 pixel


@pytest.mark.parametrize("degrees", range(0, 360, 30))
def test_a_word_is_upright_however_it_lies_in_the_picture(degrees):
    corners = turned(SLANTED, degrees)
    image = photograph(corners)
    assert is_upright(cut(image, reading_corners(np.array(corners))))
    once_more = np.array([*corners, corners[0]])  # a closed outline
    assert is_upright(cut(image, reading_corners(once_more)))
    for shift in (1, 2, 3):  # another first corner is another reading order
        assert not is_upright(cut(image, reading_corners(np.roll(corners, shift, 0))))


def test_an_anticlockwise_outline_is_not_mirrored():
    image = photograph(SLANTED)
    assert is_upright(cut(image, reading_corners(np.array(SLANTED)[[0, 3, 2, 1]])))


@pytest.mark.parametrize("degrees", range(0, 360, 45))
def test_many_points_become_the_least_rectangle_in_reading_order(degrees):
    rectangle = turned([(40, 40), (120, 40), (120, 70), (40, 70)], degrees)
    image = photograph(rectangle, size=(160, 120))
    at = np.array([rectangle[0], rectangle[1], rectangle[2], rectangle[3]])
    top = [at[0] + (at[1] - at[0]) * part for part in (0, 0.3, 0.7, 1)]
    bottom = [at[2] + (at[3] - at[2]) * part for part in (0, 0.5, 0.6, 1)]
    for points in ([*top, *bottom], [*top, bottom[0], bottom[-1], at[3] + (at[0] - at[3]) * 0.5]):
        corners = reading_corners(np.array(points))
        assert np.allclose(corners, rectangle, atol=1e-3)
    assert is_upright(cut(image, reading_corners(np.array([*top, *bottom]))))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_the_steep_ends_of_an_arch_do_not_mislead(degrees):
    """A word along a half circle begins upwards, and yet is read to the right."""
    angles = np.linspace(np.pi, 2 * np.pi, 7)
    outer = np.column_stack([80 + 50 * np.cos(angles), 80 + 50 * np.sin(angles)])
    inner = np.column_stack([80 + 30 * np.cos(angles), 80 + 30 * np.sin(angles)])
    points = np.array(turned(np.vstack([outer, inner[::-1]]), degrees))
    assert np.allclose(reading_corners(points), turned([(30, 30), (130, 30), (130, 80), (30, 80)], degrees), atol=1e-3)


def test_outlines_that_are_no_quadrilateral_become_rectangles():
    crossed = np.array([(10, 10), (60, 10), (10, 30), (60, 30)])  # two corners swapped
    assert np.allclose(reading_corners(crossed), [(10, 10), (60, 10), (60, 30), (10, 30)], atol=1e-3)
    for points in (
        [(10, 10), (60, 10), (20, 13), (10, 30)],
        [(10, 10), (60, 12), (58, 30), (58, 30)],
    ):  # dent, triangle
        corners = reading_corners(np.array(points, float))
        assert check_corners(corners, 160, 120) is None
        sides = np.roll(corners, -1, 0) - corners
        assert np.allclose((sides * np.roll(sides, -1, 0)).sum(1), 0, atol=1e-3)
        assert sides[0, 0] > abs(sides[0, 1])
        for point in points:  # to the right of each side, as y runs down
            away = point - corners
            assert (sides[:, 0] * away[:, 1] - sides[:, 1] * away[:, 0] > -1e-2).all()


@pytest.mark.parametrize("degrees", [-40, -20, 0, 20, 40])
def test_outlines_without_an_order_are_put_upright(degrees):
    corners = turned(SLANTED, degrees - 12)
    image = photograph(corners)
    for shift in range(4):
        for points in (np.roll(corners, shift, 0), np.roll(corners, shift, 0)[::-1]):
            assert is_upright(cut(image, upright_corners(points)))


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([(10, 10), (20, 10)], DEGENERATE),
        ([(10, 10), (20, 10), (20, 10), (10, 10)], DEGENERATE),
        ([(10, 10), (30, 20), (50, 30), (70, 40)], DEGENERATE),
        ([(10, 10), (11, 10), (11, 13.9), (10, 13.9)], DEGENERATE),
        ([(10, 10), (11, 10), (11, 14), (10, 14)], None),
        ([(10, 10), (20, 10), (float("nan"), 20), (10, 20)], DEGENERATE),
        ([(10, 10), (20, 10), (float("inf"), 20), (10, 20)], DEGENERATE),
        ([(200, 10), (240, 10), (240, 30), (200, 30)], OUTSIDE_PICTURE),
        ([(-40, 10), (-4, 10), (-4, 30), (-40, 30)], OUTSIDE_PICTURE),
        ([(90, 10), (111, 10), (111, 30), (90, 30)], OUTSIDE_PICTURE),  # 10 of 21 columns within
        ([(90, 10), (110, 10), (110, 30), (90, 30)], None),
        ([(0, 0), (1e9, 0), (1e9, 20), (0, 20)], OUTSIDE_PICTURE),
        ([(0, 0), (100, 0), (100, 80), (0, 80)], None),
        ([(50, -10), (110, 40), (50, 90), (-10, 40)], None),
        ([(130, 40), (170, 80), (130, 120), (90, 80)], OUTSIDE_PICTURE),
    ],
)
def test_boxes_that_show_nothing_are_told(points, reason):
    assert check_corners(reading_corners(np.array(points, float)), 100, 80) == reason
    assert check_corners(upright_corners(np.array(points, float)), 100, 80) == reason


def test_random_outlines_are_cut_or_told():
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), np.uint8))
    kept = 0
    for index in range(600):
        points = rng.uniform(-40, 120, (rng.integers(1, 9), 2)).round(index % 3)
        for corners in (reading_corners(points), upright_corners(points)):
            if check_corners(corners, 90, 60) is None:
                kept += 1
                width, height = cut(image, corners).size
                assert 1 <= width <= 250 and 1 <= height <= 250
    assert kept > 100
