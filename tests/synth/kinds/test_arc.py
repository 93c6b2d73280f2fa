"""Arcs and badges: unrolled, they hold the word as it was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dptr.synth.kinds.arc import ARC, draw_arc, wrap
from dptr.synth.kinds.emblem import draw_emblem
from dptr.synth.kinds.kind import Materials
from dptr.synth.layout import draw_word


def unroll(
    mask: np.ndarray, center: tuple[float, float], radius: float, shape: tuple[int, int], concave: bool
) -> np.ndarray:
    """The band of ``shape`` around ``radius``, from left to right: where each of its pixels lies on the circle."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = (x - width / 2) / radius
    reach, down = (radius - height / 2 + y, 1) if concave else (radius + height / 2 - y, -1)
    places = center[0] + reach * np.sin(angle), center[1] + down * reach * np.cos(angle)
    return cv2.remap(mask, *(place.astype(np.float32) for place in places), cv2.INTER_LINEAR)


@pytest.mark.parametrize("concave", [False, True])
@pytest.mark.parametrize("degrees", [90, 150, 220, 300])
def test_the_unrolled_arc_is_the_word(font_index, concave: bool, degrees: int) -> None:
    line = draw_word(font_index.fonts[0], "HUNTED")
    height, width = line.mask.shape
    radius = width / np.deg2rad(degrees)
    arc = wrap(line, np.deg2rad(degrees), concave)
    scale = min(1.0, 240 / (2 * radius + height))
    outer = (radius + height / 2) * scale
    # Where the circle's middle lies in the trimmed mask: below the top of a convex arc, above the bottom of a concave.
    canvas = np.pad(arc.mask, 300)
    middle = 300 + arc.mask.shape[1] / 2
    down = 300 + outer if not concave else 300 + arc.mask.shape[0] - outer
    size = round(height * scale), round(width * scale)
    flat = cv2.resize(line.mask, size[::-1], interpolation=cv2.INTER_AREA).ravel()

    def compare(right: int, below: int, mirrored: bool = False) -> float:
        band = unroll(canvas, (middle + right, down + below), radius * scale, size, concave)
        return float(np.corrcoef((band[:, ::-1] if mirrored else band).ravel(), flat)[0, 1])

    # the arc was cut to its ink, so that its middle is known to some pixels only
    correlation, right, below = max((compare(x, y), x, y) for x in range(-8, 9) for y in range(-3, 4))
    assert correlation > 0.85
    assert compare(right, below, mirrored=True) < correlation - 0.3


def test_letters_have_places_where_they_stand_side_by_side(font_index) -> None:
    line = draw_word(font_index.fonts[0], "HUNTED", 0.2)
    for concave in (False, True):
        arc = wrap(line, np.deg2rad(100), concave)
        assert (np.diff(arc.stops.mean(1)[:, 0]) > 0).all()
        count, _, _, centers = cv2.connectedComponentsWithStats((arc.mask > 127).astype(np.uint8))
        assert count == 7
        centers = centers[1:][np.argsort(centers[1:, 0])]
        between = (arc.stops[:, 0] + arc.stops[:, 1]) / 2
        assert np.abs(centers - between).max() < 8
        assert np.isnan(wrap(line, np.deg2rad(250), concave).stops).all()


def test_arcs_span_their_angles_and_can_be_read(font_index) -> None:
    shapes = []
    for seed in range(60):
        arc = draw_arc("STATION", font_index.fonts[0], None, np.random.default_rng(seed))
        assert arc is not None and arc.rows < 5 and arc.across is not None and arc.across > 2
        shapes.append(arc.mask.shape[1] / arc.mask.shape[0])
    assert min(shapes) < 1.3 and max(shapes) > 2
    for text in ("ab", "W" * 60):
        assert draw_arc(text, font_index.fonts[0], None, np.random.default_rng(0)) is None
    assert "quarter_turn" in ARC.effects


def test_badges_are_round_and_two_parts_come_in_order(font_index) -> None:
    materials = Materials(np.random.default_rng(0).uniform(0, 255, (50, 3)).astype(np.float32), (), font_index)
    two = 0
    for seed in range(40):
        line = draw_emblem("HUT TOY", font_index.fonts[0], materials, np.random.default_rng(seed))
        assert line is not None and line.ground is not None and np.isnan(line.stops).all()
        left, top, right, bottom = line.box
        assert 0.7 < (right - left) / (bottom - top) < 4
        rows = np.flatnonzero(line.mask.any(1))
        two += rows.max() - rows.min() > 0.7 * line.mask.shape[0]
    assert two > 15
