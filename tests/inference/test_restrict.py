from __future__ import annotations

import numpy as np
import pytest

from dptr.inference.restrict import restrict
from dptr.text.charset import Charset, resolve_charset
from dptr.utils.errors import UserError


def test_other_characters_lose_to_the_best_allowed_one() -> None:
    charset = Charset("abc", tuple("abAB1"))
    digits = restrict(charset, Charset("digits", ("1",)))
    probabilities = np.array([[[0.1, 0.6, 0.1, 0.0, 0.0, 0.2], [0.5, 0.3, 0.1, 0.1, 0.0, 0.0]]], np.float32)
    moved = digits.apply(probabilities)
    assert moved[0, 0] == pytest.approx([1 / 3, 0, 0, 0, 0, 2 / 3])
    assert moved[0, 1] == pytest.approx([1, 0, 0, 0, 0, 0])


def test_a_letter_gives_its_probability_to_its_other_case() -> None:
    charset = Charset("abc", tuple("abAB1"))
    lower = restrict(charset, Charset("lower", ("a", "b")))
    moved = lower.apply(np.array([[[0.1, 0.1, 0.2, 0.5, 0.0, 0.1]]], np.float32))
    assert moved[0, 0] == pytest.approx([0.1 / 0.9, 0.6 / 0.9, 0.2 / 0.9, 0, 0, 0])


def test_the_whole_charset_changes_nothing() -> None:
    charset = resolve_charset("94")
    probabilities = np.random.default_rng(0).dirichlet(np.ones(95), (2, 3)).astype(np.float32)
    moved = restrict(charset, charset).apply(probabilities)
    assert np.abs(moved - probabilities).max() < 1e-6


def test_positions_without_an_allowed_character_are_no_division_by_zero() -> None:
    digits = restrict(Charset("ab", ("a", "1")), Charset("digits", ("1",)))
    assert digits.apply(np.array([[[0.0, 1.0, 0.0]]], np.float32)).tolist() == [[[0, 0, 0]]]


def test_a_charset_that_the_model_does_not_read_is_refused() -> None:
    with pytest.raises(UserError, match="reads none of its characters"):
        restrict(resolve_charset("36"), Charset("greek", ("α", "β")))
