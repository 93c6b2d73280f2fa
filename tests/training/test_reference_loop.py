"""Our steps against the published ones written plainly: the same losses and the same gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import reference_loop
import torch
from helpers_clip import make_tiny_clip
from helpers_reference import loud
from torch import Tensor, nn

from dptr.config.model import ClipDualConfig, FMUConfig, ModelConfig, PARSeqConfig, ViTConfig
from dptr.dual.clip.encoder import ClipDual, load_clip
from dptr.models.decoders.parseq import PARSeq
from dptr.models.decoders.permutations import draw_permutations
from dptr.models.recognizer import build_recognizer
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer(Charset("abc", tuple("abcdefghi")), 25)
WORDS = ["abcdefg", "face", "a", "high", "beg", "dad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_clip(tmp_path_factory.mktemp("clip"), width=32)


def clip(folder: Path, tokens: str) -> ClipDual:
    return load_clip(ClipDualConfig(model=str(folder), tokens=tokens))


def build(permutations: int = 6) -> PARSeq:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return loud(PARSeq(9, 25, 32, 3, 4, 0.0, permutations))


def targets(full_length: bool) -> Tensor:
    return torch.from_numpy(TOKENIZER.encode(WORDS, full_length))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def padded_orders(permutations: int) -> list[list[int]]:
    """Ours, drawn for the longest word, over all 25 places: what is never known comes after what is."""
    orders = draw_permutations(7, permutations, generator()).tolist()
    longer = [[*order[:-1], *range(8, 27)] for order in orders]
    return [[0, *range(26, 0, -1)] if number == 1 else order for number, order in enumerate(longer)]


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def assert_same(model: nn.Module, ours: Tensor, plain: Tensor) -> None:
    """Loss and gradients to 1e-3; a gradient's error is measured by its norm."""
    assert ours.item() == pytest.approx(plain.item(), rel=1e-3)
    found, expected = gradients(model, ours), gradients(model, plain)
    assert found.keys() == expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in expected.items():
        error = (found[name] - gradient).norm() / gradient.norm()
        assert gradient.norm() > 0 and error < 1e-3, name


@pytest.mark.parametrize("permutations", [1, 2, 6, 12])
def test_stage_1_is_the_plain_loop(permutations: int, folder: Path) -> None:
    """With the paper's 1 + 77 text tokens, padding among them."""
    decoder, dual = build(permutations), clip(folder, "paper")
    memory, mask = dual.encode_text(WORDS)
    assert memory.shape[1] == 78
    ours = decoder.loss(memory, mask, targets(False), generator())
    plain = reference_loop.text_memory(dual, WORDS)
    assert_same(decoder, ours, reference_loop.loss(decoder, plain, targets(True), padded_orders(permutations)))


def test_trimmed_tokens_are_the_plain_loop_with_padding_hidden(folder: Path) -> None:
    """Another memory than the paper's: CLIP's tokens do not see padding, and here the decoder does not either."""
    decoder, dual = build(), clip(folder, "trimmed")
    memory, mask = dual.encode_text(WORDS)
    plain = reference_loop.text_memory(dual, WORDS)
    unseen = ~nn.functional.pad(mask, (0, 78 - mask.shape[1]), value=False)
    ours = decoder.loss(memory, mask, targets(False), generator())
    assert_same(decoder, ours, reference_loop.loss(decoder, plain, targets(True), padded_orders(6), unseen))
    paper = reference_loop.loss(decoder, plain, targets(True), padded_orders(6))
    assert abs(paper.item() - ours.item()) > 0.01


def test_stage_2_is_the_plain_loop() -> None:
    config = ModelConfig(
        encoder=ViTConfig(size="tiny", height=16, width=32),
        fmu=FMUConfig(queries=26, count=False),
        decoder=PARSeqConfig(dim=32, depth=2, dropout=0.0),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = loud(build_recognizer(config, 9), scale=0.05)
    pixels = torch.rand(len(WORDS), 3, 16, 32, generator=generator()) * 2 - 1
    ours = model.loss(pixels, targets(False), generator())
    memory = reference_loop.image_memory(model.encoder, model.fmu, pixels)
    assert_same(model, ours, reference_loop.loss(model.decoder, memory, targets(True), padded_orders(6)))


def test_plain_orders_are_ours_in_kind() -> None:
    """Left to right, right to left, then mirrored pairs; the plain loop draws its own when it is timed."""
    orders = reference_loop.draw_orders(25, 6, generator())
    assert orders[:2] == draw_permutations(25, 2, generator()).tolist()
    assert [sorted(order) for order in orders] == [list(range(27))] * 6
    for one, other in zip(orders[2::2], orders[3::2], strict=True):
        assert one[1:-1] == other[-2:0:-1] and one[-1] == other[-1] == 26
