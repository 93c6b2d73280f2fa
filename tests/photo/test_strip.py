"""Curved strips against circles whose places are known, and rectified text against the text before it was bent."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_photo import bend_picture, ring_outline
from PIL import Image, ImageDraw, ImageFont

from dptr.photo.rectify import lengthen, locate, rectify, side_lengths
from dptr.photo.strip import Strip, direction, enclose, interpolate
from dptr.synth.fonts import EMBEDDED

CENTER, RADIUS, HEIGHT = (125.0, 130.0), 80.0, 32.0


@pytest.mark.parametrize(("span", "count"), [(40, 4), (120, 7), (180, 9), (270, 15)])
@pytest.mark.parametrize("up", [True, False])
def test_places_lie_on_the_circle(span: float, up: bool, count: int) -> None:
    strip = Strip(ring_outline(CENTER, RADIUS, HEIGHT, span, up, count))
    assert strip.length == pytest.approx(RADIUS * np.radians(span), rel=0.004)
    assert strip.height == pytest.approx(HEIGHT, rel=0.004)
    assert strip.pieces == pytest.approx(span / 10, abs=1)
    along = np.linspace(0, 1, 41)
    for across in (0.0, 0.3, 1.0):
        true = ring_outline(CENTER, RADIUS, HEIGHT, span, up, 41)
        wanted = true[:41] + across * (true[:40:-1] - true[:41])
        assert np.hypot(*(strip.locate(along, across) - wanted).T).max() < 0.03 * HEIGHT


def test_neighbors_in_the_same_place_count_once() -> None:
    outline = ring_outline(CENTER, RADIUS, HEIGHT, 90, True, 7)
    doubled = np.repeat(outline, 2, 0)
    along = np.linspace(0, 1, 9)
    assert Strip(doubled).locate(along, 0.2) == pytest.approx(Strip(outline).locate(along, 0.2))


def test_parabolas_and_lines_are_interpolated_exactly() -> None:
    knots, places = np.array((0.0, 1.0, 1.5, 4.0)), np.linspace(0, 4, 33)
    for values in (lambda x: np.stack((x**2, 3 - x), 1), lambda x: np.stack((2 * x, 0 * x), 1)):
        assert interpolate(knots, values(knots), places) == pytest.approx(values(places))
    assert interpolate(knots[:2], np.array(((0.0,), (5.0,))), np.array((0.5,))) == pytest.approx(2.5)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("turn", [0, 7])
def test_pixels_come_from_where_locate_says(up: bool, turn: int) -> None:
    """To a pixel and back: the color of a pixel says where it is."""
    ramp = np.zeros((256, 256, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(256), np.arange(256)[:, None]
    outline = np.roll(ring_outline(CENTER, RADIUS, HEIGHT, 160, up, 7), turn, 0)
    crop = rectify(Image.fromarray(ramp), outline)
    width, height = crop.image.size
    assert (width, height) == tuple(round(side) for side in side_lengths(outline))
    pixels = np.asarray(crop.image)[..., :2].astype(float)
    for x, y in ((3, 3), (width // 3, height // 2), (width - 4, 5), (width // 2, height - 4)):
        corners = np.array(locate(outline, x / width, y / height, (x + 1) / width, (y + 1) / height))
        assert pixels[y, x] == pytest.approx(corners.mean(0) - 0.5, abs=1.01)


@pytest.mark.parametrize("span", [60, 120, 180])
@pytest.mark.parametrize("up", [True, False])
def test_a_rectified_arc_is_the_straight_text(span: float, up: bool) -> None:
    """The arc is bent pixel by pixel, by its formula."""
    text, font = "Harbour 1904", ImageFont.truetype(str(EMBEDDED / "OpenSans.ttf"), 36)
    straight = Image.new("RGB", (300, 44), "white")
    ImageDraw.Draw(straight).text((40, 0), text, "black", font)
    radius = 300 / np.radians(span)
    center = (400.0, 420.0 if up else 80.0)
    picture = bend_picture(straight, (800, 500), center, radius, up)
    crop = rectify(picture, ring_outline(center, radius, 44, span, up, 9)).image
    assert crop.size == pytest.approx(straight.size, abs=2)
    one, two = (np.asarray(each.resize(straight.size).convert("L"), float) for each in (straight, crop))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.96
    profiles = [(255 - each).sum(0) for each in (one, two)]
    shifts = [np.corrcoef(profiles[0][10:-10], np.roll(profiles[1], shift)[10:-10])[0, 1] for shift in range(-4, 5)]
    assert abs(int(np.argmax(shifts)) - 4) <= 1  # columns


@pytest.mark.parametrize("up", [True, False])
def test_strips_grow_along_their_text(up: bool) -> None:
    outline = ring_outline(CENTER, RADIUS, HEIGHT, 120, up, 9)
    longer = lengthen(outline, 10)
    assert len(longer) == len(outline) + 4
    assert side_lengths(longer)[0] == pytest.approx(side_lengths(outline)[0] + 20, rel=0.01)
    assert side_lengths(longer)[1] == pytest.approx(HEIGHT, rel=0.02)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("degrees", [0, 30, 200])
def test_the_rectangle_lies_along_the_text(up: bool, degrees: float) -> None:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array(((cos, sin), (-sin, cos)))
    outline = ring_outline((0.0, 0.0), RADIUS, HEIGHT, 150, up, 9) @ turn
    assert direction(outline) == pytest.approx((cos, sin))
    box = enclose(outline)
    inside = (outline - box[0]) @ np.linalg.inv(np.array((box[1] - box[0], box[3] - box[0])))
    assert inside.min() == pytest.approx(0) and inside.max() == pytest.approx(1)
    assert (box[1] - box[0]) @ (cos, sin) > 0 and (box[3] - box[0]) @ (-sin, cos) > 0
    leftward = np.concatenate((outline[8::-1], outline[:8:-1]))
    assert enclose(leftward) == pytest.approx(box[[1, 0, 3, 2]])
    assert enclose(box) is box
