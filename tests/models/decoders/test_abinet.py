"""ABINet: masks by brute force, branches against torch's attention, what may leak and what may not, all losses."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers_reference import cross_layer, loud, norm
from torch import Tensor

from dptr.models.decoders.abinet import ABINet, cloze_mask
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(Charset("abc", ("a", "b", "c")), 5)
WORDS = ["abc", "c", "bbaca", "ab", "", "cc"]


def build(seed: int = 0, depth: int = 2, iterations: int = 3, dtype: torch.dtype = torch.float64) -> ABINet:
    """A decoder without dropout, with every parameter far from its initial value."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loud(ABINet(3, 5, 16, depth, 2, 0.0, iterations).to(dtype), seed, 0.5).eval()


def memories(count: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 7, 16, dtype=torch.float64, generator=generator(1)).to(dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(words: list[list[int]]) -> Tensor:
    return 3.0 * F.one_hot(torch.tensor(words), 4).double()


def test_masks_equal_a_brute_force_construction():
    readings = torch.randint(0, 4, (200, 6), generator=generator()).tolist()
    readings += [[0] * 6, [1] * 6, [1, 1, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1]]
    masks = cloze_mask(planted(readings))[:, 0]
    for reading, mask in zip(readings, masks.tolist(), strict=True):
        seen = max(2, reading.index(0) + 1 if 0 in reading else 6)
        assert mask == [[key < seen and key != row for key in range(6)] for row in range(6)]


def reference(decoder: ABINet, memory: Tensor, hidden: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """All logits by torch's attention; ``hidden`` (b, m) True = masked."""

    def classify(head, x):
        return x @ head.weight.T + head.bias

    seen = decoder.queries.repeat(len(memory), 1, 1)
    for layer in decoder.vision:
        seen = cross_layer(layer, seen, memory, hidden[:, None].repeat(1, 6, 1))
    seen = norm(decoder.vision_norm, seen)
    vision = read = classify(decoder.vision_head, seen)
    language, fused = [], []
    for _ in range(decoder.iterations):
        shut = torch.ones(len(memory), 6, 6, dtype=torch.bool)
        for row, reading in enumerate(read.argmax(-1).tolist()):
            for key in range(max(2, reading.index(0) + 1 if 0 in reading else 6)):
                shut[row, torch.arange(6) != key, key] = False
        net = decoder.language
        shares = read.exp() / read.exp().sum(-1, keepdim=True)
        characters = torch.einsum("btc,cd->btd", shares, net.embedding.weight) + net.places
        messages = net.queries.repeat(len(memory), 1, 1)
        for layer in net.layers:
            messages = cross_layer(layer, messages, characters, shut)
        messages = norm(net.norm, messages)
        language.append(classify(decoder.language_head, messages))
        gate = 1 / (1 + (-classify(decoder.gate, torch.cat([messages, seen], -1))).exp())
        read = classify(decoder.head, gate * seen + (1 - gate) * messages)
        fused.append(read)
    return vision, language, fused


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize(("dtype", "iterations", "close"), [(torch.float64, 3, 1e-10), (torch.float32, 1, 1e-5)])
@torch.no_grad()
def test_readings_equal_torchs_attention(depth, dtype, iterations, close):
    """Iterations feed each other, so float32's rounding grows with them: the whole chain is compared in float64."""
    decoder, memory = build(depth=depth, iterations=iterations, dtype=dtype), memories(6, dtype)
    mask = torch.arange(7) < torch.tensor([1, 3, 7, 4, 6, 2])[:, None]
    readings = decoder.readings(memory, mask)
    torch.testing.assert_close(readings, reference(decoder, memory, ~mask), atol=close, rtol=close)
    torch.testing.assert_close(decoder.decode(memory, mask), readings[2][-1], atol=0, rtol=0)


@torch.no_grad()
def test_loss_counts_vision_once_and_all_iterations():
    """1 vision + the mean of 3 language + the mean of 3 fused losses, each a mean over characters and ends."""
    decoder, memory = build(), memories(6)
    vision, language, fused = decoder.readings(memory, None)
    tokens = torch.from_numpy(TOKENIZER.encode(WORDS))

    def spelling(logits: Tensor) -> float:
        shares, total, count = logits.log_softmax(-1), 0.0, 0
        for row, word in enumerate(WORDS):
            for place, symbol in enumerate([*tokens[row, 1 : len(word) + 1].tolist(), 0]):
                total -= float(shares[row, place, symbol])
                count += 1
        return total / count

    expected = spelling(vision) + sum(map(spelling, language)) / 3 + sum(map(spelling, fused)) / 3
    assert len({round(spelling(each), 6) for each in [vision, *language, *fused]}) == 7
    assert float(decoder.loss(memory, None, tokens, generator())) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("depth", [1, 4])
@torch.no_grad()
def test_a_character_never_reaches_its_own_prediction(depth):
    """Change what was read at one position: the language model's features move everywhere else, and not there."""
    decoder = build(depth=depth)
    reading = [1, 2, 3, 1, 2, 0]
    allowed = cloze_mask(planted([reading]))
    shares = planted([reading]).softmax(-1)
    before = decoder.language(shares, allowed)[0]
    for place in range(6):
        changed = shares.clone()
        changed[0, place] = shares[0, place].roll(1)
        moved = (decoder.language(changed, allowed)[0] - before).abs().amax(-1) > 1e-9
        assert moved.tolist() == [other != place for other in range(6)]


@torch.no_grad()
def test_what_was_read_after_the_end_is_not_seen():
    decoder = build()
    one, other = planted([[1, 2, 0, 1, 2, 3]]), planted([[1, 2, 0, 3, 0, 1]])
    messages = [decoder.language(each.softmax(-1), cloze_mask(each)) for each in (one, other)]
    assert torch.equal(messages[0], messages[1])


def test_the_language_models_gradient_stays_out_of_vision():
    """Language losses alone reach the language model and nothing that sees; also through later iterations."""
    decoder, memory = build(), memories(4).requires_grad_()
    _, language, _ = decoder.readings(memory, None)
    sum(each.square().sum() for each in language).backward()
    reached = {name.split(".")[0] for name, parameter in decoder.named_parameters() if parameter.grad is not None}
    assert reached == {"language", "language_head"} and memory.grad is None


def test_the_fused_loss_trains_both_branches():
    decoder, memory = build(iterations=1), memories(4).requires_grad_()
    decoder.readings(memory, None)[2][0].square().sum().backward()
    silent = {name.split(".")[0] for name, parameter in decoder.named_parameters() if parameter.grad is None}
    assert silent == {"vision_head", "language_head"} and bool(memory.grad.any())


@torch.no_grad()
def test_iterations_are_a_prefix_of_more_iterations():
    decoder, memory = build(), memories(16)
    three = decoder.readings(memory, None)[2]
    for count in (1, 2):
        decoder.iterations = count
        torch.testing.assert_close(decoder.decode(memory, None), three[count - 1], atol=1e-12, rtol=1e-12)
    assert bool((three[0].argmax(-1) != three[2].argmax(-1)).any())
