from __future__ import annotations

import math
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from dptr.text.ngrams import NgramModel, fit_ngrams, fit_word_list, load_ngrams
from dptr.utils.errors import UserError

WORDS = {"abba": 3.0, "abc": 2.0, "cab": 1.0, "baab": 1.0}
KEEP_ALL = (0, 0, 0)


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return fit_ngrams(WORDS.items(), 3, KEEP_ALL)


def reference(word: str, order: int, least: tuple[float, ...]) -> float:
    """The log-probability by the recursion of Witten and Bell, counted anew for each letter."""
    letters = sorted(set("".join(WORDS)))

    def probability(letter: str, context: str) -> float:
        followers: Counter[str] = Counter()
        for other, weight in WORDS.items():
            text = "^" * (order - 1) + other + "$"
            for place in range(order - 1, len(text)):
                if text[place - len(context) : place] == context:
                    followers[text[place]] += weight
        if context:
            followers = Counter({each: n for each, n in followers.items() if n >= least[len(context)]})
        shorter = probability(letter, context[1:]) if context else 1 / (len(letters) + 3)  # start, end, unknown
        total, different = sum(followers.values()), len(followers)
        return (followers[letter] + different * shorter) / (total + different) if total else shorter

    text = "^" * (order - 1) + "".join(each if each in letters else "?" for each in word) + "$"
    places = range(order - 1, len(text))
    return sum(math.log(probability(text[place], text[place - order + 1 : place])) for place in places)


@pytest.mark.parametrize("least", [KEEP_ALL, (0, 2, 3), (0, 4, 100)])
def test_probabilities_are_those_of_the_recursion(least: tuple[float, ...]) -> None:
    words = ["abba", "abc", "c", "", "bbbb", "zab", "cabcab"]
    found = fit_ngrams(WORDS.items(), 3, least).log_probabilities(words)
    expected = [reference(word, 3, least) for word in words]
    steps = [0.5 / 16 * 3 * (len(word) + 1) for word in words]  # rounding of up to three numbers a letter
    assert all(abs(one - two) <= step for one, two, step in zip(found, expected, steps, strict=True))
    assert np.ptp(expected) > 5


def test_the_probabilities_of_all_words_sum_to_one(model: NgramModel) -> None:
    """Those of up to 8 letters; ``?`` stands for all letters outside the alphabet."""
    words = ["".join(each) for length in range(9) for each in product("abc?", repeat=length)]
    assert 0.93 < np.exp(model.log_probabilities(words)).sum() < 1.05  # costs are rounded to sixteenths


def test_case_is_ignored_and_order_kept(model: NgramModel) -> None:
    one, two, three = model.log_probabilities(["ABBA", "ccc", "aBbA"])
    assert one == three > two
    assert model.log_probabilities([]).shape == (0,)
    assert np.array_equal(model.log_probabilities(["abc", "cab"])[::-1], model.log_probabilities(["cab", "abc"]))


def test_a_file_holds_the_model(model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "ngrams.npz"
    model.save(path)
    words = ["abba", "cabbage", "zzz"]
    assert np.array_equal(load_ngrams(path).log_probabilities(words), model.log_probabilities(words))
    whole = path.read_bytes()
    for damaged in (b"", whole[:-30], b"no zip", whole[:200] + bytes(50) + whole[250:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="copy the file anew"):
            load_ngrams(path)


def test_a_file_with_changed_bytes_is_refused_or_read(model: NgramModel, tmp_path: Path) -> None:
    path = tmp_path / "ngrams.npz"
    model.save(path)
    whole, draw, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(600):
        damaged = bytearray(whole)
        for place in draw.integers(len(whole), size=draw.integers(1, 4)):
            damaged[place] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            load_ngrams(path).log_probabilities(["abba", "cab"])
        except UserError:
            refused += 1
    assert refused > 300


def test_of_a_long_list_the_likeliest_words_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [("rare", 0.1), *((word, weight / 10) for word, weight in WORDS.items())]
    expected = fit_word_list(words[1:3]).log_probabilities([*WORDS, "rare"])
    monkeypatch.setattr("dptr.text.ngrams.MOST_WORDS", 2)
    assert np.array_equal(fit_word_list(words).log_probabilities([*WORDS, "rare"]), expected)


def test_what_cannot_be_counted() -> None:
    with pytest.raises(UserError, match="order 9: outside 1 to 8"):
        fit_ngrams(WORDS.items(), 9, [0] * 9)
    with pytest.raises(UserError, match="ascending"):
        fit_ngrams(WORDS.items(), 2, [3, 1])
    with pytest.raises(UserError, match="300 letters: more than 253"):
        fit_ngrams([("".join(map(chr, range(0x4E00, 0x4E00 + 300))), 1.0)], 2, [0, 0])
