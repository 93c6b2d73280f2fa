"""Shared layers against torch's own, with copied weights."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from helpers_reference import attend, feed_forward, loud, torch_block
from jaxtyping import TypeCheckError
from torch import nn

from dptr.models import layers
from dptr.models.layers import Attention, Block, FeedForward, init_transformer, key_mask


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_shapes_are_enforced():
    """The hook of conftest.py is on: a context of another batch size is refused."""
    with pytest.raises(TypeCheckError):
        Attention(8, 2)(drawn(2, 3, 8), drawn(3, 4, 8))


@pytest.mark.parametrize("context_dim", [None, 12])
def test_attention_equals_torchs(context_dim):
    attention = loud(Attention(16, 4, context_dim)).eval()
    x, context = drawn(3, 5, 16), drawn(3, 7, context_dim or 16, seed=1)
    allowed = torch.rand(3, 1, 5, 7, generator=torch.Generator().manual_seed(2)) < 0.6
    allowed[..., 0] = True
    torch.testing.assert_close(attention(x, context), attend(attention, x, context), atol=1e-6, rtol=1e-5)
    masked = attention(x, context, allowed)
    torch.testing.assert_close(masked, attend(attention, x, context, ~allowed[:, 0]), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(attention.attend(x, attention.project(context), allowed), masked, atol=0, rtol=0)
    assert not torch.allclose(masked, attention(x, context), atol=1e-3)


def test_attention_drops_in_training_only():
    attention = loud(Attention(16, 4, dropout=0.5))
    x = drawn(2, 6, 16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(attention(x, x), attention(x, x))
    attention.eval()
    assert torch.equal(attention(x, x), attention(x, x))


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="10 is not a multiple of 4"):
        Attention(10, 4)


def test_feed_forward_equals_the_formula():
    layer = loud(FeedForward(8)).eval()
    x = drawn(2, 3, 8)
    torch.testing.assert_close(layer(x), feed_forward(layer, x), atol=1e-6, rtol=1e-5)


def test_block_equals_torchs_encoder_layer():
    block = loud(Block(16, 4))
    x = drawn(2, 6, 16)
    torch.testing.assert_close(block(x), torch_block(block)(x), atol=1e-5, rtol=1e-5)


def test_initial_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear, embedding = nn.Linear(200, 300), nn.Embedding(300, 200)
        dense, grouped = nn.Conv2d(32, 48, 3), nn.Conv2d(64, 64, 3, groups=4, bias=False)
        for module in (linear, embedding, dense, grouped):
            module.apply(init_transformer)
    for module in (linear, embedding):  # LeCun et al. 1998: by width in
        assert float(module.weight.detach().std()) == pytest.approx(200**-0.5, rel=0.03)
        assert abs(float(module.weight.detach().mean())) < 0.002
    assert not linear.bias.any() and not dense.bias.any()
    # He et al. 2015, equation 10, by fan out: each input pixel reaches 9 * 48, or 9 * 64 / 4, outputs
    assert float(dense.weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 48)), rel=0.03)
    assert float(grouped.weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 64 / 4)), rel=0.03)


def test_key_mask():
    mask = torch.tensor([[True, True, False], [True, False, True]])
    shaped = key_mask(mask)
    assert shaped.shape == (2, 1, 1, 3) and torch.equal(shaped.view(2, 3), mask)
    assert key_mask(None) is None
    assert key_mask(torch.ones(2, 3, dtype=torch.bool)) is None


@pytest.mark.parametrize("masked", [False, True])
def test_attention_written_out_equals_torchs(masked):
    """Forward and gradients; what is hidden gets none."""
    generator = torch.Generator().manual_seed(0)
    allowed = torch.rand(3, 1, 5, 7, generator=generator) < 0.6 if masked else None
    if allowed is not None:
        allowed[..., 0] = True
    results = []
    for compute in (layers._mix, F.scaled_dot_product_attention):
        draw = torch.Generator().manual_seed(1)
        parts = [torch.randn(3, 2, length, 8, generator=draw).requires_grad_() for length in (5, 7, 7)]
        mixed = compute(*parts, allowed, 0.0)
        mixed.square().sum().backward()
        results.append([mixed.detach(), *(part.grad for part in parts)])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
