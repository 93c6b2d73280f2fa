"""Feature Merge Unit (DPTR, section on fine-tuning): learnable queries gather characters from image tokens."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config.decoders import Initialization
from dptr.models.layers import (
    CrossLayer,
    Grid,
    cross_attend,
    init_projections,
    init_published,
    init_transformer,
)


class FMU(nn.Module):
    """``queries`` learned vectors that cross-attend to the image tokens and replace them as the decoder's memory.

    The paper uses 26 queries (25 characters and EOS) and one layer. Queries are initialized with a truncated normal of
    deviation 0.02 (the published code leaves them uninitialized).

    With ``count`` (ours, not the paper's), a linear layer predicts how many characters each image column has. The
    running sum, as sinusoids, is added to the tokens: the number of characters left of each. Query i is initialized
    with the sinusoids of i + 0.5, the middle of character i. Without counts, learned queries need most of their
    training to find the i-th character (docs/LOG.md); with them it is a look-up.

    Args:
        dim: width of queries and output, the decoder's width; even.
        queries: number of memory tokens, >= 1.
        heads: attention heads; divides ``dim``.
        layers: cross-attention layers, 1 in the paper.
        memory_dim: width of the image tokens; even.
        count: add the number of characters left of each token to it.
        leading: number of tokens before those of the grid that stand for the whole image; they get no count.
        norms: ``all``: of the queries, before each feed-forward, and of the output; ``feed-forward``: only before each
            feed-forward, as published.
        dropout: 0.1 in the published code.
        initialization: ``fan-in``: ``init_transformer``; ``published``: ``init_published`` with ``init_projections``.
    """

    def __init__(
        self,
        dim: int,
        queries: int,
        heads: int,
        layers: int,
        memory_dim: int,
        count: bool = False,
        leading: int = 0,
        norms: Literal["all", "feed-forward"] = "all",
        dropout: float = 0.0,
        initialization: Initialization = "fan-in",
    ):
        super().__init__()
        every = norms == "all"
        crosses = [CrossLayer(dim, heads, memory_dim, dropout, every) for _ in range(layers)]
        self.leading = leading
        self.queries = nn.Parameter(torch.empty(1, queries, dim))
        self.layers = nn.ModuleList(crosses)
        self.norm = nn.LayerNorm(dim) if every else nn.Identity()
        self.counter = nn.Linear(memory_dim, 1) if count else None
        if initialization == "published":
            self.apply(init_published)
            for cross in crosses:
                init_projections(cross.attention)
        else:
            self.apply(init_transformer)
        if self.counter is None:
            nn.init.trunc_normal_(self.queries, std=0.02)
        else:
            self.queries.data.copy_(sinusoids(torch.arange(queries) + 0.5, dim))
            nn.init.trunc_normal_(self.counter.weight, std=0.02)
            nn.init.constant_(self.counter.bias, -1.5)  # after softplus 0.2 characters per column: 6 in 32 columns

    def per_position(self) -> dict[str, str]:
        """The queries: row k gathers the k-th character (see ``Decoder.per_position``).

        Further rows do not change what the first ones gather, but the decoder's attention is shared among more tokens.
        """
        return {"queries": "characters"}

    def forward(self, tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b q d"]:
        """Memory tokens from the image tokens, which are ordered row by row in ``grid`` (rows, columns)."""
        if self.counter is not None:
            tokens = self.add_running_count(tokens, self.density(tokens, grid), grid)
        return self.merge(tokens)

    def density(self, tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b w"]:
        """The predicted number of characters in each column of the image, from the mean of the column's tokens."""
        assert self.counter is not None
        rows = tokens[:, self.leading :].unflatten(1, grid)
        return F.softplus(self.counter(rows.mean(1)).float()[..., 0])

    def add_running_count(
        self, tokens: Float[Tensor, "b p e"], density: Float[Tensor, "b w"], grid: Grid
    ) -> Float[Tensor, "b p e"]:
        """Add to each token, as sinusoids, the number of characters left of its column's middle."""
        counts = sinusoids(running_count(density), tokens.shape[-1]).repeat(1, grid[0], 1)
        if self.leading:
            counts = F.pad(counts, (0, 0, self.leading, 0))
        return tokens + counts.to(tokens.dtype)

    def merge(self, tokens: Float[Tensor, "b p e"]) -> Float[Tensor, "b q d"]:
        """The queries after all cross-attention layers."""
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        return self.norm(cross_attend(self.layers, queries, tokens))

    def attention(self, tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b q w"]:
        """Attention weights of the first layer by image column, averaged over heads and summed over rows.

        Each query's weights sum to 1 minus those of leading tokens.

        Args:
            tokens: as for ``merge``.
        """
        layer = self.layers[0]
        assert isinstance(layer, CrossLayer)
        queries = layer.norm1(self.queries.expand(tokens.shape[0], -1, -1))
        shares = layer.attention.shares(queries, layer.attention.project(tokens)).mean(1)
        return shares[..., self.leading :].unflatten(2, grid).sum(2)


def counting_loss(density: Float[Tensor, "b w"], characters: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Total absolute error of the crops' character counts, divided by the symbols (characters and EOS) of all labels.

    The count of a crop is the sum of ``density`` over its columns. An error near the start of a line shifts all counts
    after it, so long lines need exact counts.
    """
    return (density.sum(1) - characters).abs().sum() / (characters + 1).sum()


def running_count(density: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
    """The number of characters left of each column's middle: those of the columns before it, and half its own."""
    return density.cumsum(1) - density / 2


def sinusoids(place: Float[Tensor, "*b"], dim: int) -> Float[Tensor, "*b dim"]:
    """Sines, then cosines, of ``place`` with periods from 2 to 128 in geometric progression (Vaswani et al. 2017, 3.5).

    The shortest period of Vaswani et al. is 6.3; a period of 2 separates neighbors (at distance 1) most.
    """
    frequency = math.pi / 64 ** (torch.arange(dim // 2, device=place.device) / (dim // 2))
    angle = place[..., None].float() * frequency
    return torch.cat((angle.sin(), angle.cos()), -1)
