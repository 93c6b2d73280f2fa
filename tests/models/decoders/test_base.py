"""What every decoder must do, whatever its kind."""

from __future__ import annotations

import pytest
import torch
from helpers_reference import loud

from dptr.config.model import DecoderConfig
from dptr.models.decoders import DECODERS, Decoder
from dptr.models.layers import Attention
from dptr.models.resize_positions import ROWS
from dptr.text.charset import Charset
from dptr.text.tokenizer import Decoded, Tokenizer

LENGTH = 5
ABC = Charset("abc", ("a", "b", "c"))
TOKENIZER = Tokenizer(ABC, LENGTH)


@pytest.fixture(params=DECODERS)
def kind(request) -> str:
    return request.param


def build(kind: str, dim: int = 16, depth: int = 2, dropout: float = 0.0, seed: int = 0) -> Decoder:
    config = DecoderConfig.of(kind=kind, dim=dim, depth=depth, heads=2, dropout=dropout)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DECODERS[kind](config, len(ABC), LENGTH)


def memories(decoder: Decoder, count: int, seed: int = 0) -> torch.Tensor:
    length = max(8, decoder.min_memory(LENGTH))
    return torch.randn(count, length, decoder.dim, generator=torch.Generator().manual_seed(seed))


def masks(memory: torch.Tensor, fewest: int) -> torch.Tensor:
    """True for the first tokens of each row, from ``fewest`` up to all but one."""
    lengths = torch.arange(len(memory)) % (memory.shape[1] - fewest) + fewest
    return torch.arange(memory.shape[1]) < lengths[:, None]


def targets(words: list[str]) -> torch.Tensor:
    return torch.from_numpy(TOKENIZER.encode(words))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@torch.no_grad()
def read(decoder: Decoder, memory: torch.Tensor, mask: torch.Tensor | None = None) -> list[Decoded]:
    return TOKENIZER.decode(decoder.decode(memory, mask).softmax(-1).numpy())


def assert_same(first: list[Decoded], second: list[Decoded]):
    assert [word.text for word in first] == [word.text for word in second]
    for one, other in zip(first, second, strict=True):
        assert one.confidence == pytest.approx(other.confidence, rel=1e-4)
        assert one.characters == pytest.approx(other.characters, rel=1e-4)


def test_gradient_reaches_every_parameter(kind):
    decoder = loud(build(kind))
    decoder.loss(memories(decoder, 4), None, targets(["abc", "c", "bbaca", "ab"]), generator()).backward()
    silent = [name for name, parameter in decoder.named_parameters() if parameter.grad is None]
    assert silent + [name for name, parameter in decoder.named_parameters() if not parameter.grad.any()] == []


def test_gradient_reaches_the_memory(kind):
    decoder = loud(build(kind))
    memory = memories(decoder, 2).requires_grad_()
    decoder.loss(memory, None, targets(["ab", "c"]), generator()).backward()
    assert bool(memory.grad.any(-1).all())


@pytest.mark.parametrize("words", [["", "ab"], ["ab", ""], ["", ""]])
def test_pictures_without_text_teach_the_end_at_once(kind, words):
    decoder = loud(build(kind))
    memory, draws = memories(decoder, 2), generator()
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = decoder.loss(memory, None, targets(words), draws)
        assert bool(torch.isfinite(loss))
        loss.backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in decoder.parameters() if p.grad is not None)
        optimizer.step()
    decoder.eval()
    assert [read_word.text == "" for read_word in read(decoder, memory)] == [word == "" for word in words]


def test_loss_is_a_function_of_the_generator(kind):
    decoder = loud(build(kind)).train()
    arguments = memories(decoder, 4), None, targets(["abc", "c", "bbaca", "ab"])
    state = torch.get_rng_state()
    first, again = (decoder.loss(*arguments, generator()) for _ in range(2))
    assert first.shape == () and torch.isfinite(first)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_crop_alone_equals_the_crop_in_a_batch(kind):
    for seed in range(20):  # weights with which not all is read alike, nor all of one length
        decoder = loud(build(kind), seed, scale=0.5).eval()
        memory = 3 * memories(decoder, 32)
        batch = read(decoder, memory)
        if len({word.text for word in batch}) > 4 and len({len(word.text) for word in batch}) > 2:
            break
    else:
        pytest.fail("no weights with which words differ in text and length")
    assert_same([read(decoder, row[None])[0] for row in memory], batch)


@torch.no_grad()
@pytest.mark.parametrize("kind", [name for name in DECODERS if name in ("parseq", "nrtr")])
def test_words_that_have_ended_leave_the_batch(kind, monkeypatch):
    """Planted: word k ends after k symbols. Each symbol is asked for the words that go on, with their own memory."""
    decoder, lengths = build(kind), torch.tensor([5, 0, 1, 1, 3, 0, 2, 5])
    asked: list[list[int]] = []

    def advance(symbol, memory, allowed, cache):
        words = memory[0][0, :, 0, 0, 0].long()
        assert torch.equal(allowed[:, 0, 0, 0], words % 2 == 0)
        position = cache[0].shape[3] if cache else 0
        assert not cache or torch.equal(cache[0][0, :, 0, 0, 0].long(), words)
        asked.append(words.tolist())
        logits = torch.zeros(len(words), 1, len(ABC) + 1)
        logits[range(len(words)), 0, torch.where(lengths[words] == position, 0, 1 + words % 3)] = 1
        return logits, [words.view(1, -1, 1, 1, 1).expand(2, -1, 1, position + 1, 1).float()]

    monkeypatch.setattr(decoder, "advance", advance)
    memory = torch.arange(8).view(1, 8, 1, 1, 1).expand(2, 8, 1, 2, 1).float()
    logits = decoder._left_to_right([memory], (torch.arange(8) % 2 == 0).view(8, 1, 1, 1).expand(8, 1, 1, 2))
    read = TOKENIZER.decode(logits.numpy())
    assert [word.text for word in read] == ["abc"[k % 3] * length for k, length in enumerate(lengths.tolist())]
    assert asked[0] == list(range(8)) and asked[-1] == [0, 7] and sum(map(len, asked)) < 8 * 6 * 2 // 3
    assert [len(words) for words in asked] == sorted(map(len, asked), reverse=True)


@torch.no_grad()
def test_losses_of_parts_make_the_loss_of_the_whole(kind):
    """By their terms: what several processes with a part of the batch each rely on."""
    if kind == "mdiff":
        pytest.skip("a sum of a mean over words and one over symbols")
    decoder = loud(build(kind)).eval()
    memory = memories(decoder, 5)
    wanted = targets(["abcab", "c", "bb", "ab", "bca"])
    parts = [slice(0, 2), slice(2, 5)]
    losses = [float(decoder.loss(memory[part], None, wanted[part], generator())) for part in parts]
    terms = [decoder.term_count(wanted[part]) for part in parts]
    whole = sum(loss * count for loss, count in zip(losses, terms, strict=True)) / sum(terms)
    assert sum(terms) == decoder.term_count(wanted)
    assert whole == pytest.approx(float(decoder.loss(memory, None, wanted, generator())), rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_masked_memory_equals_memory_without_the_masked_tokens(kind):
    decoder = loud(build(kind), scale=0.5).eval()
    memory = memories(decoder, 16)
    mask = masks(memory, max(1, decoder.min_memory(LENGTH) - 1))
    alone = [read(decoder, row[None, shown])[0] for row, shown in zip(memory, mask, strict=True)]
    memory[~mask] = 1e3
    assert_same(read(decoder, memory, mask), alone)
    words = ["abc", "c", "bbaca", "ab"]
    loss = decoder.loss(memory[:4], mask[:4], targets(words), generator())
    memory[~mask] = -1e3
    torch.testing.assert_close(decoder.loss(memory[:4], mask[:4], targets(words), generator()), loss)
    planted = [torch.where(mask[:4, :, None], memory[:4], value) for value in (1e3, -1e3)]  # one of them is attended to
    unmasked = [decoder.loss(tokens, None, targets(words), generator()) for tokens in planted]
    assert not all(torch.allclose(each, loss, atol=1e-3) for each in unmasked)


def test_a_mask_that_hides_nothing_changes_nothing(kind):
    decoder = loud(build(kind)).eval()
    memory = memories(decoder, 4)
    everything = torch.ones(memory.shape[:2], dtype=torch.bool)
    assert_same(read(decoder, memory, everything), read(decoder, memory))


def test_padding_of_targets_changes_nothing(kind):
    decoder = loud(build(kind)).eval()
    memory, words = memories(decoder, 2), ["abc", "cab"]
    loss = decoder.loss(memory, None, targets(words), generator())
    double = decoder.loss(memory.repeat(2, 1, 1), None, targets(words * 2), generator())
    torch.testing.assert_close(double, loss)


def test_overfits_sixteen_words(kind):
    """Among them the shortest and the longest there may be, with doubled characters."""
    words = ["a", "b", "cc", "ab", "ba", "abc", "cab", "bbb", "acca", "caab", "bcbc", "aaaa", "abcab", "ccccc", "bacba"]
    words.append("cbaac")
    decoder = build(kind, dim=32, depth=1).train()
    memory = memories(decoder, len(words))
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=5e-3, weight_decay=0.0)
    draw = generator()
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1, (200 - step) / 100)
        optimizer.zero_grad()
        decoder.loss(memory, None, targets(words), draw).backward()
        optimizer.step()
    assert [word.text for word in read(decoder.eval(), memory)] == words


def test_logits_are_of_eos_and_the_characters_up_to_max_length(kind):
    decoder = loud(build(kind)).eval()
    with torch.no_grad():
        logits = decoder.decode(memories(decoder, 64), None)
    assert logits.shape[0] == 64 and logits.shape[1] <= LENGTH + 1 and logits.shape[2] == len(ABC) + 1


def test_state_loads_into_a_fresh_decoder(kind):
    decoder, other = loud(build(kind)).eval(), build(kind, seed=1).eval()
    memory = memories(decoder, 8)
    with torch.no_grad():
        before = other.decode(memory, None)
        other.load_state_dict(decoder.state_dict())
        logits = decoder.decode(memory, None)
        assert logits.shape != before.shape or not torch.allclose(before, logits)
        torch.testing.assert_close(other.decode(memory, None), logits, atol=0, rtol=0)


def test_rows_of_characters_are_declared(kind):
    """Every parameter whose size follows the charset's is listed, with the right number of rows."""
    decoder = build(kind)
    config = DecoderConfig.of(kind=kind, dim=16, depth=2, heads=2)
    larger = DECODERS[kind](config, 50, LENGTH).state_dict()
    follows = {name for name, tensor in decoder.state_dict().items() if larger[name].shape != tensor.shape}
    declared = decoder.per_character()
    assert set(declared) == follows
    rows = {"classes": TOKENIZER.classes, "vocabulary": TOKENIZER.vocabulary}
    assert {name: decoder.state_dict()[name].shape[0] for name in declared} == {
        name: rows[symbols] for name, symbols in declared.items()
    }


def test_rows_of_places_are_declared(kind):
    """Every parameter whose size follows the longest word's is listed, with the right number of rows."""
    config = DecoderConfig.of(kind=kind, dim=16, depth=2, heads=2)
    decoder, longer = build(kind), DECODERS[kind](config, len(ABC), 9).state_dict()
    declared = decoder.per_position()
    state = decoder.state_dict()
    assert set(declared) == {name for name, tensor in state.items() if longer[name].shape != tensor.shape}
    for name, rows in declared.items():
        assert state[name].shape == (1, ROWS[rows].count(LENGTH), 16)
        assert longer[name].shape == (1, ROWS[rows].count(9), 16)


def test_heads_must_divide_the_width(kind):
    """A decoder of other layers ignores ``heads``."""
    two, four = (DecoderConfig.of(kind=kind, dim=18, heads=heads) for heads in (2, 4))
    if not any(isinstance(module, Attention) for module in DECODERS[kind](two, 3, LENGTH).modules()):
        pytest.skip(f"{kind} has no attention heads")
    with pytest.raises(ValueError, match="18"):
        DECODERS[kind](four, 3, LENGTH)
