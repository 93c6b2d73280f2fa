"""Temperature and exponent against planted ones, and what counts as a word against all that may be drawn."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from dptr.evaluation.calibration import (
    FULL_SET,
    MAX_EXPONENT,
    MAX_TEMPERATURE,
    MIN_EXPONENT,
    MIN_TEMPERATURE,
    MIN_WORDS,
    Calibration,
    count_as,
    fit_power,
    fit_temperature,
)
from dptr.evaluation.metrics import expected_calibration_error, fold_36
from dptr.inference.confidence import UNCOUNTED, WordConfidence, apply_temperature
from dptr.text.charset import Charset, resolve_charset
from dptr.utils.errors import UserError

FEW = "aAb1-."  # characters of a small model


def planted(temperature: float, count: int, seed: int = 0) -> tuple[list[np.ndarray], list[bool]]:
    """Words of 1 to 6 rows of which each is right as often as softmax(logits / temperature) says."""
    rng = np.random.default_rng(seed)
    words, correct = [], []
    for _ in range(count):
        logits = rng.normal(0, 4, (int(rng.integers(1, 7)), 12))
        true = torch.from_numpy(logits / temperature).softmax(-1).max(-1)[0].numpy()
        words.append(torch.from_numpy(logits).softmax(-1).numpy())
        correct.append(bool((rng.random(len(true)) < true).all()))
    return words, correct


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7, 5.0])
def test_tempered_is_softmax_of_logits_over_the_temperature(temperature):
    logits = torch.randn(4, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits[0, 0, 1:] = -torch.inf
    found = apply_temperature(logits.softmax(-1).numpy(), temperature)
    np.testing.assert_allclose(found, (logits / temperature).softmax(-1).numpy(), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0])
def test_a_planted_temperature_is_found(temperature):
    words, correct = planted(temperature, 4000)
    assert fit_temperature(words, correct) == pytest.approx(temperature, rel=0.08)


def test_confidence_is_calibrated_afterwards():
    words, correct = planted(3.0, 3000)
    temperature = fit_temperature(words, correct)
    fresh, outcomes = planted(3.0, 3000, seed=1)

    def error(temperature: float) -> float:
        return expected_calibration_error(
            [float(apply_temperature(word, temperature).max(-1).prod()) for word in fresh], outcomes
        )

    assert error(1.0) > 0.2 and error(temperature) < 0.03


def test_few_words_and_one_outcome_say_nothing():
    words, correct = planted(3.0, MIN_WORDS)
    assert fit_temperature(words, correct) != 1
    assert fit_temperature(words[:-1], correct[:-1]) == 1
    assert fit_temperature(words, [True] * MIN_WORDS) == fit_temperature(words, [False] * MIN_WORDS) == 1
    with pytest.raises(ValueError, match="give as many"):
        fit_temperature(words, correct[1:])


def test_the_fit_stays_in_its_range():
    sure = [np.array([[0.999, 0.001]])] * MIN_WORDS
    assert fit_temperature(sure, [True] + [False] * (MIN_WORDS - 1)) == pytest.approx(MAX_TEMPERATURE)
    unsure = [np.array([[0.6, 0.4]])] * MIN_WORDS
    assert fit_temperature(unsure, [True] * (MIN_WORDS - 1) + [False]) == pytest.approx(MIN_TEMPERATURE, rel=0.7)


def test_a_words_product_is_the_probability_of_all_that_counts_as_it() -> None:
    """Against every word that may be drawn place by place, each folded by the protocol itself."""
    own = WordConfidence(counted_as=count_as(Charset("few", tuple(FEW)), "36"))
    rng = np.random.default_rng(0)
    below_one = 0
    for length in 1, 2, 3:
        for _ in range(50):
            rows = rng.dirichlet(np.full(1 + len(FEW), 0.3), length)
            read = [("", *FEW)[each] for each in rows.argmax(1)]
            last = max((place for place, each in enumerate(read) if fold_36(each)), default=-1)
            total = 0.0
            for drawn in product(range(1 + len(FEW)), repeat=length):
                characters = [("", *FEW)[each] for each in drawn]
                alike = all(
                    fold_36(one) == fold_36(other) and (one != "" or place > last)
                    for place, (one, other) in enumerate(zip(characters, read, strict=True))
                )
                total += alike * float(np.prod(rows[range(length), drawn]))
            # An end that was read before the last character cannot be: decoding stops at the first.
            if "" not in read[: last + 1]:
                assert own.product(rows) == pytest.approx(total, rel=1e-9)
                assert own.product(rows) >= rows.max(1).prod() * (1 - 1e-12)
                below_one += own.product(rows) < 0.999
    assert below_one > 50


def test_a_words_product_worked_out_by_hand() -> None:
    own = WordConfidence(counted_as=count_as(Charset("few", tuple(FEW)), "36"))
    assert own.counted_as == "aab1\n\n"
    case = np.array([[0, 0.5, 0.4, 0.1, 0, 0, 0], [0.9, 0, 0, 0.1, 0, 0, 0]])
    assert own.product(case) == pytest.approx(0.9 * 0.9), "a or A, then the end"
    sign_behind = np.array([[0, 0.8, 0, 0.2, 0, 0, 0], [0.4, 0, 0, 0.1, 0, 0.3, 0.2], [0.7, 0, 0.3, 0, 0, 0, 0]])
    assert own.product(sign_behind[:2]) == pytest.approx(0.8 * 0.9), "the end, or a sign that does not count"
    sign_inside = np.array([[0.1, 0, 0, 0, 0, 0.6, 0.3], [0, 0.2, 0.7, 0.1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]])
    assert own.product(sign_inside) == pytest.approx(0.9 * 0.9), "a sign before a letter is none of the end"
    nothing = np.array([[0.6, 0.1, 0, 0, 0, 0.3, 0]])
    assert own.product(nothing) == pytest.approx(0.9)
    assert WordConfidence().product(case) == pytest.approx(0.5 * 0.9), "each counts as itself"
    assert WordConfidence(2.0).scale(0.7, 5) == pytest.approx(0.49)
    assert WordConfidence(2.0, length=0.5).scale(0.7, 3) == pytest.approx(0.7), "2 / sqrt(1 + 3)"


def test_what_counts_as_what_is_the_protocols() -> None:
    charset = resolve_charset("94+space")
    counted = count_as(charset, "36")
    assert [each.strip() for each in counted] == [fold_36(each) for each in charset.characters]
    assert count_as(charset, "native") == "".join(charset.characters).replace(" ", UNCOUNTED)
    assert count_as(resolve_charset("94"), "native") == count_as(resolve_charset("de"), "native") == ""


def test_a_card_holds_the_confidence_of_words() -> None:
    for own in WordConfidence(1.25, "aab1\n\n"), WordConfidence(1.25, "aab1\n\n", 0.45, True):
        assert WordConfidence.from_card({"name": "x", **own.to_card()}, 6) == own
    earlier = {"confidence": {"exponent": 1.25, "counted_as": "aab1\n\n"}}
    assert WordConfidence.from_card(earlier, 6) == WordConfidence(1.25, "aab1\n\n", 0.0, False)
    assert WordConfidence.from_card({"name": "x"}, 6) is None
    long = {"exponent": 1, "counted_as": "", "length": 1.1}
    for damaged in (
        {"exponent": 1.25, "counted_as": "aab"}, {"exponent": 0, "counted_as": ""}, {"exponent": 1}, 3, long,
    ):  # fmt: skip
        with pytest.raises(UserError, match=r"'confidence'.*copy the model anew"):
            WordConfidence.from_card({"confidence": damaged}, 6)


def drawn(exponent: float, count: int, seed: int = 0) -> tuple[list[float], list[bool]]:
    """Products of words that are each right as often as the power of them says."""
    rng = np.random.default_rng(seed)
    products = rng.beta(2, 1, count)
    return products.tolist(), (rng.random(count) < products**exponent).tolist()


def fit_exponent(products: list[float], correct: list[bool], sources: list[int]) -> float:
    """Of words of one length."""
    exponent, length = fit_power(products, [0] * len(products), correct, sources)
    assert length == 0, "words of one length say nothing of it"
    return exponent


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.5])
def test_a_planted_exponent_is_found(exponent: float) -> None:
    assert fit_exponent(*drawn(exponent, 6000), [0] * 6000) == pytest.approx(exponent, rel=0.07)


def test_sets_weigh_alike_however_large_they_are() -> None:
    """Ten copies of a set change nothing; those of a set too small to tell count as often as they are there."""
    (low, low_right), (high, high_right) = drawn(0.5, 400), drawn(3.0, 400, seed=1)
    both = fit_exponent(low + high, low_right + high_right, [0] * 400 + [1] * 400)
    copied = fit_exponent(10 * low + high, 10 * low_right + high_right, [0] * 4000 + [1] * 400)
    assert copied == pytest.approx(both, rel=1e-9)
    pooled = fit_exponent(10 * low + high, 10 * low_right + high_right, [0] * 4400)
    assert pooled < both / 1.3, "as one set the larger part decides"
    few = FULL_SET // 5
    once = fit_exponent(low + high[:few], low_right + high_right[:few], [0] * 400 + [1] * few)
    thrice = fit_exponent(low + 3 * high[:few], low_right + 3 * high_right[:few], [0] * 400 + [1] * 3 * few)
    assert fit_exponent(low, low_right, [0] * 400) < once < thrice < both


def test_the_exponent_stays_in_its_range_and_few_words_say_nothing() -> None:
    products, correct = drawn(3.0, MIN_WORDS)
    assert fit_exponent(products, correct, [0] * MIN_WORDS) > 1.5
    assert fit_exponent(products[1:], correct[1:], [0] * (MIN_WORDS - 1)) == 1
    assert fit_exponent(products, [True] * MIN_WORDS, [0] * MIN_WORDS) == 1
    rare = [True] + [False] * (MIN_WORDS - 1)
    assert fit_exponent([0.99] * MIN_WORDS, rare, [0] * MIN_WORDS) == pytest.approx(MAX_EXPONENT)
    assert fit_exponent([0.01] * MIN_WORDS, [not each for each in rare], [0] * MIN_WORDS) == pytest.approx(MIN_EXPONENT)
    with pytest.raises(ValueError, match="give as many"):
        fit_exponent(products, correct, [0])


@pytest.mark.parametrize("length", [0.0, 0.5, 1.0])
def test_a_planted_length_is_found(length: float) -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(1, 40, 6000)
    products = rng.beta(2, 1, 6000) ** np.sqrt(lengths)
    correct = rng.random(6000) < products ** (1.5 * (1.0 + lengths) ** -length)
    found = fit_power(products.tolist(), lengths.tolist(), correct.tolist(), [0] * 6000)
    assert found == (pytest.approx(1.5, rel=0.25), pytest.approx(length, abs=0.06))


def test_a_card_rounds_thresholds_down() -> None:
    """Rounded to the nearest, 0.9999996 would be 1, which no reading reaches."""
    card = Calibration(1.0, None, {0.99: (0.9999996, 0.1234567), 0.9: (0.25, 1.0)}, 100).to_card()
    assert card == {"thresholds": {"n": 100, "0.99": [0.999999, 0.123457], "0.9": [0.25, 1.0]}}
