"""Splitting lines: the best way by dynamic programming is the best of all ways."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dptr.inference.prediction import Prediction
from dptr.photo.spaces import Columns
from dptr.photo.split import (
    EAGERNESS,
    LINE_ODDS,
    WORST,
    Gaps,
    Span,
    choose_words,
    find_gaps,
    keep_inner,
    possible_words,
    split_reading,
    weigh_spaces,
)


def _best_of_all(gaps: Gaps, confidences: dict[Span, float]) -> tuple[list[Span], float]:
    best: tuple[list[Span], float] = [], -np.inf
    for cuts in product((False, True), repeat=len(gaps.spaces)):
        ends = [index for index, cut in enumerate(cuts) if cut] + [len(cuts)]
        words = list(zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True))
        if all(word in confidences for word in words):
            worth = float(np.log([p if cut else 1 - p for p, cut in zip(gaps.spaces, cuts, strict=True)]).sum())
            worth += float(np.log([max(confidences[word], WORST) for word in words]).sum())
            if worth > best[1]:
                best = words, worth
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_chosen_way_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 8))
    edges = np.sort(rng.random(2 * count))
    gaps = Gaps(tuple(zip(edges[::2], edges[1::2], strict=True)), tuple(rng.uniform(0.03, 0.999, count - 1)))
    spans = possible_words(gaps, rng.uniform(1, 30))
    confidences = {span: float(rng.random() ** 3) for span in spans}
    words, worth = choose_words(gaps, confidences, 1.0)
    expected, most = _best_of_all(gaps, confidences)
    assert words == expected and worth == pytest.approx(most)


def test_words_are_cut_where_columns_are_blank() -> None:
    blank = np.full(100, 0.001)
    blank[:10] = blank[90:] = 0.99
    blank[40:50] = 0.9
    blank[70] = 0.2
    gaps = find_gaps(blank, 16)
    assert gaps.pieces == ((0.1, 0.4), (0.5, 0.7), (0.71, 0.9))
    odds = np.exp(EAGERNESS) * np.array((9, 0.25))
    assert gaps.spaces == pytest.approx(odds / (1 + odds))
    assert find_gaps(blank[::-1], 16).spaces == gaps.spaces[::-1]


@pytest.mark.parametrize("blank", [np.ones(50), np.full(50, 0.001), np.array([0.001]), np.array([1.0])])
def test_a_line_without_gaps_is_one_piece(blank: np.ndarray) -> None:
    assert find_gaps(blank, 16) == Gaps(((0.0, 1.0),), ())


def test_no_word_runs_across_a_certain_space_and_every_piece_is_read() -> None:
    gaps = Gaps(((0, 0.1), (0.2, 0.3), (0.4, 0.5), (0.9, 1)), (0.5, 0.99, 0.5))
    assert possible_words(gaps, 4) == [(0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3)]
    assert possible_words(gaps, 40) == [(0, 0), (0, 1), (1, 1), (2, 2), (3, 3)]
    assert possible_words(gaps, 40, 24.1) == possible_words(gaps, 4)


def test_pieces_beyond_the_box_are_left_out() -> None:
    gaps = Gaps(((0, 0.05), (0.1, 0.3), (0.35, 0.8), (0.9, 1)), (0.5, 0.6, 0.7))
    assert keep_inner(gaps, 0.1, 0.9) == Gaps(((0.1, 0.3), (0.35, 0.8)), (0.6,))
    alone = Gaps(((0, 0.05),), ())
    assert keep_inner(alone, 0.1, 0.9) == alone


def _predict(text: str, confidence: float) -> Prediction:
    return Prediction(text, confidence, tuple((character, 0.9) for character in text))


@pytest.mark.parametrize(("text", "heard"), [("ab cd ef", (1, 1)), ("abcd ef", (-1, 1)), ("ab cdef", (1, -1))])
@pytest.mark.parametrize("confidence", [0.0, 0.5, 1.0])
def test_a_reading_of_the_line_speaks_for_and_against_spaces(
    text: str, heard: tuple[int, int], confidence: float
) -> None:
    """Three pieces of two letters; the columns see the same in both gaps."""
    blank = np.full(80, 0.02)
    blank[20:30] = blank[50:60] = 0.6
    edges = np.full(80, 0.02)
    edges[[10, 40, 70]] = 0.9
    gaps = Gaps(((0, 0.25), (0.375, 0.625), (0.75, 1.0)), (0.6, 0.6))
    found = weigh_spaces(gaps, Columns(blank, edges, 16), _predict(text, confidence))
    assert found.pieces == gaps.pieces
    odds = np.exp(np.log(1.5) + LINE_ODDS * confidence * np.array(heard))
    assert found.spaces == pytest.approx(odds / (1 + odds))


def test_a_reading_is_parted_at_its_spaces() -> None:
    words = split_reading(_predict(" ab  c ", 0.1))
    assert [(word.text, round(word.confidence, 4)) for word in words] == [("ab", 0.81), ("c", 0.9)]
    assert [word.characters for word in words] == [(("a", 0.9), ("b", 0.9)), (("c", 0.9),)]
    assert split_reading(_predict("  ", 0.1)) == []
