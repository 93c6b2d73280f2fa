"""Public weights: our networks compute what the public codes computed with them (tests/golden/published.json).

``tests/golden/make_published.py`` ran these codes; here the same weights are imported and the numbers compared, to 1e-5
in float32.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import helpers_published as published
import pytest
import torch
import torch.nn.functional as F
from helpers_published import MODELS, Shapes, golden, sample, weights
from torch import Tensor

from dptr.cli.app import run
from dptr.models.checkpoint import load_recognizer, open_checkpoint
from dptr.models.decoders import Decoder
from dptr.models.decoders.parseq import PARSeq, build_sequences, draw_permutations
from dptr.models.fmu import FMU
from dptr.models.published import Imported, Published, import_published, read_published, to_our_names
from dptr.models.recognizer import Recognizer
from dptr.text.charset import resolve_charset
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.files import save_tensors

GOLDEN = golden()
FILE = Path("public.pth")


def close(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(torch.tensor(sample(found)), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def cut(logits: Tensor) -> Tensor:
    """Probabilities of all words, one after the other, each up to its first EOS."""
    ends = [(row.argmax(-1) == 0).nonzero().flatten().tolist() for row in logits]
    return torch.cat([row[: end[0] + 1] if end else row for row, end in zip(logits.softmax(-1), ends, strict=True)])


def symbols(rows: list[list[int]]) -> list[list[int]]:
    """Up to the first EOS."""
    return [row[: row.index(0) + 1] if 0 in row else row for row in rows]


# --- decoder, FMU -----------------------------------------------------------------------------------------------------


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(name): tensor for key, tensor in tensors.items() if key.startswith(name)}


def decoder_weights(depth: int) -> dict[str, Tensor]:
    shapes = published.decoder_shapes(published.WIDTH, depth, published.CHARACTERS, published.LONGEST, "", fmu=True)
    return to_our_names(FILE, {f"decoder.{name}": tensor for name, tensor in weights(shapes).items()})


def build_decoder(depth: int, **settings: Any) -> PARSeq:
    decoder = PARSeq(
        published.CHARACTERS, published.LONGEST, published.WIDTH, depth, published.HEADS, dropout=0.0,
        **{"refinement_mask": "cloze", **settings},
    )  # fmt: skip
    decoder.load_state_dict(part(decoder_weights(depth), "decoder."))
    return decoder.eval()


def build_fmu(depth: int) -> FMU:
    width = published.WIDTH
    fmu = FMU(width, published.QUERIES, published.HEADS, 1, width, norms="feed-forward", dropout=0.1)
    fmu.load_state_dict(part(decoder_weights(depth), "fmu."))
    return fmu.eval()


def memory(depth: int) -> Tensor:
    count = len(published.WORDS)
    tokens = torch.from_numpy(published.draw("tokens", (count, published.TOKENS, published.WIDTH)))
    return build_fmu(depth)(tokens, (1, published.TOKENS))


@torch.no_grad()
def test_fmu_equals_the_published_one() -> None:
    tokens = torch.from_numpy(published.draw("tokens", (3, published.TOKENS, published.WIDTH)))
    close(build_fmu(1)(tokens, (1, published.TOKENS)), GOLDEN["fmu"])


@torch.no_grad()
@pytest.mark.parametrize("depth", published.DEPTHS)
def test_training_loss_equals_the_published_one(depth: int) -> None:
    """In the orders that the public code drew; it pads to the longest word there may be, ours to the longest here."""
    expected, decoder = GOLDEN["decoders"][str(depth)], build_decoder(depth)
    targets = torch.from_numpy(Tokenizer(resolve_charset("10"), published.LONGEST).encode(published.WORDS))
    orders = build_sequences(torch.tensor(expected["orders"]))
    logits, wanted = decoder.logits_in_orders(memory(depth), None, targets, orders)
    loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=decoder.pad)
    assert float(loss) == pytest.approx(expected["loss"], abs=1e-5)
    forward = zip(logits, published.WORDS, strict=True)
    close(torch.cat([row[: len(word) + 1] for row, word in forward]), expected["left to right"])


@torch.no_grad()
@pytest.mark.parametrize("refinements", [0, 1, 2])
@pytest.mark.parametrize("autoregressive", [True, False])
@pytest.mark.parametrize("depth", published.DEPTHS)
def test_readings_equal_the_published_ones(depth: int, autoregressive: bool, refinements: int) -> None:
    way = f"{'left to right' if autoregressive else 'parallel'}, {refinements}"
    expected = GOLDEN["decoders"][str(depth)]["readings"][way]
    decoder = build_decoder(depth, autoregressive=autoregressive, refinements=refinements)
    logits = decoder.decode(memory(depth), None)
    assert symbols(logits.argmax(-1).tolist()) == symbols(expected["symbols"])
    close(cut(logits), expected["probabilities"])


@torch.no_grad()
@pytest.mark.parametrize("depth", published.DEPTHS)
def test_the_content_streams_mask_matters_from_depth_2_on(depth: int) -> None:
    found = [build_decoder(depth, refinement_mask=mask).decode(memory(depth), None) for mask in ("causal", "cloze")]
    assert torch.allclose(*found, atol=1e-4) == (depth == 1)
