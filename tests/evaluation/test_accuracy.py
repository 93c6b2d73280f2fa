"""The loop of accuracy, against what is planted: which view counts, what is left out, what calibration is fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dptr.data.crops import LabeledCrops
from dptr.data.report import DropReport
from dptr.evaluation.accuracy import (
    Comparison,
    Reading,
    Team,
    compare,
    compare_crops,
    read_batches,
    read_crops,
    score_crops,
    share_correct,
    slice_batches,
)
from dptr.evaluation.calibration import (
    MAX_WORDS,
    calibrate,
    calibrate_on,
    choose_words,
    fit_power,
    fit_temperature,
)
from dptr.inference.confidence import WordConfidence, apply_temperature
from dptr.text.charset import Charset, resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.sizes import VariableSizeCrops

ONE = Charset("one", ("a",))
TOKENIZER = Tokenizer(resolve_charset("36"), 4)
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Planted:
    """Reads a crop by the value of its pixels: a word, each of its characters and its end with one probability."""

    def __init__(self, *words: tuple[str, float]) -> None:
        self.words = words
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        self.sizes.append(crops.shape[:3])
        rows = np.zeros((len(crops), 5, 37), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            word, probability = self.words[int(crop[0, 0, 0])]
            ids = [LETTERS.index(character) + 1 for character in word] + [0] * (5 - len(word))
            row[range(5), ids] = probability
            row[range(5), [36 if one == 0 else 0 for one in ids]] = 1 - probability
        return rows


ALL = [(0, "a", "a"), (1, "b", "b"), (2, "c", "c"), (3, "x", "d")]


def crop(value: int, width: int = 8) -> np.ndarray:
    return np.full((4, width, 3), value, np.uint8)


def crops_of(labels: list[str], widths: list[int], turned: dict[int, list[np.ndarray]]) -> LabeledCrops:
    arrays = [crop(value, width) for value, width in enumerate(widths)]
    return LabeledCrops(VariableSizeCrops(arrays), labels, labels, [0] * len(labels), DropReport(), turned)


def test_of_a_tall_crops_views_the_most_confident_possible_one_counts() -> None:
    read = Planted(("up", 0.6), ("i", 0.6), ("l", 0.6), ("no", 0.7), ("aaaaa", 0.99), ("yes", 0.9), ("1", 0.95))
    crops = crops_of(
        ["up", "yes", "l", "no"],
        [40, 8, 8, 40],
        {1: [crop(3, 40), crop(5, 40)], 2: [crop(4), crop(6)], 3: [crop(3)] * 2},
    )
    readings = dict(read_crops(crops, TOKENIZER, read))
    assert {index: reading.text for index, reading in readings.items()} == {0: "up", 1: "yes", 2: "l", 3: "no"}
    assert [len(readings[index].probabilities) for index in range(4)] == [3, 4, 2, 3]
    assert readings[1].product == pytest.approx(0.9**4) and not readings[1].runaway
    assert {size[1:] for size in read.sizes} == {(4, 8), (4, 40)}, "a batch holds crops of one width"


def test_crops_come_in_the_order_of_their_batches_each_once() -> None:
    crops = crops_of(["a", "b", "c", "d"], [40, 8, 40, 8], {})
    read = Planted(("a", 0.9), ("b", 0.9), ("c", 0.9), ("x", 0.9))
    found = [(each.index, each.prediction, each.truth) for each in compare_crops(crops, TOKENIZER, read, "36")]
    assert found == [(1, "b", "b"), (3, "x", "d"), (0, "a", "a"), (2, "c", "c")]
    assert score_crops(crops, TOKENIZER, read, "36") == {"word_accuracy": 0.75, "one_minus_ned": 0.75}


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_a_team_reads_each_batch_once_and_all_get_the_scores_of_all(processes: int) -> None:
    """Of four batches; more processes than that leave some without any."""
    crops = crops_of(["a", "b", "c", "d"], [40, 8, 16, 24], {})
    read = Planted(("a", 0.9), ("b", 0.9), ("c", 0.9), ("x", 0.9))
    alone = score_crops(crops, TOKENIZER, read, "36")
    found: list[list[Any]] = []
    for rank in range(processes):
        score_crops(crops, TOKENIZER, read, "36", Team(rank, processes, lambda own: (found.append(own), [ALL])[1]))
    assert len(read.sizes) == 2 * 4
    assert sorted(each for own in found for each in own) == sorted(ALL)
    whole = Team(0, processes, lambda own: found)
    assert score_crops(crops, TOKENIZER, read, "36", whole) == alone == {"word_accuracy": 0.75, "one_minus_ned": 0.75}


def test_truths_that_fold_to_nothing_are_left_out() -> None:
    read = Planted(("a", 0.9), ("b", 0.9), ("c", 0.9))
    crops = crops_of(["A", "--", "c!"], [8] * 3, {})
    assert score_crops(crops, TOKENIZER, read, "36")["word_accuracy"] == 1
    assert score_crops(crops, TOKENIZER, read, "native")["word_accuracy"] == 0
    with pytest.raises(UserError, match="none of 1 validation labels has a letter"):
        score_crops(crops_of(["--"], [8], {}), TOKENIZER, read, "36")


def test_of_an_empty_label_only_an_empty_reading_is_right() -> None:
    read = Planted(("", 0.9), ("zz", 0.9), ("a", 0.9), ("a", 0.9))
    crops = crops_of(["", "", "a", "--"], [8] * 4, {})
    assert [each.correct for each in compare_crops(crops, TOKENIZER, read, "36")] == [True, False, True]
    readings = [(0, Reading("-", 1.0, False, np.ones((1, 2)))), (1, Reading("-", 1.0, False, np.ones((1, 2))))]
    for empty in ("", " ", "\u200b"):
        compared = compare(readings, [empty, "-"], lambda text: text.strip("-\u200b"))
        assert [each.correct for each in compared] == [False, True]


def test_whatever_reads_is_compared_by_the_same_loop() -> None:
    words = ["tea", "bus", "cab", "dab", "eel"]
    calls: list[int] = []

    def read(batch: list[str]) -> list[Reading]:
        calls.append(len(batch))
        return [Reading(word.replace("b", "d"), 1.0, False, np.ones((1, 2))) for word in batch]

    comparisons = list(compare(read_batches(slice_batches(words, 2), read), words))
    assert [comparison.prediction for comparison in comparisons] == ["tea", "dus", "cad", "dad", "eel"]
    assert [comparison.index for comparison in comparisons] == list(range(5))
    assert share_correct(comparisons) == 2 / 5 and calls == [2, 2, 1]


def test_words_to_calibrate_on_are_chosen_evenly_over_the_sets() -> None:
    sources = [0] * 5000 + [1] * 300 + [2] * 1500
    chosen = choose_words(sources)
    counts = np.bincount(np.array(sources)[chosen])
    assert counts.tolist() == [850, 300, 850] and len(set(chosen.tolist())) == 2000
    assert set(np.diff(chosen[:850])) == {5, 6} and set(np.diff(chosen[-850:])) == {1, 2}, "evenly spread over a set"
    assert choose_words([0] * 1200 + [1] * 800).tolist() == list(range(2000)), "all, where they are not too many"
    assert len(choose_words([])) == 0 and len(choose_words([7] * 9000)) == MAX_WORDS


def test_the_order_of_the_sets_does_not_matter_to_a_calibration() -> None:
    """One set is read right more often than the other at the same probabilities, and alone would fill the words."""
    rng = np.random.default_rng(0)
    kinds = []
    for number, (count, share) in enumerate(((2500, 0.97), (800, 0.6))):
        rows = [rng.dirichlet([30, 1, 1], 2) for _ in range(count)]
        kinds.append([(number, row, bool(rng.random() < share)) for row in rows])
    found = []
    for order in (kinds, kinds[::-1]):
        words = [word for kind in order for word in kind]
        comparisons = [
            Comparison(index, Reading("a", 0.5, False, row), "a", "a" if right else "b")
            for index, (_, row, right) in enumerate(words)
        ]
        found.append(calibrate_on(comparisons, Tokenizer(ONE, 8), "native", [number for number, _, _ in words]))
    one, other = found
    assert one.words == MAX_WORDS and one.word is not None and other.word is not None
    assert one.temperature == pytest.approx(other.temperature)
    assert one.word.exponent == pytest.approx(other.word.exponent) and one.thresholds == other.thresholds


def test_a_calibration_reads_the_chosen_crops_alone() -> None:
    """Of 2,100 labels that count and 100 that the protocol leaves nothing of, 1,000 of each set are read."""
    read: list[int] = []
    labels = ["ab"] * 1100 + ["-"] * 100 + ["ab"] * 1100
    crops = LabeledCrops(
        np.zeros((len(labels), 4, 8, 3), np.uint8), labels, labels, [0] * 1200 + [1] * 1100, DropReport()
    )

    def recognize(batch: np.ndarray) -> np.ndarray:
        read.append(len(batch))
        return Planted(("ab", 0.9))(batch)

    assert calibrate(crops, TOKENIZER, recognize, "36").words == sum(read) == MAX_WORDS


def test_a_model_is_calibrated_on_what_it_reads() -> None:
    count = 150
    read = Planted(*((LETTERS[10 + index % 3], 0.9) for index in range(count)))
    labels = [LETTERS[10 + index % 3] if index % 2 else "zz" for index in range(count)]
    crops = crops_of(labels, [8] * count, {})
    probabilities = read(np.stack([crop(index) for index in range(count)]))
    expected = fit_temperature([rows[:2] for rows in probabilities], [index % 2 == 1 for index in range(count)])
    assert calibrate(crops, TOKENIZER, read, "36").temperature == expected != 1


def test_thresholds_are_confidences_at_the_fitted_temperature() -> None:
    """Words read at 0.95 are right, of those at 0.6 a half: 99 % are right from the confidence of the former on."""
    shown = [0.95 if index % 4 else 0.6 for index in range(400)]
    right = [bool(index % 4) or index % 8 == 0 for index in range(400)]
    words = [np.array([[1 - each, each], [1.0, 0.0]]) for each in shown]
    comparisons = [
        Comparison(index, Reading("a", shown[index], False, words[index]), "a", "a" if hit else "b")
        for index, hit in enumerate(right)
    ]
    found = calibrate_on(comparisons, Tokenizer(ONE, 8), "native")
    assert found.word is not None and found.word.counted_as == "" and not found.word.of_paths
    confident = apply_temperature(words[1], found.temperature).max(-1).prod() ** found.word.exponent
    assert found.thresholds[0.99] == (pytest.approx(confident), 0.75)
    assert found.thresholds[0.9] == found.thresholds[0.99], "of all words 87.5 % are right"
    assert found.to_card()["thresholds"]["0.99"] == [pytest.approx(confident, abs=1e-6), 0.75]
    assert calibrate_on(comparisons[:99], ONE, "native").to_card() == {}, "too few words"
    kept = calibrate_on(comparisons, Tokenizer(ONE, 8), "native", temperature=1.0)
    assert kept.word is not None and kept.word.exponent == fit_power(shown, [1] * 400, right, [0] * 400)[0] != 1
    assert kept.temperature == 1 and kept.thresholds[0.99] == (pytest.approx(0.95**kept.word.exponent), 0.75)


def test_the_confidence_of_words_is_fitted_for_the_protocol_and_the_sets() -> None:
    """What was read is as likely as both cases of its letter together."""
    rng = np.random.default_rng(0)
    count, charset = 300, Charset("few", tuple("aAb"))
    rows = [rng.dirichlet([0.1, 4, 4, 1.5], 1) for _ in range(count)]
    right = [bool(rng.random() < each[0, 1] + each[0, 2]) for each in rows]
    comparisons = [
        Comparison(index, Reading("a", 0.5, False, each), "a", "a" if hit else "b")
        for index, (each, hit) in enumerate(zip(rows, right, strict=True))
    ]
    sources = [0] * 200 + [1] * 100
    found = calibrate_on(comparisons, Tokenizer(charset, 8), "36", sources, temperature=1.0)
    products = [each[0, 1] + each[0, 2] if each[0].argmax() in (1, 2) else each[0].max() for each in rows]
    assert found.word is not None and found.word.exponent == pytest.approx(
        fit_power(products, [1] * count, right, sources)[0], rel=1e-3
    )
    assert found.to_card()["confidence"] == {
        "exponent": round(found.word.exponent, 6), "length": 0.0, "counted_as": "aab", "of_paths": False,
    }  # fmt: skip


def test_the_confidence_of_words_with_paths_is_fitted_on_sums_at_the_temperature() -> None:
    rng = np.random.default_rng(0)
    count, charset = 300, Charset("few", tuple("aAb"))
    paths = [rng.dirichlet([0.3, 3, 2, 0.5], 3) for _ in range(count)]
    own = WordConfidence(counted_as="aab")
    sums = own.path_probabilities(np.stack([apply_temperature(path, 1.5) for path in paths]), [[1]] * count)
    right = (rng.random(count) < sums**0.5).tolist()
    comparisons = [
        Comparison(index, Reading("a", 0.5, False, path[:1], path), "a", "a" if hit else "b")
        for index, (path, hit) in enumerate(zip(paths, right, strict=True))
    ]
    found = calibrate_on(comparisons, Tokenizer(charset, 8), "36", temperature=1.5)
    exponent, length = fit_power(sums.tolist(), [1] * count, right, [0] * count)
    assert found.word == WordConfidence(exponent, "aab", length, True)
