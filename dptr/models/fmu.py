"""Feature Merge Unit (DPTR, section on fine-tuning): learnable queries gather characters from image tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.models.layers import Attention, FeedForward, init_transformer


class FMULayer(nn.Module):
    """Cross-attention to the image tokens, then a feed-forward, both residual and pre-normed."""

    def __init__(self, dim: int, heads: int, memory_dim: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, memory_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Float[Tensor, "b q d"], tokens: Float[Tensor, "b p e"]) -> Float[Tensor, "b q d"]:
        x = x + self.attention(self.norm1(x), tokens)
        return x + self.feed_forward(self.norm2(x))


class FMU(nn.Module):
    """``queries`` learned vectors that cross-attend to the image tokens and replace them as the decoder's memory.

    The paper uses 26 queries (labels of up to 25 characters and an end) and one layer. Queries start as a truncated
    normal of deviation 0.02 (the published code leaves them uninitialised).

    Args:
        dim: width of queries and output, the decoder's width.
        queries: how many memory tokens come out, >= 1.
        heads: attention heads; divides ``dim``.
        layers: cross-attention layers, 1 in the paper.
        memory_dim: width of the image tokens.
    """

    def __init__(self, dim: int, queries: int, heads: int, layers: int, memory_dim: int):
        super().__init__()
        self.queries = nn.Parameter(torch.empty(1, queries, dim))
        self.layers = nn.ModuleList(FMULayer(dim, heads, memory_dim) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.queries, std=0.02)

    def forward(self, tokens: Float[Tensor, "b p e"]) -> Float[Tensor, "b q d"]:
        x = self.queries.expand(tokens.shape[0], -1, -1)
        for layer in self.layers:
            x = layer(x, tokens)
        return self.norm(x)
