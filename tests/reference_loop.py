"""The published training steps, written plainly from the papers' descriptions; ours are tested and timed against them.

Nothing is saved anywhere: each order of the characters has a full forward pass of its own through the two-stream
decoder, targets are padded to the longest word that there may be, each attention projects keys and values for itself,
and the frozen text tower runs in every step over its whole context. Parameters are those of our modules, whose forward
methods are not called. PARSeq: Bautista and Atienza, ECCV 2022, section 3; DPTR: Zhao et al., ACM MM 2024, section 3;
ViT: Dosovitskiy et al. 2021, equations 1-4.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Orders = list[list[int]]  # of BOS (0), characters 1..n and EOS (n + 1), as they become known


def attention(layer: Any, x: Tensor, context: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2) from x (b, q, d) to context (b, m, c).

    Args:
        layer: a ``dptr.models.layers.Attention``, for its weights.
        hidden: True where x may not look, of a shape that broadcasts to (b, heads, q, m).
    """
    query = F.linear(x, layer.query.weight, layer.query.bias)
    key, value = F.linear(context, layer.key_value.weight, layer.key_value.bias).chunk(2, dim=-1)
    query, key, value = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
    mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    return F.linear(mixed, layer.out.weight, layer.out.bias)


def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), layer.weight, layer.bias, layer.eps)


def feed_forward(layer: Any, x: Tensor) -> Tensor:
    first, last = (part for part in layer if isinstance(part, nn.Linear))
    return F.linear(F.gelu(F.linear(x, first.weight, first.bias)), last.weight, last.bias)


# --- memories ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def text_memory(dual: Any, words: list[str]) -> Tensor:
    """CLIP's text tokens of prompts, padding too: [end of text, projected; all tokens of the context] (b, 1 + 77, d).

    Args:
        dual: a ``dptr.dual.clip.encoder.ClipDual`` of a CLIP, for its model, tokenizer and prompt.
    """
    rows = [dual.tokenizer(dual.prompt(word))["input_ids"] for word in words]
    ids = torch.zeros(len(rows), dual.model.config.text_config.max_position_embeddings, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    tokens = dual.model.text_model(input_ids=ids).last_hidden_state
    ends = torch.tensor([len(row) - 1 for row in rows])
    return torch.cat([dual.model.text_projection(tokens[torch.arange(len(rows)), ends])[:, None], tokens], dim=1)


def image_memory(encoder: Any, fmu: Any, pixels: Tensor) -> Tensor:
    """A ViT's tokens of pixels (b, 3, h, w), then the FMU's queries, which have looked at them (b, queries, d)."""
    x = F.conv2d(pixels, encoder.patches.weight, encoder.patches.bias, encoder.patches.stride)
    x = x.flatten(2).transpose(1, 2) + encoder.positions
    for block in encoder.blocks:
        x = x + attention(block.attention, norm(block.norm1, x), norm(block.norm1, x))
        x = x + feed_forward(block.feed_forward, norm(block.norm2, x))
    x = norm(encoder.norm, x)
    queries = fmu.queries.repeat(len(pixels), 1, 1)
    for layer in fmu.layers:
        queries = queries + attention(layer.attention, norm(layer.norm1, queries), x)
        queries = queries + feed_forward(layer.feed_forward, norm(layer.norm2, queries))
    return norm(fmu.norm, queries)


# --- the decoder ------------------------------------------------------------------------------------------------------


def draw_orders(length: int, count: int, generator: torch.Generator) -> Orders:
    """Left to right, right to left, then random ones and mirrors."""
    forward = list(range(1, length + 1))
    orders = [[0, *forward, length + 1], [0, length + 1, *forward[::-1]]]
    while len(orders) < count:
        order = (torch.randperm(length, generator=generator) + 1).tolist()
        orders += [[0, *order, length + 1], [0, *order[::-1], length + 1]]
    return orders[:count]


def masks(order: list[int]) -> tuple[Tensor, Tensor]:
    """What (content, query) streams may not see, True = hidden: the rows of PARSeq's table 1, the other way round."""
    length = len(order) - 1
    content, query = torch.ones(2, length, length, dtype=torch.bool)
    for row in range(length):
        content[row, [place for place in order[: order.index(row) + 1] if place < length]] = False
        query[row, [place for place in order[: order.index(row + 1)] if place < length]] = False
    return content, query


def logits(decoder: Any, inputs: Tensor, memory: Tensor, order: list[int], unseen: Tensor | None) -> Tensor:
    """One order: logits of all positions from the whole word, through both streams.

    Args:
        decoder: a ``PARSeq``, for its weights.
        inputs: BOS, characters, EOS, PAD (b, n); a word's EOS and PAD are hidden from all.
        unseen: memory tokens to hide, True = hidden (b, m), or None.
    """
    content_hidden, query_hidden = masks(order)
    ended = ((inputs == decoder.eos) | (inputs == decoder.pad))[:, None, None]
    unseen = None if unseen is None else unseen[:, None, None]
    places = decoder.positions[:, : inputs.shape[1]]
    content = math.sqrt(decoder.dim) * F.embedding(inputs, decoder.embedding.weight)
    content = torch.cat([content[:, :1], content[:, 1:] + places[:, :-1]], dim=1)
    query = places.repeat(len(inputs), 1, 1)
    for number, layer in enumerate(decoder.layers):
        known = norm(layer.norm_content, content)
        query = stream(layer, query, norm(layer.norm_query, query), known, query_hidden | ended, memory, unseen)
        if number < len(decoder.layers) - 1:
            content = stream(layer, content, known, known, content_hidden | ended, memory, unseen)
    return F.linear(norm(decoder.norm, query), decoder.head.weight, decoder.head.bias)


def stream(
    layer: Any, x: Tensor, normed: Tensor, known: Tensor, hidden: Tensor, memory: Tensor, unseen: Tensor | None
) -> Tensor:
    x = x + attention(layer.self_attention, normed, known, hidden)
    x = x + attention(layer.cross_attention, norm(layer.norm1, x), memory, unseen)
    return x + feed_forward(layer.feed_forward, norm(layer.norm2, x))


def loss(decoder: Any, memory: Tensor, targets: Tensor, orders: Orders, unseen: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over characters and orders; EOS counts in the first two orders (PARSeq's published code)."""
    inputs, wanted = targets[:, :-1], targets[:, 1:]
    total, count = torch.zeros(()), 0
    for number, order in enumerate(orders):
        if number == 2:
            wanted = torch.where(wanted == decoder.eos, decoder.pad, wanted)
        predicted = logits(decoder, inputs, memory, order, unseen)
        total = total + F.cross_entropy(
            predicted.flatten(0, 1), wanted.flatten(), ignore_index=decoder.pad, reduction="sum"
        )
        count += int((wanted != decoder.pad).sum())
    return total / count


# --- steps ------------------------------------------------------------------------------------------------------------


def stage1_step(
    dual: Any,
    decoder: Any,
    optimizer: torch.optim.Optimizer,
    words: list[str],
    targets: Tensor,
    orders: Orders,
) -> float:
    """Stage 1 on a batch of words; the loss before it. ``targets`` are padded to the longest word that may come."""
    return _step(decoder, optimizer, loss(decoder, text_memory(dual, words), targets, orders))


def stage2_step(model: Any, optimizer: torch.optim.Optimizer, pixels: Tensor, targets: Tensor, orders: Orders) -> float:
    """Stage 2 on a batch of crops, for a recognizer of a ViT, an FMU that does not count, and PARSeq."""
    memory = image_memory(model.encoder, model.fmu, pixels)
    return _step(model, optimizer, loss(model.decoder, memory, targets, orders))


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 20.0)
    optimizer.step()
    return loss.item()
