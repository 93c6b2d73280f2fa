from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptr.evaluation import metrics
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError

WORDS = st.text(alphabet="abc", max_size=7)


@cache
def recursive_distance(a: str, b: str) -> int:
    """The definition, word for word: the first characters are kept, replaced, deleted or inserted."""
    if not a or not b:
        return len(a) + len(b)
    return min(
        recursive_distance(a[1:], b[1:]) + (a[0] != b[0]),
        recursive_distance(a[1:], b) + 1,
        recursive_distance(a, b[1:]) + 1,
    )


@settings(max_examples=300, deadline=None)
@given(WORDS, WORDS)
def test_edit_distance_is_the_recursive_definition(a: str, b: str) -> None:
    assert metrics.edit_distance(a, b) == recursive_distance(a, b)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("né", "ne", 1)],
)
def test_edit_distance_of_known_words(a: str, b: str, distance: int) -> None:
    assert metrics.edit_distance(a, b) == metrics.edit_distance(b, a) == distance


def test_rates_of_a_table_made_by_hand() -> None:
    pairs = [("hello", "hello"), ("helo", "hello"), ("", "abcd"), ("abcdef", "abc")]
    assert metrics.word_accuracy(pairs) == 1 / 4
    assert metrics.one_minus_ned(pairs) == pytest.approx((1 + 4 / 5 + 0 + 1 / 2) / 4)
    assert metrics.cer(pairs) == pytest.approx((0 + 1 + 4 + 3) / (5 + 5 + 4 + 3))
    assert metrics.cer([("abcdef", "a")]) == 5  # invention is not capped
    assert metrics.one_minus_ned([("", "")]) == 1


@pytest.mark.parametrize(
    ("prediction", "truth", "edits", "clusters"),
    [
        ("कि", "की", 1, 1),  # a wrong vowel sign: the character is wrong, though its consonant is right
        ("क", "कि", 1, 1),
        ("हिंदि", "हिंदी", 1, 2),
        ("शिक्ष", "शिक्षा", 1, 2),  # शि, क्षा
        ("বাঙলা", "বাংলা", 2, 2),  # বা ঙ লা against বাং লা
        ("தமிழ", "தமிழ்", 1, 3),
        ("سَلام", "سلام", 1, 4),
        ("Viet", "Việt", 1, 4),
        ("北京", "北亰", 1, 2),
        ("한국", "한글", 1, 2),
    ],
)
def test_edits_are_counted_in_grapheme_clusters(prediction, truth, edits, clusters) -> None:
    assert metrics.cer([(prediction, truth)]) == pytest.approx(edits / clusters)


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=8), st.text(alphabet="abcé北한", max_size=8))
def test_without_marks_clusters_are_code_points(a: str, b: str) -> None:
    longer = max(len(a), len(b), 1)
    assert metrics.one_minus_ned([(a, b)]) == 1 - metrics.edit_distance(a, b) / longer


@pytest.mark.parametrize("rate", [metrics.word_accuracy, metrics.one_minus_ned, metrics.cer])
def test_no_pairs_is_an_error(rate) -> None:
    with pytest.raises(ValueError, match="no "):
        rate([])


def test_calibration_error_of_tables_made_by_hand() -> None:
    # Bin (13/15, 14/15]: accuracy 0.5, confidence 0.9; bin (4/15, 5/15]: accuracy 0, confidence 0.3; two crops each.
    assert metrics.expected_calibration_error([0.9, 0.9, 0.3, 0.3], [True, False, False, False]) == pytest.approx(0.35)
    # 0.2 = 3/15 closes the bin of 0.19; were bins closed on the left, this would be 0.495.
    assert metrics.expected_calibration_error([0.2, 0.19], [True, False]) == pytest.approx(0.305)
    assert metrics.expected_calibration_error([1.0, 0.0], [True, False]) == 0
    assert metrics.expected_calibration_error([1.0, 0.0], [False, True]) == 1


def test_calibration_error_is_the_formula_of_guo_et_al() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.random(500)
    correct = rng.random(500) < confidences**2
    expected = 0.0
    for m in range(1, 16):
        inside = (confidences > (m - 1) / 15) & (confidences <= m / 15)
        if inside.any():
            expected += inside.sum() / 500 * abs(correct[inside].mean() - confidences[inside].mean())
    measured = metrics.expected_calibration_error(confidences.tolist(), correct.tolist())
    assert measured == pytest.approx(expected, abs=1e-12)
    assert measured > 0.05


def test_calibration_error_by_chance_is_that_of_all_outcomes() -> None:
    """Against the mean over all outcomes, each as probable as the confidences say; three share a bin."""
    confidences = [0.3, 0.62, 0.65, 0.66, 0.9, 0.2]
    expected = 0.0
    for outcome in product([True, False], repeat=len(confidences)):
        chance = np.prod([each if right else 1 - each for each, right in zip(confidences, outcome, strict=True)])
        expected += chance * metrics.expected_calibration_error(confidences, list(outcome))
    assert metrics.chance_calibration_error(confidences, draws=40_000) == pytest.approx(expected, abs=0.003)
    assert metrics.chance_calibration_error([0.25]) == pytest.approx(2 * 0.25 * 0.75, abs=0.03)
    assert metrics.chance_calibration_error([1.0, 0.0]) == 0
    few, many = (metrics.chance_calibration_error([0.1, 0.5, 0.9] * count) for count in (10, 1000))
    assert many == pytest.approx(few / 10, rel=0.1), "it falls with the root of the number"
    with pytest.raises(ValueError, match="no confidence"):
        metrics.chance_calibration_error([])


@pytest.mark.parametrize(("confidences", "correct"), [([], []), ([0.5], []), ([1.5], [True]), ([float("nan")], [True])])
def test_calibration_error_refuses_nonsense(confidences: list[float], correct: list[bool]) -> None:
    with pytest.raises(ValueError):
        metrics.expected_calibration_error(confidences, correct)


@pytest.mark.parametrize(
    ("text", "folded"),  # under 36, 62, 94, letters, native, line, lower
    [
        ("Hello", ("hello", "Hello", "Hello", "hello", "Hello", "Hello", "hello")),
        ("It's 5%!", ("its5", "Its5", "It's5%!", "its5", "It's5%!", "It's 5%!", "it's5%!")),
        ("Café", ("cafe", "Cafe", "Cafe", "café", "Café", "Café", "café")),
        ("Cafe\u0301", ("cafe", "Cafe", "Cafe", "café", "Café", "Café", "café")),
        ("ＡＢ１", ("ab1", "AB1", "AB1", "ａｂ１", "ＡＢ１", "ＡＢ１", "ａｂ１")),
        ("İzmir", ("izmir", "Izmir", "Izmir", "izmir", "İzmir", "İzmir", "i\u0307zmir")),
        ("straße", ("strae", "strae", "strae", "straße", "straße", "straße", "straße")),
        ("AC™", ("actm", "ACTM", "ACTM", "ac", "AC™", "AC™", "ac™")),  # taken apart before it is lower-cased
        ("中文", ("", "", "", "中文", "中文", "中文", "中文")),
        ("-&-", ("", "", "-&-", "", "-&-", "-&-", "-&-")),
        (" \t\u00a0", ("", "", "", "", "", "", "")),
        (" two  words\n", ("twowords", "twowords", "twowords", "twowords", "twowords", "two words", "twowords")),
        ("", ("", "", "", "", "", "", "")),
    ],
)
def test_protocols_fold_by_this_table(text: str, folded: tuple[str, ...]) -> None:
    assert tuple(metrics.PROTOCOLS) == ("36", "62", "94", "letters", "native", "line", "lower")
    assert tuple(fold(text) for fold in metrics.PROTOCOLS.values()) == folded


@given(st.text(max_size=12))
def test_folding_twice_is_folding_once(text: str) -> None:
    for fold in metrics.PROTOCOLS.values():
        assert fold(fold(text)) == fold(text)


@pytest.mark.parametrize(
    ("code", "a", "b"),
    [
        ("fa", "كتاب", "کتاب"),
        ("ar", "كتــاب", "كتاب"),
        ("he", "צה״ל", 'צה"ל'),
        ("zh", "（Ａ１）", "(A1)"),
        ("ja", "１０～２０", "10〜20"),
        ("fr", "Cafe\u0301", "Café"),
    ],
)
def test_a_language_as_protocol_folds_what_looks_the_same(code: str, a: str, b: str) -> None:
    fold = metrics.protocol(code)
    assert fold(a) == fold(b) == fold(fold(a))
    assert fold("aA") == "aA"


@given(st.text(max_size=12), st.sampled_from(["en", "fa", "he", "zh", "mlt"]))
def test_folding_a_language_twice_is_folding_it_once(text: str, code: str) -> None:
    fold = metrics.protocol(code)
    assert fold(fold(text)) == fold(text)


def test_unknown_protocol_names_those_there_are() -> None:
    known = "36, 62, 94, letters, native, line, lower, or a language: af, am"
    with pytest.raises(UserError, match=f"'37': not known; use one of {known}"):
        metrics.protocol("37")


def test_sure_enough_is_the_lowest_confidence_with_few_errors_above() -> None:
    """Against brute force over all thresholds, with ties."""
    rng = np.random.default_rng(0)
    found_some = 0
    for _ in range(200):
        confidences = (rng.integers(0, 8, 30) / 8).tolist()
        correct = (rng.random(30) < np.array(confidences) ** 0.3).tolist()
        every = []
        for threshold in sorted(set(confidences)):
            kept = [hit for confidence, hit in zip(confidences, correct, strict=True) if confidence >= threshold]
            if sum(kept) >= 0.9 * len(kept):
                every.append((threshold, len(kept) / 30))
        found = metrics.confidence_threshold(confidences, correct, 0.9)
        assert found == (every[0] if every else None)
        found_some += found is not None
    assert 20 < found_some < 200
    assert metrics.confidence_threshold([0.9, 0.5], [False, True]) is None
    with pytest.raises(ValueError, match="at least one"):
        metrics.confidence_threshold([], [])


@pytest.mark.parametrize(("charset", "expected"), [("94", "36"), ("de", "36"), ("ru", "native"), ("ja", "native")])
def test_the_protocol_of_a_recognizer_keeps_its_letters(charset: str, expected: str) -> None:
    assert metrics.default_protocol(resolve_charset(charset)) == expected


def test_the_protocol_of_letters_knows_no_case() -> None:
    for one, other in (("İZMİR", "izmir"), ("ÉCOLE", "école"), ("ΟΔΟΣ", "οδος"), ("Ёж-12", "ёЖ12")):
        assert metrics.fold_letters(one) == metrics.fold_letters(other), one
    assert metrics.fold_letters("é") != metrics.fold_letters("e")
