"""References that share no code with dptr: torch's own layers, with weights copied in."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def loud(module: nn.Module, seed: int = 0, scale: float = 0.2) -> nn.Module:
    """Add noise to every parameter: as initialized, biases are zero and norms do nothing, and a test could not see
    them left out."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data += (scale * noise).to(parameter.dtype)
    return module


def torch_attention(ours: nn.Module) -> nn.MultiheadAttention:
    """torch's multi-head attention with the weights of a ``dptr.models.layers.Attention``."""
    width, context = ours.query.in_features, ours.key_value.in_features
    theirs = nn.MultiheadAttention(width, ours.heads, batch_first=True, kdim=context, vdim=context)
    theirs = theirs.to(ours.out.weight.dtype)
    key, value = ours.key_value.weight.split(width)
    if context == width:
        theirs.in_proj_weight.data = torch.cat([ours.query.weight, key, value])
    else:
        theirs.q_proj_weight.data, theirs.k_proj_weight.data, theirs.v_proj_weight.data = ours.query.weight, key, value
    theirs.in_proj_bias.data = torch.cat([ours.query.bias, ours.key_value.bias])
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs.eval()


def attend(ours: nn.Module, x: Tensor, context: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Attention by ``torch_attention``; ``hidden`` is True where x (q) may not see context (m): (q, m) or (b, q, m)."""
    if hidden is not None and hidden.ndim == 3:
        hidden = hidden.repeat_interleave(ours.heads, 0)
    return torch_attention(ours)(x, context, context, attn_mask=hidden, need_weights=False)[0]


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer normalization, written out."""
    centerd = x - x.mean(-1, keepdim=True)
    return centerd / (centerd.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def feed_forward(ours: nn.Sequential, x: Tensor) -> Tensor:
    """Linear, GELU by the error function, linear."""
    first, last = (layer for layer in ours if isinstance(layer, nn.Linear))
    inside = x @ first.weight.T + first.bias
    return inside * 0.5 * (1 + torch.erf(inside / 2**0.5)) @ last.weight.T + last.bias


def torch_block(ours: nn.Module) -> nn.TransformerEncoderLayer:
    """torch's pre-norm encoder layer with the weights of a ``dptr.models.layers.Block``."""
    width = ours.norm1.normalized_shape[0]
    theirs = nn.TransformerEncoderLayer(
        width, ours.attention.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    )
    theirs.self_attn = torch_attention(ours.attention)
    for mine, name in ((ours.norm1, "norm1"), (ours.norm2, "norm2")):
        getattr(theirs, name).load_state_dict(mine.state_dict())
    first, last = (layer for layer in ours.feed_forward if isinstance(layer, nn.Linear))
    theirs.linear1.load_state_dict(first.state_dict())
    theirs.linear2.load_state_dict(last.state_dict())
    return theirs.eval()


def torch_decoder_layer(ours: nn.Module) -> nn.TransformerDecoderLayer:
    """torch's pre-norm decoder layer with the weights of a ``dptr.models.layers.DecoderLayer``."""
    width, cross = ours.norm.normalized_shape[0], ours.cross
    theirs = nn.TransformerDecoderLayer(
        width, ours.self_attention.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
    ).to(ours.norm.weight.dtype)
    theirs.self_attn, theirs.multihead_attn = torch_attention(ours.self_attention), torch_attention(cross.attention)
    for mine, name in ((ours.norm, "norm1"), (cross.norm1, "norm2"), (cross.norm2, "norm3")):
        getattr(theirs, name).load_state_dict(mine.state_dict())
    first, last = (layer for layer in cross.feed_forward if isinstance(layer, nn.Linear))
    theirs.linear1.load_state_dict(first.state_dict())
    theirs.linear2.load_state_dict(last.state_dict())
    return theirs.eval()


def cross_layer(ours: nn.Module, x: Tensor, context: Tensor, hidden: Tensor | None = None) -> Tensor:
    """A ``dptr.models.layers.CrossLayer`` by ``attend``, ``norm`` and ``feed_forward``; ``hidden`` as in ``attend``."""
    x = x + attend(ours.attention, norm(ours.norm1, x), context, hidden)
    return x + feed_forward(ours.feed_forward, norm(ours.norm2, x))
