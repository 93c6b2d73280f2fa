"""Reading order on pages drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dptr.photo.order import measure_angle, order_boxes


def _box(left: float, top: float, width: float, height: float = 10) -> np.ndarray:
    return np.array(((left, top), (left + width, top), (left + width, top + height), (left, top + height)), float)


def _turn(boxes: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return boxes @ np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))


TITLE = _box(20, 0, 160, 16)
LEFT = [_box(0, 30 + 15 * row, 90) for row in range(4)]
RIGHT = [_box(110, 30 + 15 * row, 90) for row in range(4)]
FOOT = _box(0, 120, 200)
PAGE = np.array([TITLE, *LEFT, *RIGHT, FOOT])


@pytest.mark.parametrize("degrees", [0, 5, -8, 20, 89, 91, -89, -91, 135, 180, -172])
@pytest.mark.parametrize("seed", range(3))
def test_columns_are_read_one_after_the_other(degrees: float, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(len(PAGE))
    rows = order_boxes(_turn(PAGE[shuffled], degrees))
    assert [shuffled[index] for row in rows for index in row.boxes] == list(range(10))
    assert [row.block for row in rows] == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_columns_of_another_spacing_are_kept_apart() -> None:
    left, right = [_box(0, 15 * row, 90) for row in range(6)], [_box(110, 3 + 19 * row, 90) for row in range(4)]
    rows = order_boxes(np.array(right + left))
    assert [index for row in rows for index in row.boxes] == [4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    assert {row.block for row in rows[:6]} == {0} and {row.block for row in rows[6:]} == {1}


def test_words_beside_each_other_are_one_line() -> None:
    boxes = np.array([_box(60, 1, 40), _box(0, 0, 50), _box(0, 15, 50), _box(60, 16, 40)])
    rows = order_boxes(boxes)
    assert [row.boxes for row in rows] == [(1, 0), (2, 3)]


@pytest.mark.parametrize("degrees", [0, 7, 90, 180])
def test_a_narrow_letter_belongs_to_its_line(degrees: float) -> None:
    """A box of 1 or I is higher than wide; its width was taken for its height, and it was a line of its own."""
    boxes = np.array([_box(0, 0, 50), _box(60, 0, 3), _box(70, 0, 40), _box(0, 15, 4), _box(9, 15, 90)])
    assert [row.boxes for row in order_boxes(_turn(boxes, degrees))] == [(0, 1, 2), (3, 4)]


def test_letters_one_below_the_other_are_no_line_of_their_height() -> None:
    column, lines = _box(120, 0, 10, 60), [_box(0, 15 * row, 100) for row in range(4)]
    rows = order_boxes(np.array([column, *lines]))
    assert sorted(row.boxes for row in rows) == [(0,), (1,), (2,), (3,), (4,)]


@pytest.mark.parametrize("down", np.arange(0, 10, 0.9).tolist())
def test_lines_beside_each_other_go_from_left_to_right_wherever_they_stand(down: float) -> None:
    """They are too far apart for one line, and one of them lies a little higher."""
    boxes = np.array([_box(100, down, 40), _box(0, down + 0.8, 40)])
    assert [row.boxes for row in order_boxes(boxes)] == [(1,), (0,)]


@pytest.mark.parametrize("degrees", [0, 91, 180])
def test_from_right_to_left_on_a_page_that_is_turned(degrees: float) -> None:
    mirrored = (PAGE * (-1, 1) + (200, 0))[:, [1, 0, 3, 2]]
    rows = order_boxes(_turn(mirrored, degrees), leftward=True)
    assert [index for row in rows for index in row.boxes] == list(range(10))


def test_from_right_to_left() -> None:
    mirrored = PAGE * (-1, 1) + (200, 0)
    boxes = mirrored[:, [1, 0, 3, 2]]
    assert [index for row in order_boxes(boxes, leftward=True) for index in row.boxes] == list(range(10))
    line = np.array([_box(0, 0, 40), _box(50, 0, 40)])
    assert order_boxes(line, leftward=True)[0].boxes == (1, 0)


def test_one_box_and_none() -> None:
    assert order_boxes(np.zeros((0, 4, 2))) == []
    (row,) = order_boxes(_box(0, 0, 10)[None])
    assert row.boxes == (0,) and row.block == 0


@pytest.mark.parametrize("degrees", [0, 30, 90, -90, 135, 180])
def test_angles_are_clockwise_degrees(degrees: float) -> None:
    assert measure_angle(_turn(_box(5, 5, 40), degrees)) == pytest.approx(degrees)
