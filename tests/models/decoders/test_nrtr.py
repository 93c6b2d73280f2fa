"""NRTR: torch's own decoder layers, causality by brute force, cached decoding against a loop without a cache."""

from __future__ import annotations

import pytest
import torch
from helpers_reference import loud, norm, torch_decoder_layer
from torch import Tensor

from dptr.models.decoders.nrtr import NRTR
from dptr.models.layers import project_memory
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(Charset("abc", ("a", "b", "c")), 5)
WORDS = ["abc", "c", "bbaca", "ab", "", "cc"]


def build(seed: int = 0, depth: int = 2, dtype: torch.dtype = torch.float64) -> NRTR:
    """A decoder without dropout, with every parameter far from its initial value."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(NRTR(3, 5, 16, depth, 2, 0.0).to(dtype), seed, 0.5).eval()


def memories(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 7, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def reference_logits(decoder: NRTR, inputs: Tensor, memory: Tensor, hidden: Tensor | None = None) -> Tensor:
    """(b, l, c) by ``nn.TransformerDecoderLayer`` with torch's own causal mask; ``hidden`` (b, m) True = masked."""
    length = inputs.shape[1]
    x = 4.0 * decoder.embedding.weight[inputs] + decoder.positions[:, :length]  # the root of the width, 16
    causal = torch.nn.Transformer.generate_square_subsequent_mask(length, dtype=x.dtype)
    for layer in decoder.layers:
        x = torch_decoder_layer(layer)(x, memory, tgt_mask=causal, memory_key_padding_mask=hidden)
    return norm(decoder.norm, x) @ decoder.head.weight.T + decoder.head.bias


def predict(decoder: NRTR, inputs: Tensor, memory: Tensor) -> Tensor:
    return decoder.predict(inputs, project_memory(decoder.layers, memory), None, [])[0]


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_float32_logits_equal_torchs_decoder(depth):
    decoder, memory = build(depth=depth, dtype=torch.float32), memories(6, torch.float32)
    inputs = torch.from_numpy(TOKENIZER.encode(WORDS))[:, :-1]
    expected = reference_logits(decoder, inputs, memory)
    torch.testing.assert_close(predict(decoder, inputs, memory), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_loss_is_the_mean_over_characters_and_ends():
    decoder, memory = build(), memories(6)
    mask = torch.arange(7) < torch.tensor([1, 3, 7, 4, 6, 2])[:, None]
    tokens = torch.from_numpy(TOKENIZER.encode(WORDS))
    shares = reference_logits(decoder, tokens[:, :-1], memory, ~mask).log_softmax(-1)
    total, count = 0.0, 0
    for row, word in enumerate(WORDS):
        for place, symbol in enumerate([*tokens[row, 1 : len(word) + 1].tolist(), decoder.eos]):
            total -= float(shares[row, place, symbol])
            count += 1
    assert float(decoder.loss(memory, mask, tokens, generator())) == pytest.approx(total / count, abs=1e-6)


@torch.no_grad()
def test_a_later_symbol_never_moves_an_earlier_prediction():
    """Change one input at a time: exactly the predictions from its position on move."""
    decoder, memory = build(depth=3), memories(1)
    inputs = torch.from_numpy(TOKENIZER.encode(["abcab"]))[:, :-1]
    before = predict(decoder, inputs, memory)[0]
    for place in range(6):
        changed = inputs.clone()
        changed[0, place] = inputs[0, place] % 3 + 1
        moved = (predict(decoder, changed, memory)[0] - before).abs().amax(-1) > 1e-9
        assert moved.tolist() == [other >= place for other in range(6)]


@pytest.mark.parametrize("parts", [[1] * 6, [2, 1, 3], [5, 1], [6]])
@torch.no_grad()
def test_cached_pieces_equal_the_whole(parts):
    decoder, memory = build(depth=3, dtype=torch.float32), memories(4, torch.float32)
    inputs = torch.randint(1, 4, (4, 6), generator=generator())
    projected, cache, pieces = project_memory(decoder.layers, memory), [], []
    for piece in inputs.split(parts, dim=1):
        logits, cache = decoder.predict(piece, projected, None, cache)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, 1), predict(decoder, inputs, memory), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 3])
@torch.no_grad()
def test_decoding_equals_a_greedy_loop_without_a_cache(depth):
    decoder, memory = build(depth=depth, dtype=torch.float32), memories(24, torch.float32)
    decoded = decoder.decode(memory, None)
    lengths = set()
    for row in range(24):
        inputs, logits = torch.tensor([[decoder.bos]]), torch.empty(0, 4)
        while len(logits) < 6 and not (len(logits) and int(logits[-1].argmax()) == decoder.eos):
            logits = reference_logits(decoder, inputs, memory[row : row + 1])[0]
            inputs = torch.cat([inputs, logits[-1:].argmax(-1)[None]], 1)
        torch.testing.assert_close(decoded[row, : len(logits)], logits, atol=1e-5, rtol=1e-5)
        lengths.add(len(logits))
    assert len(lengths) > 2


@torch.no_grad()
def test_decoding_stops_when_all_words_have_ended():
    decoder, memory = build(), memories(24)
    reading = TOKENIZER.decode(decoder.decode(memory, None).softmax(-1).numpy())
    longest = {len(word.text): row for row, word in enumerate(reading)}
    for length, row in longest.items():
        assert decoder.decode(memory[row : row + 1], None).shape[1] == min(length + 1, 6)
    assert len(longest) > 2


@torch.no_grad()
def test_the_memory_is_projected_once(monkeypatch):
    decoder, calls = build(depth=2), []
    for layer in decoder.layers:
        attention, project = layer.cross.attention, layer.cross.attention.project
        monkeypatch.setattr(attention, "project", lambda context, project=project: calls.append(1) or project(context))
    assert decoder.decode(memories(24), None).shape[1] > 2
    assert len(calls) == 2
