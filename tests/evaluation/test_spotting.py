"""End-to-end scores against pictures of the polygons, and on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dptr.evaluation.spotting import Spotting, intersect, intersection_over_union, polygon_area, score_words


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array(((left, top), (right, top), (right, bottom), (left, bottom)), float)


def _mask(polygon: np.ndarray) -> np.ndarray:
    image = Image.new("1", (1000, 1000))
    ImageDraw.Draw(image).polygon([tuple(point) for point in polygon], fill=1)
    return np.asarray(image)


@pytest.mark.parametrize("seed", range(12))
def test_overlaps_are_those_of_drawn_polygons(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def polygon() -> np.ndarray:
        angles = np.sort(rng.choice(360, 4, replace=False)) * np.pi / 180
        points = 500 + rng.uniform(-150, 150, 2) + 300 * np.stack((np.cos(angles), np.sin(angles)), 1)
        return points[:: rng.choice((-1, 1))]

    one, two = polygon(), polygon()
    drawn = (_mask(one) & _mask(two)).sum(), (_mask(one) | _mask(two)).sum()
    assert polygon_area(intersect(one, two)) == pytest.approx(drawn[0], abs=0.01 * drawn[1])
    assert intersection_over_union(one, two) == pytest.approx(drawn[0] / drawn[1], abs=0.01)


def test_polygons_apart_and_equal() -> None:
    box = _box(0, 0, 10, 10)
    assert intersection_over_union(box, _box(20, 0, 30, 10)) == 0
    assert intersection_over_union(box, box[::-1]) == pytest.approx(1)
    assert intersection_over_union(box, _box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert intersection_over_union(box, box[[0, 0, 0, 0]]) == 0


def test_a_word_must_be_covered_and_read() -> None:
    labeled = [(_box(0, 0, 100, 20), "Exit!"), (_box(0, 50, 100, 70), "Two"), (_box(0, 90, 100, 110), "Three")]
    predicted = [
        (_box(2, 1, 98, 21), "EXIT"),  # letters and digits, case aside
        (_box(0, 50, 100, 70), "Tow"),
        (_box(0, 90, 49, 110), "Three"),  # less than half
    ]
    score = score_words(predicted, labeled)
    assert score == Spotting(words=3, predictions=3, found=2, read=1)
    assert score.rates() == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert score.rates(end_to_end=False) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_illegible_words_count_on_neither_side() -> None:
    labeled = [(_box(0, 0, 100, 20), "###"), (_box(0, 50, 100, 70), "!!"), (_box(0, 90, 100, 110), "one")]
    predicted = [(_box(10, 0, 60, 20), "a"), (_box(0, 50, 100, 70), "b"), (_box(0, 90, 100, 110), "ONE")]
    assert score_words(predicted, labeled) == Spotting(1, 1, 1, 1)


def test_a_prediction_serves_one_word() -> None:
    labeled = [(_box(0, 0, 100, 20), "one"), (_box(0, 0, 90, 20), "one")]
    assert score_words([(_box(0, 0, 96, 20), "one")], labeled) == Spotting(2, 1, 1, 1)


def test_nothing_predicted_or_labeled() -> None:
    box = _box(0, 0, 10, 10)
    assert score_words([], [(box, "a")]) == Spotting(1, 0, 0, 0)
    assert score_words([(box, "a")], []) == Spotting(0, 1, 0, 0)
    assert Spotting().rates() == (0, 0, 0)
    assert Spotting(1, 2, 3, 4) + Spotting(1, 1, 1, 1) == Spotting(2, 3, 4, 5)
