"""The temperature of confidence, against softmax itself and planted ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dptr.evaluation.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, MIN_WORDS, fit_temperature
from dptr.evaluation.metrics import expected_calibration_error
from dptr.inference.confidence import apply_temperature


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
