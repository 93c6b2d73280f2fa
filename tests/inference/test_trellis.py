"""The best word of a language and the probability of all, against every word written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dptr.inference import ctc_search
from dptr.inference.constraint import make_constraint
from dptr.inference.ctc_search import Paths, compose, find_paths
from dptr.inference.trellis import find_words, unroll
from dptr.text.charset import Charset, resolve_charset
from dptr.text.lexicon import compile_words
from dptr.text.regular import compile_expression

CHARSET = Charset("ab1", tuple("ab1"))
PATTERNS = ["[ab]+", "a*1?", "(ab|1){1,2}", "a{2,3}", "", "b|aa1", "(a|b)*aa?", ".*", "(a|b)b?(a|1)"]


def language(pattern: str, longest: int) -> set[tuple[int, ...]]:
    automaton = compile_expression(pattern, CHARSET)
    every = itertools.chain.from_iterable(itertools.product((1, 2, 3), repeat=length) for length in range(longest + 1))
    return {word for word in every if automaton.accepts(word)}


def draw_rows(positions: int, seed: int) -> np.ndarray:
    """Six crops; some probabilities are next to nothing."""
    return np.random.default_rng(seed).dirichlet(np.full(4, 0.4), (6, positions)).astype(np.float32)


def collapse(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(label for label, _ in itertools.groupby(path) if label)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("longest", [1, 3])
def test_the_best_word_and_the_sum_of_all(pattern: str, longest: int) -> None:
    words = language(pattern, longest)
    trellis = unroll(compile_expression(pattern, CHARSET), longest)
    if not words:
        assert trellis == []
        return
    rows = draw_rows(longest + 1, 0)
    for own, found in zip(rows.astype(np.float64), find_words(rows, trellis), strict=True):
        chances = {word: math.prod(own[place, symbol] for place, symbol in enumerate((*word, 0))) for word in words}
        assert chances[found.symbols] == pytest.approx(max(chances.values()), rel=1e-6)
        assert math.prod(found.probabilities) == pytest.approx(chances[found.symbols], rel=1e-5)
        assert 1 - found.outside == pytest.approx(sum(chances.values()), abs=1e-6)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(("longest", "positions"), [(1, 3), (3, 5)])
def test_the_best_path_and_the_sum_of_all(pattern: str, longest: int, positions: int) -> None:
    words = language(pattern, longest)
    trellis = unroll(compile_expression(pattern, CHARSET), longest)
    if not words:
        return
    rows = draw_rows(positions, 1)
    for own, found in zip(rows.astype(np.float64), find_paths(rows, compose(trellis)), strict=True):
        chances = {
            path: math.prod(own[place, label] for place, label in enumerate(path))
            for path in itertools.product(range(4), repeat=positions)
            if collapse(path) in words
        }
        best = max(chances, key=lambda path: chances[path])
        assert found.symbols == collapse(best)
        assert 1 - found.outside == pytest.approx(sum(chances.values()), abs=1e-6)
        blanks = [own[place, 0] for place, label in enumerate(best) if not label]
        assert found.probabilities[-1] == pytest.approx(min(blanks, default=1.0))


def test_many_crops_are_read_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = compose(unroll(compile_expression("(a|b)+1?", CHARSET), 3))
    rows = draw_rows(5, 2)
    together = find_paths(rows, paths)
    monkeypatch.setattr("dptr.inference.ctc_search._MEMORY", 1)
    assert find_paths(rows, paths) == together


def test_words_that_a_model_rules_out_can_be_compared_still() -> None:
    rows = np.zeros((1, 4, 4), np.float32)
    rows[:, :, 3] = 1
    (found,) = find_words(rows, unroll(compile_words(["ab", "a1"], CHARSET), 3))
    assert found.symbols == (1, 3) and found.outside == 1


@pytest.mark.parametrize("pattern", [*PATTERNS, "a{4}", "a|b{4}", "1(a1)*|b{5}"])
def test_a_search_without_a_count_of_characters_finds_the_same(pattern: str) -> None:
    """Also where the likeliest word is longer than the path, since others have next to no probability."""
    constraint = make_constraint(CHARSET, 5, pattern or "a?")
    rng = np.random.default_rng(4)
    unlikely = 10.0 ** -rng.uniform(0, 37, (100, 4, 4))
    unlikely[:4] = np.where(np.eye(4)[:, None], rng.uniform(0.5, 1, (4, 4, 1)), rng.uniform(1e-37, 2e-37, (4, 4, 4)))
    rows = np.concatenate((draw_rows(4, 3), unlikely)).astype(np.float32)
    behind = np.zeros((len(rows), 7, 4), np.float32)
    behind[..., 0] = 1
    expected = find_paths(np.concatenate((rows, behind), 1), compose(constraint.trellis))
    for found, same in zip(constraint.find_paths(rows), expected, strict=True):
        assert found.symbols == same.symbols
        assert found.outside == pytest.approx(same.outside, abs=1e-12)
        assert found.probabilities == pytest.approx(same.probabilities)


def test_prices_are_searched_as_fast_as_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their language has words of all lengths; a trellis of 64 layers took ten times as long."""
    searched = []

    def spy(logs: np.ndarray, paths: Paths) -> tuple[list[np.ndarray], list[np.ndarray]]:
        searched.append(logs.shape[1] * len(paths.edge_sources))
        return best_paths(logs, paths)

    best_paths = ctc_search._best_paths
    monkeypatch.setattr(ctc_search, "_best_paths", spy)
    charset = resolve_charset("94")
    rows = np.random.default_rng(0).dirichlet(np.ones(95), (2, 21)).astype(np.float32)
    for name in "date", "price":
        make_constraint(charset, 64, name).find_paths(rows)
    date, price = searched
    assert price < 3 * date
