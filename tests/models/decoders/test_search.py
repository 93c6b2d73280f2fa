"""Beam search against all words of a language, each spelled to the decoder symbol by symbol."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from helpers_reference import loud

from dptr.config.model import DecoderConfig, ModelConfig
from dptr.inference.beam import Hypotheses, search_words
from dptr.inference.constraint import Constraint, make_constraint
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.search import Guide, search
from dptr.models.recognizer import build_decoder
from dptr.text.charset import Charset

CHARSET, LONGEST = Charset("abA", tuple("abA")), 3
SEEDS = {"parseq": 3, "nrtr": 4}


def build(kind: str) -> tuple[AutoregressiveDecoder, torch.Tensor]:
    config = ModelConfig(decoder=DecoderConfig.of(kind=kind, dim=16, depth=1, heads=2), max_length=LONGEST)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = loud(build_decoder(config, len(CHARSET)), SEEDS[kind], 0.4).eval()
        memory = 2 * torch.randn(5, 6, 16)
    assert isinstance(decoder, AutoregressiveDecoder)
    return decoder, memory


@cache
def next_symbols(kind: str) -> list[dict[tuple[int, ...], np.ndarray]]:
    """For each memory the probabilities at temperature 1.3 of what comes behind every row of symbols."""
    decoder, memory = build(kind)
    after: list[dict[tuple[int, ...], np.ndarray]] = [{} for _ in memory]
    with torch.no_grad():
        projected = decoder.project(memory)
        for word in itertools.product(range(1, 1 + len(CHARSET)), repeat=LONGEST):
            cache: list[torch.Tensor] = []
            for length, symbol in enumerate((decoder.bos, *word)):
                column = torch.full((len(memory), 1), symbol)
                logits, cache = decoder.advance(column, projected, None, cache)
                for own, each in zip(after, (logits[:, 0] / 1.3).softmax(-1).numpy(), strict=True):
                    own[word[:length]] = each
    return after


def spell(kind: str, constraint: Constraint) -> list[dict[tuple[int, ...], float]]:
    """For each memory the probability of every row of symbols of at most ``LONGEST``, with the end behind it."""
    return [
        {
            word: math.prod(
                float(constraint.restriction.apply(after[word[:place]])[symbol])
                for place, symbol in enumerate((*word, 0))
            )
            for word in after
        }
        for after in next_symbols(kind)
    ]


def run(kind: str, pattern: str, width: int) -> tuple[Hypotheses, list[dict], Constraint]:
    decoder, memory = build(kind)
    constraint = make_constraint(CHARSET, LONGEST, pattern)
    rules = replace(constraint.rules, temperature=1.3)
    with torch.no_grad():
        beam = search(decoder, memory, Guide(*map(torch.as_tensor, rules.arrays())), width)
    ended = beam.states == len(rules.next) - 1
    parts = beam.symbols, beam.chances, beam.scores, ended, beam.left, beam.cut
    return Hypotheses(*(part.numpy() for part in parts)), spell(kind, constraint), constraint


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("pattern", ["[ab]+", "(ab|Aa)b?", "a{2,3}|A", ".{2}", "b?A*", "[AB]{1,3}"])
@pytest.mark.parametrize("width", [1, 3, 80])
def test_what_is_certain_is_the_best_word_of_all(kind: str, pattern: str, width: int) -> None:
    hypotheses, spelled, constraint = run(kind, pattern, width)
    for index, chances in enumerate(spelled):
        words = {word: chance for word, chance in chances.items() if constraint.automaton.accepts(word)}
        found = hypotheses.best_word(index)
        assert found.symbols in words
        assert math.prod(found.probabilities) == pytest.approx(words[found.symbols], rel=1e-3)
        assert hypotheses.left[index] <= 1 - sum(words.values()) + 1e-5
        if width == 80:  # nothing is given up
            assert hypotheses.is_certain(index)
        if hypotheses.is_certain(index):
            assert words[found.symbols] == pytest.approx(max(words.values()), rel=1e-3)


@pytest.mark.parametrize("kind", SEEDS)
def test_what_is_read_to_its_end_says_how_likely_the_language_is(kind: str) -> None:
    """Words of one length end together: of a beam that gives nothing up, what left the language is all that is not in
    it, but for words that do not end."""
    hypotheses, spelled, constraint = run(kind, "[ab]{3}|[ab]A[ab]", 80)
    for index, chances in enumerate(spelled):
        inside = sum(chance for word, chance in chances.items() if constraint.automaton.accepts(word))
        assert hypotheses.best_word(index).outside == pytest.approx(1 - inside, abs=1e-4)


def test_a_narrow_beam_may_miss_and_says_so() -> None:
    """Greedy readings into a language that a wider beam reads better."""
    missed = 0
    for kind, pattern in itertools.product(SEEDS, ["(ab|Aa)b?", "[ab]{3}", "a{2,3}|A"]):
        hypotheses, spelled, constraint = run(kind, pattern, 1)
        for index, chances in enumerate(spelled):
            best = max(chance for word, chance in chances.items() if constraint.automaton.accepts(word))
            if math.prod(hypotheses.best_word(index).probabilities) < 0.99 * best:
                missed += 1
                assert not hypotheses.is_certain(index)
    assert missed


def test_what_is_not_certain_is_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Planted:
        def search(self, crops: np.ndarray, rules: object, width: int) -> Hypotheses:
            asked.append((width, crops[:, 0, 0, 0].tolist()))
            count = len(crops)
            symbols = np.zeros((count, 1, 2), np.int64)
            symbols[:, :, 0] = width
            cut = np.where((crops[:, 0, 0, 0] % 2 == 1) & (width < 64), -0.1, -9).astype(np.float32)
            left = np.where(crops[:, 0, 0, 0] == 3, 0.99, 0.0).astype(np.float32)
            scores = np.full((count, 1), -5, np.float32)
            return Hypotheses(symbols, np.ones((count, 1, 2), np.float32), scores, np.ones((count, 1), bool), left, cut)

    crops = np.zeros((4, 2, 2, 3), np.uint8)
    crops[:, 0, 0, 0] = np.arange(4)
    rules = make_constraint(CHARSET, LONGEST, "a").rules
    found = search_words(Planted(), crops, rules)
    first, second = (width for width, _ in asked)
    assert asked == [(first, [0, 1, 2, 3]), (second, [1])]  # 3 is hopeless
    assert [each.symbols for each in found] == [(first,), (second,), (first,), (first,)]
