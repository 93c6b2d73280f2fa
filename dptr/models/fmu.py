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
    init_projections,
    init_published,
    init_transformer,
    project_memory,
)


class FMU(nn.Module):
    """``queries`` learned vectors that cross-attend to the image tokens and replace them as the decoder's memory.

    The paper uses 26 queries (labels of up to 25 characters and an end) and one layer. Queries start as a truncated
    normal of deviation 0.02 (the published code leaves them uninitialized).

    With ``count`` (ours, not the paper's) a linear layer says how many characters each image column holds, and each
    token is told how many stand left of it: the running sum, as sinusoids. Query i starts as the sinusoids of i + 0.5,
    the middle of character i. To find the i-th character is what learned queries need most of their training for
    (docs/LOG.md); counted tokens make it a look-up.

    Args:
        dim: width of queries and output, the decoder's width; even.
        queries: how many memory tokens come out, >= 1.
        heads: attention heads; divides ``dim``.
        layers: cross-attention layers, 1 in the paper.
        memory_dim: width of the image tokens; even.
        count: whether tokens are told the number of characters left of them.
        leading: tokens before those of the grid that stand for the whole image; they are told nothing.
        norms: ``all``: queries, output, and before each feed-forward; ``feed-forward``: the last alone, as published.
        dropout: 0.1 in the published code.
        initialization: ``init_transformer``; or ``init_published`` with ``init_projections``.
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
            nn.init.constant_(self.counter.bias, -1.5)  # softplus: a fifth of a character a column, six on 32 columns

    def per_position(self) -> dict[str, str]:
        """The k-th query gathers the k-th character (see ``Decoder.per_position``).

        The first queries gather what they did; but the others are further memory tokens, among which the decoder shares
        its attention.
        """
        return {"queries": "characters"}

    def forward(self, tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b q d"]:
        """The queries, which have gathered characters from image tokens that lie in rows and columns, row by row."""
        if self.counter is not None:
            tokens = self.add_running_count(tokens, self.density(tokens, grid), grid)
        return self.merge(tokens)

    def density(self, tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b w"]:
        """How many characters each column of the image holds (tokens of a column are averaged over the rows)."""
        assert self.counter is not None
        placed = tokens[:, self.leading :].unflatten(1, grid)
        return F.softplus(self.counter(placed.mean(1)).float()[..., 0])

    def add_running_count(
        self, tokens: Float[Tensor, "b p e"], density: Float[Tensor, "b w"], grid: Grid
    ) -> Float[Tensor, "b p e"]:
        """Tokens with the number of characters left of their column's middle added, as sinusoids."""
        counted = sinusoids(running_count(density), tokens.shape[-1]).repeat(1, grid[0], 1)
        if self.leading:
            counted = F.pad(counted, (0, 0, self.leading, 0))
        return tokens + counted.to(tokens.dtype)

    def merge(self, tokens: Float[Tensor, "b p e"]) -> Float[Tensor, "b q d"]:
        """The queries after all layers."""
        x = self.queries.expand(tokens.shape[0], -1, -1)
        for layer, projected in zip(self.layers, project_memory(self.layers, tokens), strict=True):
            x = layer(x, projected)
        return self.norm(x)

    def attention(self, tokens: Float[Tensor, "b p e"], grid: Grid) -> Float[Tensor, "b q w"]:
        """Where the first layer's queries look: shares by image column, over all heads and rows.

        Rows sum to 1, less what leading tokens take.

        ``tokens`` are those that ``merge`` gets.
        """
        layer = self.layers[0]
        assert isinstance(layer, CrossLayer)
        queries = layer.norm1(self.queries.expand(tokens.shape[0], -1, -1))
        shares = layer.attention.shares(queries, layer.attention.project(tokens)).mean(1)
        return shares[..., self.leading :].unflatten(2, grid).sum(2)


def counting_loss(density: Float[Tensor, "b w"], characters: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """The share of characters that the columns count too many or too few: absolute differences of each crop's sum and
    the length of its label, over the symbols (characters and end) of all labels.

    A count that is one off near the start of a line moves all that follow, so that long lines need exact ones.
    """
    return (density.sum(1) - characters).abs().sum() / (characters + 1).sum()


def running_count(density: Float[Tensor, "b w"]) -> Float[Tensor, "b w"]:
    """Characters left of the middle of each column: the sum of the columns before it, and half its own."""
    return density.cumsum(1) - density / 2


def sinusoids(place: Float[Tensor, "*b"], dim: int) -> Float[Tensor, "*b dim"]:
    """Sines, then cosines, of ``place`` with periods from 2 up to 128 in a geometric row (Vaswani et al. 2017, 3.5).

    Their shortest period is 6.3; here neighbors (a distance of 1) are to be told apart most sharply.
    """
    frequency = math.pi / 64 ** (torch.arange(dim // 2, device=place.device) / (dim // 2))
    angle = place[..., None].float() * frequency
    return torch.cat((angle.sin(), angle.cos()), -1)
