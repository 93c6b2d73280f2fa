"""Every decoder from words of up to 25 characters to longer and shorter ones: what stays, is read and is learned."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from helpers_reference import loud
from torch import Tensor

from dptr.config.model import DecoderConfig, ModelConfig
from dptr.models.checkpoint import open_checkpoint, save_checkpoint, transfer
from dptr.models.decoders import DECODERS, Decoder
from dptr.models.decoders.abinet import ABINet
from dptr.models.recognizer import build_decoder
from dptr.models.resize_positions import ROWS
from dptr.text.charset import Charset
from dptr.text.tokenizer import Decoded, Tokenizer

ABC = Charset("abc", tuple("abcdefgh"))
BEFORE, LONGER, SHORTER = 25, 40, 7
every = pytest.mark.parametrize("kind", DECODERS)


def config(kind: str, max_length: int, dim: int = 16, **settings) -> ModelConfig:
    decoder = DecoderConfig.of(kind=kind, dim=dim, depth=1, heads=2, dropout=0.0, **settings)
    return ModelConfig(decoder=decoder, max_length=max_length)


def build_loaded(model: ModelConfig, seed: int) -> Decoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_decoder(model, len(ABC)).eval()


def moved(model: ModelConfig, source: Decoder, max_length: int, folder: Path) -> tuple[Decoder, list[str]]:
    """By way of a folder: a decoder for other words that starts from ``source``, and what the log is told."""
    save_checkpoint(folder, "decoder", source, model, ABC, {}, {})
    checkpoint = open_checkpoint(folder)
    decoder = build_loaded(model.model_copy(update={"max_length": max_length}), seed=1)
    fresh, messages = transfer(decoder, checkpoint, ABC)
    assert fresh == []
    return decoder, messages


def wordy(model: ModelConfig, bias: float) -> Decoder:
    """Some words of random weights end within 26 positions, others do not; ``bias`` makes them end sooner."""
    decoder = loud(build_loaded(model, 0), scale=0.5)
    for name, parameter in decoder.named_parameters():
        if name.endswith("head.bias"):
            parameter.data[0] += bias
    return decoder


def memories(count: int, dim: int = 16, tokens: int = 8) -> Tensor:
    return torch.randn(count, tokens, dim, generator=torch.Generator().manual_seed(2))


@every
@pytest.mark.parametrize("max_length", [LONGER, SHORTER])
def test_the_first_rows_are_kept_and_all_else_is_as_it_was(kind, max_length, tmp_path):
    source = loud(build_loaded(config(kind, BEFORE), 0))
    decoder, messages = moved(config(kind, BEFORE), source, max_length, tmp_path / "stage1")
    fresh = build_loaded(config(kind, max_length), 1).state_dict()
    places = decoder.per_position()
    for name, tensor in source.state_dict().items():
        now = decoder.state_dict()[name]
        if name not in places:
            assert torch.equal(now, tensor), name
            continue
        shared = min(now.shape[1], tensor.shape[1])
        assert now.shape == fresh[name].shape != tensor.shape
        assert torch.equal(now[:, :shared], tensor[:, :shared]), name
        added = "" if max_length < BEFORE else f", the others {ROWS[places[name]].note}"
        line = f"decoder.{name}: {tensor.shape[1]} to {now.shape[1]} rows, the first {shared} kept{added}"
        assert line in messages
    assert len(messages) == len(places)


@torch.no_grad()
def logits(decoder: Decoder, memory: Tensor) -> Tensor:
    return decoder.decode(memory, None)


def ends(rows: Tensor) -> Tensor:
    """Which words end within their first 26 positions."""
    return (rows[:, : BEFORE + 1].argmax(-1) == 0).any(1)


@pytest.mark.parametrize(
    "model",
    [config("nrtr", BEFORE), config("parseq", BEFORE, refinements=0)],
    ids=["nrtr", "parseq left to right"],
)
def test_left_to_right_the_first_positions_have_the_logits_that_they_had(model, tmp_path):
    """Whatever the word: no position sees a later one."""
    source = wordy(model, -3 if model.decoder.kind == "parseq" else 0)
    decoder, _ = moved(model, source, LONGER, tmp_path / "stage1")
    before, after = logits(source, 3 * memories(64)), logits(decoder, 3 * memories(64))
    assert before.shape[1] == BEFORE + 1 < after.shape[1] == LONGER + 1
    assert ends(before).any() and not ends(before).all()
    assert torch.equal(after[:, : BEFORE + 1], before)


@torch.no_grad()
def intermediate(decoder: Decoder, memory: Tensor) -> list[Tensor]:
    """The readings that are refined or corrected."""
    if isinstance(decoder, ABINet):
        vision, _, fused = decoder.readings(memory, None)
        return [vision, *fused[:-1]]
    plain = deepcopy(decoder)
    plain.refinements = 0
    return [plain.decode(memory, None)]


@pytest.mark.parametrize(
    "model",
    [config("parseq", BEFORE), config("parseq", BEFORE, autoregressive=False), config("abinet", BEFORE)],
    ids=["parseq refined", "parseq at once", "abinet"],
)
def test_words_that_end_in_time_have_the_logits_that_they_had(model, tmp_path):
    """Refinement and language see a reading up to its end, and what stands behind it not at all."""
    source = wordy(model, 2 if model.decoder.kind == "abinet" else -3)
    decoder, _ = moved(model, source, LONGER, tmp_path / "stage1")
    memory = 3 * memories(64)
    ended = torch.stack([ends(rows) for rows in intermediate(source, memory)]).all(0)
    assert 8 < int(ended.sum()) < 64
    before, after = logits(source, memory), logits(decoder, memory)
    torch.testing.assert_close(after[ended, : BEFORE + 1], before[ended], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(after[~ended, : BEFORE + 1], before[~ended], atol=1e-3)


@torch.no_grad()
def test_a_longer_path_reads_every_word_as_before(tmp_path):
    source = loud(build_loaded(config("ctc", BEFORE), 0), scale=0.5)
    decoder, _ = moved(config("ctc", BEFORE), source, LONGER, tmp_path / "stage1")
    memory = 3 * memories(64)
    torch.testing.assert_close(decoder.predict(memory, None)[:, :49], source.predict(memory, None))
    before, after = (
        Tokenizer(ABC, length).decode(part.decode(memory, None).softmax(-1).numpy())
        for length, part in ((BEFORE, source), (LONGER, decoder))
    )
    assert len({word.text for word in before}) > 8
    assert [word.text[: BEFORE + 1] for word in after] == [word.text for word in before]
    short = [pair for pair in zip(after, before, strict=True) if len(pair[1].text) <= BEFORE]
    assert len(short) > 8
    for one, other in short:
        assert one.confidence == pytest.approx(other.confidence, rel=1e-4)


# --- learning ---------------------------------------------------------------------------------------------------------


def words(count: int, shortest: int, longest: int) -> list[str]:
    """Random words, with doubled letters among them."""
    draw = torch.Generator().manual_seed(3)
    lengths = torch.randint(shortest, longest + 1, (count,), generator=draw).tolist()
    letters = [torch.randint(len(ABC), (length,), generator=draw).tolist() for length in lengths]
    return ["".join(ABC.characters[letter] for letter in word) for word in letters]


def shown(texts: list[str], max_length: int, dim: int) -> Tensor:
    """A token a character and its place, as glyph's text side has them."""
    draw = torch.Generator().manual_seed(4)
    symbols, places = torch.randn(len(ABC) + 3, dim, generator=draw), torch.randn(LONGER + 2, dim, generator=draw)
    targets = torch.from_numpy(Tokenizer(ABC, max_length).encode(texts, full_length=True))[:, 1:]
    return symbols[targets] + places[: targets.shape[1]]


def learn(decoder: Decoder, texts: list[str], max_length: int, steps: int, rate: float = 5e-3) -> list[Decoded]:
    tokenizer, memory = Tokenizer(ABC, max_length), shown(texts, max_length, decoder.dim)
    targets, draw = torch.from_numpy(tokenizer.encode(texts)), torch.Generator().manual_seed(7)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=rate, weight_decay=0.0)
    decoder.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, 2 * (steps - step) / steps)
        optimizer.zero_grad()
        decoder.loss(memory, None, targets, draw).backward()
        optimizer.step()
    with torch.no_grad():
        return tokenizer.decode(decoder.eval().decode(memory, None).softmax(-1).numpy())


@every
@pytest.mark.parametrize(
    ("longest", "shortest", "steps"), [pytest.param(LONGER, 30, 200, marks=pytest.mark.slow), (SHORTER, 3, 150)]
)
def test_words_of_another_length_are_learned_by_heart(kind, longest, shortest, steps, tmp_path):
    """From a decoder of words of up to 25 characters, after a few steps, every one of 16 longer, or shorter, words."""
    model = config(kind, BEFORE, dim=32)
    decoder, _ = moved(model, build_loaded(model, 0), longest, tmp_path / "stage1")
    texts = words(16, shortest, longest)
    steps += 60 * (kind == "ctc")  # at 200 a letter of 560 can still be wrong, by rounding
    assert [word.text for word in learn(decoder, texts, longest, steps)] == texts
