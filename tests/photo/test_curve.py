"""Curved kernels: planted circles and center lines are found again, and straight kernels stay straight."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_photo import ring_outline
from PIL import Image, ImageDraw

from dptr.photo.curve import find_outlines, fit_circle, grow_line
from dptr.photo.detect import find_boxes
from dptr.photo.strip import Strip, direction

CENTER = (200.0, 200.0)
UNCLIP = 1.6


def _map(*polygons: np.ndarray, size: tuple[int, int] = (400, 400)) -> np.ndarray:
    """How likely each pixel is text, as a network says it: sure inside of polygons."""
    drawn = Image.new("L", (4 * size[0], 4 * size[1]))
    for polygon in polygons:
        ImageDraw.Draw(drawn).polygon([tuple(4 * point) for point in polygon], 255)
    return np.asarray(drawn.resize(size, Image.Resampling.BOX), float) / 255


def _kernel(radius: float, height: float, span: float, up: bool, turn: float = 0.0) -> np.ndarray:
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return ring_outline((0, 0), radius, height, span, up, 60) @ np.array(((cos, sin), (-sin, cos))) + CENTER


@pytest.mark.parametrize("span", [30, 90, 300])
def test_circles_are_found_again(span: float) -> None:
    rng = np.random.default_rng(int(span))
    turn = np.radians(rng.uniform(0, span, 400))
    points = np.array((30, -700)) + 120 * np.stack((np.cos(turn), np.sin(turn)), 1) + rng.normal(0, 0.5, (400, 2))
    center, radius = fit_circle(points)
    assert center == pytest.approx((30, -700), abs=4) and radius == pytest.approx(120, abs=4)


def test_points_on_a_line_have_a_huge_circle() -> None:
    x = np.linspace(0, 100, 30)
    _, radius = fit_circle(np.stack((x, 3 - 0.5 * x), 1))
    assert radius > 1e5


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(
    ("radius", "height", "span", "turn"),
    [(60, 16, 100, 0), (60, 16, 180, 10), (60, 16, 260, -20), (110, 20, 60, 25), (150, 14, 50, 0), (45, 20, 140, 0)],
)
def test_planted_arcs_are_found_again(radius: float, height: float, span: float, turn: float, up: bool) -> None:
    found = find_boxes(_map(_kernel(radius, height, span, up, turn)))
    assert len(found.boxes) == 1 and found.scores[0] > 0.9
    straight, *outlines = found.outlines[0]
    assert straight == pytest.approx(found.boxes[0])
    length = radius * np.radians(span)
    margin = UNCLIP * length * height / (2 * (length + height))
    for outline in outlines:
        strip = Strip(outline)
        center = strip.locate(np.linspace(0.05, 0.95, 40), 0.5)
        assert np.abs(np.hypot(*(center - CENTER).T) - radius).max() < 0.15 * height
        assert strip.height == pytest.approx(height + 2 * margin, rel=0.12)
        assert strip.length == pytest.approx(length + 2 * margin, rel=0.06)
        assert direction(outline) == pytest.approx((np.cos(np.radians(turn)), np.sin(np.radians(turn))), abs=0.06)
        top, bottom = (np.hypot(*(strip.locate(np.array([0.5]), across)[0] - CENTER)) for across in (0, 1))
        assert (top > bottom) == up  # letters on an arch stand with their heads outside


@pytest.mark.parametrize("up", [True, False])
def test_arcs_that_are_filled_on_the_inside_follow_their_outer_edge(up: bool) -> None:
    """As networks mark tight arcs: the outer half of the ring, and what lies between its ends."""
    ring = _kernel(70, 24, 120, up)
    outer = ring[:60] if up else ring[60:]
    found = find_boxes(_map(ring, outer))
    outline = found.outlines[0][1]
    middle = Strip(outline).locate(np.linspace(0.2, 0.8, 20), 0.5)
    radii = np.hypot(*(middle - CENTER).T)
    assert np.ptp(radii) < 2 and radii.mean() == pytest.approx(70, abs=0.35 * 24)


@pytest.mark.parametrize("turn", [0, 8, -30, 90, 47])
@pytest.mark.parametrize("slant", [0.0, 0.25])
def test_straight_kernels_have_no_outlines(turn: float, slant: float) -> None:
    """Also in perspective, with rough edges."""
    rng = np.random.default_rng(5)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    for width, height in ((200, 20), (90, 24), (40, 14), (60, 33), (300, 11)):
        x = np.linspace(-width / 2, width / 2, 30)
        edges = [side * (height / 2 * (1 + slant * x / width)) + rng.normal(0, 0.05 * height, 30) for side in (-1, 1)]
        points = np.concatenate((np.stack((x, edges[0]), 1), np.stack((x, edges[1]), 1)[::-1]))
        found = find_boxes(_map(points @ np.array(((cos, sin), (-sin, cos))) + CENTER))
        assert len(found.boxes) == 1 and not found.outlines, (width, height)


def test_an_outline_never_reaches_the_middle_of_its_circle() -> None:
    line = ring_outline((0, 0), 20, 0, 180, True, 30)[:30]
    outline = grow_line(line, 30, UNCLIP)
    assert np.hypot(*outline[31:-1].T).min() > 1
    assert find_outlines(np.zeros((1, 2)), np.array(((0, 0), (9, 0), (9, 9), (0, 9)), float), UNCLIP) == []
