"""PARSeq decoder: permutation language modeling with two-stream attention (Bautista and Atienza, ECCV 2022).

The content stream holds what is known (BOS and characters), the query stream holds positions and predicts. An order of
the positions (a permutation) says which characters a position may see. DPTR uses this decoder at depth 6, so both
streams are carried through the layers, as in XLNet (Yang et al. 2019).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.decoders import Initialization, PARSeqConfig
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.class_sampling import SampledHead
from dptr.models.decoders.permutations import Sequences, build_sequences, draw_permutations, order_count
from dptr.models.layers import (
    Attention,
    FeedForward,
    Layer,
    init_projections,
    init_published,
    init_transformer,
    key_mask,
)


class TwoStreamLayer(Layer):
    """Self-attention to the content stream, cross-attention to the memory, feed-forward; pre-normed, weights shared."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.norm_query = nn.LayerNorm(dim)
        self.norm_content = nn.LayerNorm(dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads, dropout=dropout)
        self.cross_attention = Attention(dim, heads, dropout=dropout)
        self.feed_forward = FeedForward(dim, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def stream(
        self,
        x: Float[Tensor, "b q d"],
        normed: Float[Tensor, "b q d"],
        content: Float[Tensor, "2 b h l e"],
        memory: Float[Tensor, "2 b h m e"],
        allowed: Bool[Tensor, "b 1 q l"] | None,
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
    ) -> Float[Tensor, "b q d"]:
        x = x + self.dropout(self.self_attention.attend(normed, content, allowed))
        x = x + self.dropout(self.cross_attention.attend(self.norm1(x), memory, memory_allowed))
        return x + self.feed_forward(self.norm2(x))

    def forward(
        self,
        query: Float[Tensor, "b q d"],
        content: Float[Tensor, "b l d"],
        memory: Float[Tensor, "2 b h m e"],
        query_allowed: Bool[Tensor, "b 1 q n"] | None,
        content_allowed: Bool[Tensor, "b 1 l n"] | None,
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        last: bool,
        past: Float[Tensor, "2 b h p e"] | None = None,
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b l d"], Float[Tensor, "2 b h n e"]]:
        """Both streams after the layer, and the content's n = p + l keys and values: the ``past`` of what follows."""
        normed = self.norm_content(content)
        keys = self.self_attention.project(normed)
        if past is not None:
            keys = torch.cat([past, keys], dim=3)
        query = self.stream(query, self.norm_query(query), keys, memory, query_allowed, memory_allowed)
        if not last:
            content = self.stream(content, normed, keys, memory, content_allowed, memory_allowed)
        return query, content, keys


class PARSeq(AutoregressiveDecoder):
    """The decoder.

    Args:
        characters: n, how many characters; symbols are EOS 0, characters 1..n, BOS n + 1, PAD n + 2.
        max_length: the longest word in characters.
        dim, depth, heads, dropout: of the layers. PARSeq has depth 1, DPTR depth 6.
        permutations: orders a training step, mirrored pairs (6 in the paper).
        refinements: rounds of cloze refinement after the first reading (1 in the paper).
        autoregressive: read left to right, or all positions at once, before refining.
        refinement_mask: what the content stream sees while refining: ``causal``, the inputs up to its own; ``cloze``,
            as published, all but the next one. At depth 1 both compute the same.
        initialization: ``fan-in``: ``init_transformer``, positions of deviation 0.5; ``published``: see
            ``_init_as_published``.
        negatives: how many classes the loss draws beside those of the targets (``SampledHead``); 0 = all count.
    """

    def __init__(
        self,
        characters: int,
        max_length: int,
        dim: int,
        depth: int,
        heads: int,
        dropout: float = 0.1,
        permutations: int = 6,
        refinements: int = 1,
        autoregressive: bool = True,
        refinement_mask: Literal["causal", "cloze"] = "causal",
        initialization: Initialization = "fan-in",
        negatives: int = 0,
    ):
        super().__init__()
        self.dim = dim
        self.eos, self.bos, self.pad = 0, characters + 1, characters + 2
        self.max_length = max_length
        self.permutations = permutations
        self.refinements = refinements
        self.autoregressive = autoregressive
        self.refinement_mask = refinement_mask
        self.embedding = nn.Embedding(characters + 3, dim)
        self.positions = nn.Parameter(torch.empty(1, max_length + 1, dim))
        self.layers = nn.ModuleList(TwoStreamLayer(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = SampledHead(dim, characters + 1, negatives)
        self.dropout = nn.Dropout(dropout)
        if initialization == "published":
            self._init_as_published()
        else:
            self.apply(init_transformer)
            nn.init.trunc_normal_(self.positions, std=0.5)  # beside characters of deviation 1, so that both count

    def _init_as_published(self) -> None:
        """``init_published``, positions too; attention's projections by Xavier, and the same ones in every layer.

        The published code draws them once and copies the layer; its own initialization, after that, leaves them alone.
        """
        self.apply(init_published)
        nn.init.trunc_normal_(self.positions, std=0.02)
        first, *others = cast(Iterable[TwoStreamLayer], self.layers)
        for name in ("self_attention", "cross_attention"):
            drawn = getattr(first, name)
            init_projections(drawn)
            for layer in others:
                getattr(layer, name).query.load_state_dict(drawn.query.state_dict())
                getattr(layer, name).key_value.load_state_dict(drawn.key_value.state_dict())

    def min_memory(self, max_length: int) -> int:
        return 1

    def per_character(self) -> dict[str, str]:
        return {"embedding.weight": "vocabulary", "head.weight": "classes", "head.bias": "classes"}

    def per_position(self) -> dict[str, str]:
        """The k-th position asks for the k-th character, and stands beside it once it is known.

        Left to right no position sees a later one: the first rows read as they did. A refinement sees the whole word:
        it does too where the word ends within them.
        """
        return {"positions": "characters"}

    def project(self, memory: Float[Tensor, "b m d"]) -> list[Float[Tensor, "2 b h m e"]]:
        layers = cast(Iterable[TwoStreamLayer], self.layers)
        return [layer.cross_attention.project(memory) for layer in layers]

    def embed(self, inputs: Int[Tensor, "b l"], first: int | torch.SymInt = 0) -> Float[Tensor, "b l d"]:
        """Known symbols: BOS alone, characters with the position that they were read at.

        Args:
            inputs: symbols ``first``, ``first`` + 1, ... of BOS and the word.
        """
        content = math.sqrt(self.dim) * self.embedding(inputs)  # scaled as in Vaswani et al. 2017, section 3.4
        places = F.pad(self.positions, (0, 0, 1, 0))[:, first : first + inputs.shape[1]]
        return content + places

    def predict(
        self,
        inputs: Int[Tensor, "b n"],
        content: Int[Tensor, " l"] | slice,
        query: Int[Tensor, " q"] | slice,
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        content_allowed: Bool[Tensor, "l l"],
        query_allowed: Bool[Tensor, "q l"],
    ) -> Float[Tensor, "b q c"]:
        """Logits of the positions ``query`` from the known ``inputs`` (BOS, characters) at ``content``.

        Inputs after an EOS, EOS and PAD are hidden.
        """
        known = (((inputs == self.eos) | (inputs == self.pad)).cumsum(1) == 0)[:, None, None, content]
        content_mask, query_mask = known & content_allowed, known & query_allowed
        contents = self.dropout(self.embed(inputs)[:, content])
        queries = self.dropout(self.positions[:, query].expand(inputs.shape[0], -1, -1))
        for index, layer in enumerate(self.layers):
            queries, contents, _ = layer(
                queries,
                contents,
                memory[index],
                query_mask,
                content_mask,
                memory_allowed,
                index == len(self.layers) - 1,
            )
        return self.head(self.norm(queries))

    def advance(
        self,
        symbol: Int[Tensor, "b 1"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        cache: list[Float[Tensor, "2 b h p e"]],
    ) -> tuple[Float[Tensor, "b 1 c"], list[Float[Tensor, "2 b h n e"]]]:
        """What ``predict`` says of position p in the order left to right (in eval mode: without dropout)."""
        position = cache[0].shape[3] if cache else 0
        content = self.embed(symbol, position)
        query = self.positions[:, position : position + 1].expand(symbol.shape[0], -1, -1)
        grown = []
        for index, layer in enumerate(self.layers):
            past = cache[index] if cache else None
            last = index == len(self.layers) - 1
            query, content, keys = layer(query, content, memory[index], None, None, memory_allowed, last, past)
            grown.append(keys)
        return self.head(self.norm(query)), grown

    def teacher_forced_logits(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, "b n"]]:
        """All predicted positions of all orders (PARSeq equation 3); see ``Sequences``."""
        orders = build_sequences(draw_permutations(targets.shape[1] - 2, self.permutations, generator)).to(
            targets.device
        )
        return self.logits_in_orders(memory, memory_mask, targets, orders)

    def logits_in_orders(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        orders: Sequences,
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, "b n"]]:
        """``teacher_forced_logits`` with orders of t - 2 characters that were drawn before."""
        logits = self.predict(
            targets[:, :-1], orders.content, orders.query, self.project(memory), key_mask(memory_mask),
            orders.content_allowed, orders.query_allowed,
        )  # fmt: skip
        wanted = targets[:, 1:][:, orders.query]
        return logits, wanted.masked_fill((wanted == self.eos) & (orders.order > 1), self.pad)

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Characters in each order, EOS in the first two."""
        orders = order_count(targets.shape[1] - 2, self.permutations)
        characters = int(((targets != self.pad).sum(1) - 2).sum())
        return orders * characters + min(orders, 2) * len(targets)

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Read left to right (or all at once), then refine each position given all others (PARSeq section 3.3).

        In the published code (and in baudm/parseq) query and content share one mask object, which is edited in place
        before refining: from then on its content stream is not causal, but sees all but the next character
        (``refinement_mask`` ``cloze``). Either way, with more than one layer, a trace of a position's own character
        comes back to it through other characters.
        """
        projected, memory_allowed = self.project(memory), key_mask(memory_mask)
        if self.autoregressive:
            logits = self._left_to_right(projected, memory_allowed)
        else:
            start, causal, _ = self._masks(memory)
            first, every = slice(1), slice(self.max_length + 1)
            logits = self.predict(
                start, first, every, projected, memory_allowed, causal[first, first], causal[:, first]
            )
        return self.refine(logits, projected, memory_allowed)

    def refine(
        self,
        logits: Float[Tensor, "b t c"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
    ) -> Float[Tensor, "b k c"]:
        """``refinements`` rounds; each predicts every position given all others up to the end of the word.

        A round can move a word's end back, past where all words of this batch had ended: then the positions after that
        are predicted too, so that no reading depends on the batch.
        """
        start, causal, cloze = self._masks(memory[0][0])
        context = cloze if self.refinement_mask == "cloze" else causal
        longest = self.max_length + 1
        length = logits.shape[1] if self.refinements < 2 else longest
        for _ in range(self.refinements):
            inputs = torch.cat([start, logits.argmax(-1)], dim=1)[:, :length]
            seen = slice(inputs.shape[1])

            def predict(asked: slice, inputs: Tensor = inputs, seen: slice = seen) -> Tensor:
                masks = context[seen, seen], cloze[asked, seen]
                return self.predict(inputs, seen, asked, memory, memory_allowed, *masks)

            logits = predict(slice(length))
            if length < longest and not bool((logits.argmax(-1) == self.eos).any(1).all()):
                logits = torch.cat([logits, predict(slice(length, longest))], dim=1)
        return logits

    def _masks(
        self, like: Float[Tensor, "b ..."]
    ) -> tuple[Int[Tensor, "b 1"], Bool[Tensor, "s s"], Bool[Tensor, "s s"]]:
        """A BOS for each word of the batch; who may look at whom: earlier inputs, all but the own character."""
        steps, device = self.max_length + 1, like.device
        start = torch.full((like.shape[0], 1), self.bos, dtype=torch.long, device=device)
        causal = torch.ones(steps, steps, dtype=torch.bool, device=device).tril()
        cloze = ~torch.eye(steps, dtype=torch.bool, device=device).roll(1, 1)
        cloze[-1, 0] = True
        return start, causal, cloze


def build_parseq(config: PARSeqConfig, characters: int, max_length: int) -> PARSeq:
    """PARSeq from its part of a recipe."""
    return PARSeq(
        characters,
        max_length,
        config.dim,
        config.depth,
        config.heads,
        config.dropout,
        config.permutations,
        config.refinements,
        config.autoregressive,
        config.refinement_mask,
        config.initialization,
        config.negatives,
    )
