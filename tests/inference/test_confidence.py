"""The probability of a word that a CTC network reads, against all paths one by one."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

from dptr.inference.confidence import UNCOUNTED, WordConfidence

PLACES, CLASSES = 5, 5
PATHS = np.random.default_rng(0).dirichlet(np.ones(CLASSES) / 2, (4, PLACES))


def enumerate_words(path: np.ndarray, label: dict[int, int]) -> dict[tuple[int, ...], float]:
    """The probability of each word: every path, its classes as labels, repeats merged, blanks (0) dropped."""
    words: dict[tuple[int, ...], float] = {}
    for classes in product(range(CLASSES), repeat=PLACES):
        shown = [each for each, _ in groupby(label[one] for one in classes)]
        word = tuple(each for each in shown if each)
        words[word] = words.get(word, 0.0) + float(np.prod(path[range(PLACES), classes]))
    return words


@pytest.mark.parametrize(
    "word", [(), (1,), (1, 2), (2, 2), (3, 1, 3), (1, 1, 1), (1, 2, 3, 4, 1), (4, 4, 4, 4)], ids=str
)
def test_a_words_probability_is_the_sum_over_its_paths(word: tuple[int, ...]) -> None:
    found = WordConfidence().path_probabilities(PATHS, [word] * len(PATHS))
    expected = [enumerate_words(path, dict(enumerate(range(CLASSES)))).get(word, 0.0) for path in PATHS]
    assert found == pytest.approx(expected, rel=1e-9)


def test_words_of_several_lengths_are_summed_together() -> None:
    own, words = WordConfidence(counted_as="aab\n"), [(), (1, 3), (3, 4, 3), (1,)]
    together = own.path_probabilities(PATHS, words)
    alone = [own.path_probabilities(path[None], [word])[0] for path, word in zip(PATHS, words, strict=True)]
    assert together == pytest.approx(alone, rel=1e-12)
    assert len(own.path_probabilities(PATHS[:0], [])) == 0


@pytest.mark.parametrize(
    "word", [(), (1,), (2, 3), (3, 4, 1), (3, 4, 3), (4,), (1, 4, 2), (1, 2), (1, 1), (2, 1, 2), (2, 2, 3, 1)], ids=str
)
@pytest.mark.parametrize("counted_as", [f"aab{UNCOUNTED}", "aaab", f"aaa{UNCOUNTED}", UNCOUNTED * 4, "abcd"], ids=repr)
def test_all_paths_count_whose_letters_count_as_the_words(counted_as: str, word: tuple[int, ...]) -> None:
    """Each path is spelled first, then folded: ``aA`` in a row is two letters, ``aa`` is one."""
    own = WordConfidence(counted_as=counted_as)

    def fold(classes: tuple[int, ...]) -> str:
        return "".join(counted_as[each - 1] for each in classes).replace(UNCOUNTED, "")

    expected = []
    for path in PATHS:
        words = enumerate_words(path, dict(enumerate(range(CLASSES))))
        expected.append(sum(share for other, share in words.items() if fold(other) == fold(word)))
    assert own.path_probabilities(PATHS, [word] * len(PATHS)) == pytest.approx(expected, rel=1e-9)


def test_a_surer_path_is_never_less_confident_and_a_certain_one_is_certain() -> None:
    own, words = WordConfidence(1.9, f"aab{UNCOUNTED}", 0.45, True), ([], [1, 3])
    for word, classes in zip(words, ([0, 0, 0, 0, 0], [1, 1, 0, 3, 0]), strict=True):
        confidences = []
        for certainty in np.linspace(0.5, 1, 11):
            path = np.full((PLACES, CLASSES), (1 - certainty) / (CLASSES - 1))
            path[range(PLACES), classes] = certainty
            share = own.path_probabilities(path[None], [word])[0]
            confidences.append(own.scale(share, len(word)))
        assert confidences == sorted(confidences) and confidences[-1] == 1
        assert 0 < confidences[0] < confidences[-2] < 1
