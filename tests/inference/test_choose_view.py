"""Which view of a picture counts, as a table worked out by hand."""

from __future__ import annotations

import pytest

from dptr.inference.prediction import Prediction
from dptr.inference.views import choose_view, view_orientation

NO, UP, YES, LETTER = (
    Prediction(text, confidence, ()) for text, confidence in (("no", 0.6), ("up", 0.9), ("yes", 0.8), ("i", 0.99))
)
LOST = Prediction("aaaaaa", 0.99, (), runaway=True)


@pytest.mark.parametrize(
    ("readings", "tta", "expected"),
    [
        ([NO], 1, 0),
        ([NO, UP, YES], 1, 1),
        ([NO, YES, UP], 1, 2),
        ([UP, UP, UP], 1, 0),  # the earlier of equals
        ([NO, LETTER, YES], 1, 2),  # one letter turned is a dash
        ([NO, LETTER, YES], 3, 1),  # but upright it may be one
        ([NO, LOST, NO], 1, 0),
        ([LOST, UP, YES], 1, 0),  # the first counts unless a later one is more confident
        ([NO, NO, YES, NO, LETTER, UP], 2, 5),
    ],
)
def test_the_most_confident_possible_reading_counts(readings: list[Prediction], tta: int, expected: int) -> None:
    assert choose_view(readings, tta) == expected


def test_readings_are_compared_as_they_were_before_calibration() -> None:
    surer, likelier = Prediction("no", 0.9, (), uncalibrated=0.5), Prediction("yes", 0.7, (), uncalibrated=0.6)
    assert choose_view([surer, likelier]) == 1


def test_views_are_ordered_by_orientation() -> None:
    assert [view_orientation(view) for view in range(3)] == [0, 90, 270]
    assert [view_orientation(view, tta=2) for view in range(6)] == [0, 0, 90, 90, 270, 270]
