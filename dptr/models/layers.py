"""Layers that encoders, FMU, and decoders share."""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Side: TypeAlias = int | torch.SymInt  # symbolic during torch.export
Grid: TypeAlias = tuple[Side, Side]  # rows and columns of image tokens


class Encoder(nn.Module):
    """Base class of image encoders: pixels (b, 3, h, w) in [-1, 1] -> tokens (b, p, d).

    Attributes:
        dim: d.
        grid: rows and columns of the tokens of a usual image, which are ordered row by row.
        leading: number of tokens before these that stand for the whole image; p = leading + rows * columns.
    """

    dim: int
    grid: tuple[int, int]
    leading: int = 0

    def per_position(self) -> dict[str, str]:
        """Parameters with one row per position that depend on the image size: name -> key of ``ROWS``."""
        return {}

    def with_grid(self, pixels: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b p d"], Grid]:
        """Tokens, and their rows and columns: ``grid``, unless images have several sizes."""
        return self(pixels), self.grid


class Attention(nn.Module):
    """Multi-head scaled-dot-product attention (Vaswani et al. 2017, section 3.2).

    Queries come from ``x``, keys and values from ``context``. ``project`` computes the latter once for many uses:
    PARSeq attends to the same memory in every permutation, stream, and decoding step.
    """

    def __init__(self, dim: int, heads: int, context_dim: int | None = None, dropout: float = 0.0):
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} is not a multiple of {heads} heads; choose heads that divide it")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(context_dim or dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def project(self, context: Float[Tensor, "b m c"]) -> Float[Tensor, "2 b h m e"]:
        """Keys and values of ``context``, by head."""
        batch, length, _ = context.shape
        return self.key_value(context).view(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)

    def attend(
        self,
        x: Float[Tensor, "b q d"],
        projected: Float[Tensor, "2 b h m e"],
        allowed: Bool[Tensor, "*mask"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Attend from ``x`` to projected keys and values, where ``allowed`` (broadcast to b, h, q, m) is True."""
        batch, length, width = x.shape
        query = self.query(x).view(batch, length, self.heads, -1).transpose(1, 2)
        key, value = projected
        dropout = self.dropout if self.training else 0.0
        mixed = _mix(query, key, value, allowed, dropout)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))

    def shares(self, x: Float[Tensor, "b q d"], projected: Float[Tensor, "2 b h m e"]) -> Float[Tensor, "b h q m"]:
        """Attention weights in float32; rows sum to 1."""
        batch, length, _ = x.shape
        query = self.query(x).view(batch, length, self.heads, -1).transpose(1, 2)
        return (query @ projected[0].transpose(-1, -2) * query.shape[-1] ** -0.5).float().softmax(-1)

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        context: Float[Tensor, "b m c"],
        allowed: Bool[Tensor, "*mask"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        return self.attend(x, self.project(context), allowed)


def _mix(
    query: Float[Tensor, "b h q e"],
    key: Float[Tensor, "b h m e"],
    value: Float[Tensor, "b h m e"],
    allowed: Bool[Tensor, "*mask"] | None,
    dropout: float,
) -> Float[Tensor, "b h q e"]:
    """``F.scaled_dot_product_attention``, written out on a CPU, where it takes up to 8 times as long for the few tokens
    of a word (docs/LOG.md).
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, allowed, dropout)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return F.dropout(scores.softmax(-1), dropout) @ value


class Layer(nn.Module):
    """A layer of a deep stack.

    Attributes:
        recompute: activation checkpointing: store only the layer's inputs, and recompute its activations in the
            backward pass, with the same dropout (Chen et al. 2016, "Training deep nets with sublinear memory cost").
    """

    recompute: bool = False

    def __call__(self, *arguments: Any) -> Any:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(super().__call__, *arguments, use_reentrant=False)
        return super().__call__(*arguments)


class FeedForward(nn.Sequential):
    """Linear, GELU, linear, ``ratio`` times as wide inside (Vaswani et al. 2017, section 3.3; GELU as in ViT)."""

    def __init__(self, dim: int, ratio: int = 4, dropout: float = 0.0):
        super().__init__(
            nn.Linear(dim, ratio * dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(ratio * dim, dim),
            nn.Dropout(dropout),
        )


class Block(Layer):
    """Pre-norm transformer encoder block (ViT, Dosovitskiy et al. 2021, equations 2-3)."""

    def __init__(self, dim: int, heads: int, norm_eps: float = 1e-5):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, norm_eps)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, norm_eps)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Float[Tensor, "b p d"]) -> Float[Tensor, "b p d"]:
        normed = self.norm1(x)
        x = x + self.attention(normed, normed)
        return x + self.feed_forward(self.norm2(x))


class CrossLayer(nn.Module):
    """Pre-norm cross-attention from a stream to a context, then a feed-forward, both residual.

    The caller projects the context with ``attention.project``, once for many calls. Without ``norm_stream`` only the
    feed-forward has a norm before it.
    """

    def __init__(
        self, dim: int, heads: int, context_dim: int | None = None, dropout: float = 0.0, norm_stream: bool = True
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim) if norm_stream else nn.Identity()
        self.attention = Attention(dim, heads, context_dim, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        projected: Float[Tensor, "2 b h m e"],
        allowed: Bool[Tensor, "*mask"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        x = x + self.dropout(self.attention.attend(self.norm1(x), projected, allowed))
        return x + self.feed_forward(self.norm2(x))


class DecoderLayer(Layer):
    """Pre-norm transformer decoder layer: self-attention, then a ``CrossLayer`` (Vaswani et al. 2017, section 3.1).

    Vaswani et al. normalize after each residual sum. With norms before it, as in ``Block``, deep stacks train without
    warm-up (Xiong et al. 2020, section 4).
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads, dropout=dropout)
        self.cross = CrossLayer(dim, heads, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "b l d"],
        memory: Float[Tensor, "2 b h m e"],
        allowed: Bool[Tensor, "*mask"] | None = None,
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None = None,
        past: Float[Tensor, "2 b h p e"] | None = None,
    ) -> tuple[Float[Tensor, "b l d"], Float[Tensor, "2 b h n e"]]:
        """The stream after the layer, and its n = p + l keys and values, the ``past`` of later positions."""
        normed = self.norm(x)
        content = self.self_attention.project(normed)
        if past is not None:
            content = torch.cat([past, content], dim=3)
        x = x + self.dropout(self.self_attention.attend(normed, content, allowed))
        return self.cross(x, memory, memory_allowed), content


def project_memory(layers: nn.ModuleList, memory: Float[Tensor, "b m d"]) -> list[Float[Tensor, "2 b h m e"]]:
    """Keys and values of the memory for each ``CrossLayer`` or ``DecoderLayer``, computed once per batch."""
    crosses = [layer.cross if isinstance(layer, DecoderLayer) else layer for layer in layers]
    return [cast(CrossLayer, cross).attention.project(memory) for cross in crosses]


def cross_attend(
    layers: nn.ModuleList,
    queries: Float[Tensor, "b q d"],
    memory: Float[Tensor, "b m e"],
    allowed: Bool[Tensor, "*mask"] | None = None,
) -> Float[Tensor, "b q d"]:
    """The queries after each ``CrossLayer``, in which they attend to the memory."""
    for layer, projected in zip(layers, project_memory(layers, memory), strict=True):
        queries = layer(queries, projected, allowed)
    return queries


def all_done(done: Bool[Tensor, "*b"]) -> bool:
    """Whether decoding may stop. Never during ``torch.export``, since a graph has the same steps for all data."""
    return not torch.compiler.is_exporting() and bool(done.all())


def init_transformer(module: nn.Module) -> None:
    """Initialize weights: truncated normal for linear layers and embeddings, He for convolutions; biases are 0.

    The deviation is ``width_in ** -0.5`` (LeCun et al. 1998), not ViT's 0.02, which is meant for a width of 768: with
    it narrow models stay on a plateau for twice as many steps (docs/LOG.md). Use with
    ``module.apply(init_transformer)``; the caller seeds torch.
    """
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.normal_(
            module.weight, std=math.sqrt(2.0 * module.groups / (module.out_channels * math.prod(module.kernel_size)))
        )
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_published(module: nn.Module) -> None:
    """Initialize weights as the code of PARSeq, DPTR, and ViT: truncated normal of deviation 0.02.

    This is for linear layers, whose biases are 0, and embeddings. Convolutions get He's normal, and keep torch's
    uniform bias. Use with
    ``module.apply(init_published)``; the caller seeds torch.
    """
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def init_projections(attention: Attention) -> None:
    """Initialize the projections of query, key, and value as one matrix with Xavier's uniform (Glorot and Bengio 2010).

    torch's ``nn.MultiheadAttention`` does so. The published decoders of PARSeq and DPTR use it, and their own
    initialization does not reach these projections.
    """
    for layer in (attention.query, attention.key_value):
        bound = math.sqrt(6 / (layer.in_features + 3 * attention.query.out_features))
        nn.init.uniform_(layer.weight, -bound, bound)


def key_mask(mask: Bool[Tensor, "b m"] | None) -> Bool[Tensor, "b 1 1 m"] | None:
    """A memory mask in the shape that ``Attention`` broadcasts; None stays None, and an all-True mask becomes None."""
    if mask is None or bool(torch.all(mask)):
        return None
    return mask[:, None, None, :]
