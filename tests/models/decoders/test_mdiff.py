"""MDiff: masks against their enumeration, losses and the decoding schedule against plain loops, planted optima."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from helpers_reference import loud, norm, torch_decoder_layer
from torch import Tensor

from dptr.models.decoders import mdiff
from dptr.models.decoders.mdiff import STRATEGIES, MDiff, draw_mask, first_end, replacement_noise
from dptr.models.layers import project_memory
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(Charset("abc", ("a", "b", "c")), 5)
WORDS = ["abc", "c", "bbaca", "ab", "", "cc"]


def build(seed: int = 0, depth: int = 2, dtype: torch.dtype = torch.float64, noisings: int = 3) -> MDiff:
    """A decoder without dropout, with every parameter far from its initial value."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(MDiff(3, 5, 16, depth, 2, 0.0, noisings).to(dtype), seed, 0.5).eval()


def memories(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 7, 16, dtype=torch.float64, generator=generator(1)).to(dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def targets() -> Tensor:
    return torch.from_numpy(TOKENIZER.encode(WORDS))


# --- noise ------------------------------------------------------------------------------------------------------------


def possible(strategy: str, count: int) -> set[frozenset[int]]:
    """The hidden places that a strategy may choose of ``count`` symbols."""
    every = range(count)
    if strategy == "full" or count == 1:
        return {frozenset(every)}
    if strategy == "suffix":
        return {frozenset(range(split, count)) for split in range(1, count)}
    if strategy == "prefix":
        return {frozenset(range(split)) for split in range(1, count)}
    if strategy == "blocks":
        sizes = {max(1, count // blocks) for blocks in range(2, 7)}
        return {frozenset(range(split, count)) for size in sizes for split in range(size, count, size)}
    if strategy == "cloze":
        return {frozenset({place}) for place in every}
    return {frozenset(some) for size in every for some in itertools.combinations(every, size + 1)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_masks_are_all_those_of_their_strategy_and_no_others(strategy):
    draw, counts = generator(), torch.tensor([1, 2, 3, 5, 4])
    seen: dict[int, set[frozenset[int]]] = {count: set() for count in counts.tolist()}
    for _ in range(1200):
        for count, row in zip(counts.tolist(), draw_mask(strategy, counts, 6, draw).tolist(), strict=True):
            seen[count].add(frozenset(place for place, hidden in enumerate(row) if hidden))
    assert seen == {count: possible(strategy, count) for count in seen}


def test_random_masks_hide_every_number_of_symbols_equally_often():
    """A uniform probability makes 0..n hidden symbols equally likely; where none is, one is."""
    draw, counts = generator(), Counter()
    for _ in range(1200):
        counts[int(draw_mask("random", torch.tensor([5]), 6, draw).sum())] += 1
    expected = {1: 400, 2: 200, 3: 200, 4: 200, 5: 200}
    chi = sum((counts[size] - wanted) ** 2 / wanted for size, wanted in expected.items())
    assert chi < 4 + 6 * math.sqrt(8) and set(counts) == set(expected)


def test_strategies_are_equally_likely(monkeypatch):
    counts: Counter[str] = Counter()

    def count(strategy, symbols, length, draw):
        counts[strategy] += 1
        return draw_mask("full", symbols, length, draw)

    monkeypatch.setattr(mdiff, "draw_mask", count)
    with torch.no_grad():
        build(depth=1, noisings=300).loss(memories(6), None, targets(), generator())
    assert set(counts) == set(STRATEGIES)
    assert sum((seen - 50) ** 2 / 50 for seen in counts.values()) < 5 + 6 * math.sqrt(10)


def test_replaced_shares_are_uniform_and_replacements_too():
    """Of 8 places, replaced by one of 1000 classes (never the symbol itself): 0..8 replaced, equally often."""
    draw, sizes, symbols = generator(), Counter(), Counter()
    for _ in range(1800):
        replaced = replacement_noise(torch.full((2, 8), 1000), 1000, draw)
        assert torch.equal(replaced[0], replaced[1])
        new = replaced[0][replaced[0] < 1000]
        sizes[len(new)] += 1
        symbols.update((new // 250).tolist())
    assert sum((sizes[size] - 200) ** 2 / 200 for size in range(9)) < 8 + 6 * 4
    share = sum(symbols.values()) / 4
    assert sum((symbols[part] - share) ** 2 / share for part in range(4)) < 3 + 6 * math.sqrt(6)
    everything = [replacement_noise(torch.zeros(1, 6, dtype=torch.long), 4, draw) for _ in range(50)]
    assert set(torch.cat(everything).flatten().tolist()) == {0, 1, 2, 3}


# --- forward and loss -------------------------------------------------------------------------------------------------


def reference_logits(decoder: MDiff, symbols: Tensor, hidden: Tensor, memory: Tensor, shut: Tensor | None) -> Tensor:
    """(b, l, c) by ``nn.TransformerDecoderLayer``; ``shut`` (b, m) True = masked memory. 4 is the root of the width."""
    x = torch.stack(
        [
            torch.stack([decoder.mask if covered else 4.0 * decoder.embedding.weight[at] for at, covered in row])
            for row in (zip(*pair, strict=True) for pair in zip(symbols.tolist(), hidden.tolist(), strict=True))
        ]
    )
    x = x + decoder.positions
    for layer in decoder.layers:
        x = torch_decoder_layer(layer)(x, memory, memory_key_padding_mask=shut)
    return norm(decoder.norm, x) @ decoder.head.weight.T + decoder.head.bias


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_float32_logits_equal_torchs_decoder(depth):
    decoder, memory = build(depth=depth, dtype=torch.float32), memories(6, torch.float32)
    symbols = torch.randint(0, 4, (6, 6), generator=generator())
    hidden = torch.rand(6, 6, generator=generator()) < 0.5
    logits = decoder.predict(symbols, hidden, project_memory(decoder.layers, memory), None)
    torch.testing.assert_close(logits, reference_logits(decoder, symbols, hidden, memory, None), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_loss_equals_a_loop():
    """The same draws; hidden symbols alone averaged by word, then all symbols of the noisy words."""
    decoder, memory = build(), memories(6)
    mask = torch.arange(7) < torch.tensor([1, 3, 7, 4, 6, 2])[:, None]
    counts = torch.tensor([len(word) + 1 for word in WORDS])
    wanted = targets()[:, 1:]
    after = torch.arange(6) >= counts[:, None]
    draw, total = generator(3), 0.0
    for _ in range(3):
        hidden = draw_mask(STRATEGIES[int(torch.randint(6, (), generator=draw))], counts, 6, draw)
        shares = reference_logits(decoder, wanted.clamp(max=3), hidden | after, memory, ~mask).log_softmax(-1)
        for row in range(6):
            losses = [-float(shares[row, place, wanted[row, place]]) for place in range(6) if hidden[row, place]]
            total += sum(losses) / len(losses) / 6
        noisy = replacement_noise(wanted, 4, draw)
        shares = reference_logits(decoder, noisy.clamp(max=3), after, memory, ~mask).log_softmax(-1)
        losses = [-float(shares[row, at, wanted[row, at]]) for row in range(6) for at in range(int(counts[row]))]
        total += sum(losses) / len(losses)
    assert float(decoder.loss(memory, mask, targets(), generator(3))) == pytest.approx(total / 3, abs=1e-5)


def test_hidden_symbols_alone_enter_the_denoising_loss(monkeypatch):
    """And all symbols of the word the other; none after its end enters either, nor is one shown."""
    decoder, calls = build(noisings=4), []

    def predict(symbols, hidden, memory, allowed):
        logits = torch.zeros(6, 6, 4, requires_grad=True)
        calls.append((hidden, logits))
        return logits

    monkeypatch.setattr(decoder, "predict", predict)
    decoder.loss(memories(6), None, targets(), generator()).backward()
    after = torch.arange(6) >= torch.tensor([len(word) + 1 for word in WORDS])[:, None]
    assert len(calls) == 8
    for number, (hidden, logits) in enumerate(calls):
        assert bool(hidden[after].all())
        counted = logits.grad.abs().sum(-1) > 0
        assert torch.equal(counted, ~after if number % 2 else hidden & ~after)


# --- decoding ---------------------------------------------------------------------------------------------------------


def reference_decode(decoder: MDiff, memory: Tensor, steps: int) -> tuple[list[int], list[float]]:
    """One crop: symbols up to EOS, and the probability at which each was kept."""
    kept: dict[int, tuple[int, float]] = {}
    for step in range(steps):
        shown = torch.tensor([[kept[place][0] if place in kept else 0 for place in range(6)]])
        hidden = torch.tensor([[place not in kept for place in range(6)]])
        score, best = reference_logits(decoder, shown, hidden, memory, None)[0].softmax(-1).max(-1)
        reading = {place: (int(best[place]), float(score[place])) for place in range(6)} | kept
        ends = [place for place in range(6) if reading[place][0] == decoder.eos]
        end = ends[0] if ends else 5
        guesses = [place for place in range(end + 1) if place not in kept]
        if step == steps - 1 or not guesses:
            break
        mean = sum(reading[place][1] for place in guesses) / len(guesses)
        kept |= {place: reading[place] for place in guesses if reading[place][1] >= mean}
        kept = {place: pair for place, pair in kept.items() if place <= end}
    word = [reading[place] for place in range(end + 1)]
    return [symbol for symbol, _ in word], [share for _, share in word]


@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@torch.no_grad()
def test_decoding_equals_the_documented_schedule(steps):
    decoder, memory, lengths = build(seed=4), 3 * memories(32), set()
    decoder.steps = steps
    decoded = decoder.decode(memory, None).softmax(-1)
    for row in range(32):
        symbols, shares = reference_decode(decoder, memory[row : row + 1], steps)
        assert decoded[row].argmax(-1)[: len(symbols)].tolist() == symbols
        assert decoded[row].amax(-1)[: len(symbols)].tolist() == pytest.approx(shares, abs=1e-9)
        lengths.add(len(symbols))
    assert len(lengths) > 2
    if steps > 1:
        decoder.steps = steps - 1 if steps < 8 else 1
        fewer = TOKENIZER.decode(decoder.decode(memory, None).softmax(-1).numpy())
        assert fewer != TOKENIZER.decode(decoded.numpy())  # the steps do something


@torch.no_grad()
def test_one_step_is_parallel_decoding():
    decoder, memory = build(), memories(4)
    decoder.steps = 1
    everything = torch.ones(4, 6, dtype=torch.bool)
    expected = reference_logits(decoder, torch.zeros(4, 6, dtype=torch.long), everything, memory, None)
    torch.testing.assert_close(decoder.decode(memory, None), expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 20])
@pytest.mark.parametrize("word", ["", "c", "abc", "ccccc"])
def test_a_planted_word_is_read_in_any_number_of_steps(monkeypatch, steps, word):
    """The decoder is only ever shown symbols of the word, nothing after its end, and stops when it knows them all."""
    decoder, draw, calls = build(), generator(), []
    decoder.steps = steps
    wanted = torch.from_numpy(TOKENIZER.encode([word], full_length=True))[:, 1:].clamp(max=3)
    end = len(word)

    def predict(symbols, hidden, memory, allowed):
        assert torch.equal(symbols[~hidden], wanted[~hidden]) and bool(hidden[0, end + 1 :].all())
        calls.append(int(hidden[0, : end + 1].sum()))
        sure = 2.0 + torch.rand(1, 6, 1, generator=draw)
        return sure * torch.nn.functional.one_hot(wanted, 4)

    monkeypatch.setattr(decoder, "predict", predict)
    read = TOKENIZER.decode(decoder.decode(memories(1), None).softmax(-1).numpy())[0]
    assert read.text == word
    assert len(calls) <= min(steps, end + 1)
    assert calls == sorted(set(calls), reverse=True) and calls[0] == end + 1  # each step keeps at least one


@torch.no_grad()
def test_what_an_end_cuts_off_is_hidden_again(monkeypatch):
    """A sure third character, then a doubtful end before it: the character is hidden, and read anew."""
    decoder, calls = build(), []
    script = [
        [(1, 0.5), (2, 0.5), (3, 0.9), (0, 0.6), (0, 0.9), (0, 0.9)],  # abc: mean 0.625, c is kept
        [(1, 0.8), (0, 0.5), (1, 0.9), (1, 0.9), (1, 0.9), (1, 0.9)],  # a: mean 0.65, a is kept
        [(3, 0.9), (2, 0.9), (2, 0.7), (0, 0.6), (1, 0.9), (1, 0.9)],  # abb
    ]

    def predict(symbols, hidden, memory, allowed):
        shares = torch.tensor([[(1 - score) / 3] * 4 for _, score in script[len(calls)]])
        for place, (symbol, score) in enumerate(script[len(calls)]):
            shares[place, symbol] = score
        calls.append(hidden[0].tolist())
        return shares.log()[None]

    monkeypatch.setattr(decoder, "predict", predict)
    read = TOKENIZER.decode(decoder.decode(memories(1), None).softmax(-1).numpy())[0]
    assert calls == [[True] * 6, [True, True, False, True, True, True], [False, True, True, True, True, True]]
    assert (read.text, read.characters) == ("abb", pytest.approx([0.8, 0.9, 0.7]))
    assert read.confidence == pytest.approx(0.8 * 0.9 * 0.7 * 0.6)


def test_first_ends():
    symbols = torch.tensor([[1, 0, 0], [1, 2, 3], [0, 1, 0], [1, 1, 0]])
    assert first_end(symbols).tolist() == [[1], [2], [0], [2]]
