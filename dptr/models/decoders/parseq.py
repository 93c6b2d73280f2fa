"""PARSeq decoder: permutation language modeling with two-stream attention (Bautista and Atienza, ECCV 2022).

The content stream has the known symbols (BOS and characters); the query stream has the positions and predicts their
symbols. A permutation is an order in which characters become known; it determines which of them a position may see.
DPTR uses this decoder at depth 6, so both streams pass through the layers, as in XLNet (Yang et al. 2019).
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
    """Pre-norm layer of self-attention to the content, cross-attention to the memory, and feed-forward.

    Both streams share all weights except the first norm.
    """

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
        """Both streams after the layer, and the content's n = p + l keys and values, the ``past`` of later positions.

        The ``last`` layer returns the content stream unchanged, since nothing uses it.
        """
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
        characters: n, the size of the charset; symbols are EOS 0, characters 1..n, BOS n + 1, PAD n + 2.
        max_length: the longest word in characters.
        dim, depth, heads, dropout: of the layers. PARSeq has depth 1, DPTR depth 6.
        permutations: orders per training step, in mirrored pairs (6 in the paper).
        refinements: rounds of cloze refinement after the first reading (1 in the paper).
        autoregressive: whether the first reading is left to right, or of all positions in parallel.
        refinement_mask: of the content stream during refinement: ``causal``: an input sees those up to itself;
            ``cloze``, as published: it sees all but the next one. At depth 1 both give the same result.
        initialization: ``fan-in``: ``init_transformer``, positions of deviation 0.5; ``published``: see
            ``_init_as_published``.
        negatives: classes that the loss samples in addition to the targets' (``SampledHead``); 0 = use all.
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
            nn.init.trunc_normal_(self.positions, std=0.5)  # comparable to characters, which have deviation 1

    def _init_as_published(self) -> None:
        """Initialize as the published code does: ``init_published``, and the same Xavier projections in every layer.

        The published code makes one layer and copies it. Its later initialization does not reach the projections of
        query, key, and value, which keep torch's.
        """
        self.apply(init_published)
        nn.init.trunc_normal_(self.positions, std=0.02)
        first, *others = cast(Iterable[TwoStreamLayer], self.layers)
        for name in ("self_attention", "cross_attention"):
            attention = getattr(first, name)
            init_projections(attention)
            for layer in others:
                getattr(layer, name).query.load_state_dict(attention.query.state_dict())
                getattr(layer, name).key_value.load_state_dict(attention.key_value.state_dict())

    def min_memory(self, max_length: int) -> int:
        return 1

    def per_character(self) -> dict[str, str]:
        return {"embedding.weight": "vocabulary", "head.weight": "classes", "head.bias": "classes"}

    def per_position(self) -> dict[str, str]:
        """Row k is the query of the k-th character, and the position embedding of that character once it is known.

        Left to right, positions do not see later ones, so further rows do not change the first readings. A refinement
        sees the whole word; further rows do not change it if the word ends within the first ones.
        """
        return {"positions": "characters"}

    def project(self, memory: Float[Tensor, "b m d"]) -> list[Float[Tensor, "2 b h m e"]]:
        layers = cast(Iterable[TwoStreamLayer], self.layers)
        return [layer.cross_attention.project(memory) for layer in layers]

    def embed(self, inputs: Int[Tensor, "b l"], first: int | torch.SymInt = 0) -> Float[Tensor, "b l d"]:
        """The content stream: embeddings of BOS, and of characters with their positions added.

        Args:
            inputs: consecutive symbols of BOS and the word.
            first: index of the first of them; BOS has 0.
        """
        content = math.sqrt(self.dim) * self.embedding(inputs)  # scaled as in Vaswani et al. 2017, section 3.4
        positions = F.pad(self.positions, (0, 0, 1, 0))[:, first : first + inputs.shape[1]]
        return content + positions

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
        """Logits of the positions ``query``, given the ``inputs`` (BOS, characters) at the indices ``content``.

        The first EOS or PAD among the inputs, and all inputs after it, are masked.

        Args:
            content_allowed, query_allowed: which content tokens each content or query token may see.
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
        """Logits of position p, as ``predict`` gives them in the order left to right; without dropout."""
        position = cache[0].shape[3] if cache else 0
        content = self.embed(symbol, position)
        query = self.positions[:, position : position + 1].expand(symbol.shape[0], -1, -1)
        new_cache = []
        for index, layer in enumerate(self.layers):
            past = cache[index] if cache else None
            last = index == len(self.layers) - 1
            query, content, keys = layer(query, content, memory[index], None, None, memory_allowed, last, past)
            new_cache.append(keys)
        return self.head(self.norm(query)), new_cache

    def teacher_forced_logits(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, "b n"]]:
        """Logits and labels of all predicted positions in all permutations (PARSeq equation 3); see ``Sequences``."""
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
        """``teacher_forced_logits`` with given ``orders`` of t - 2 characters."""
        logits = self.predict(
            targets[:, :-1], orders.content, orders.query, self.project(memory), key_mask(memory_mask),
            orders.content_allowed, orders.query_allowed,
        )  # fmt: skip
        labels = targets[:, 1:][:, orders.query]
        return logits, labels.masked_fill((labels == self.eos) & (orders.order > 1), self.pad)

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Characters in each permutation, and EOS in the first two."""
        orders = order_count(targets.shape[1] - 2, self.permutations)
        characters = int(((targets != self.pad).sum(1) - 2).sum())
        return orders * characters + min(orders, 2) * len(targets)

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Read left to right, or all positions in parallel, then refine each given all others (PARSeq section 3.3).

        In the published code (and in baudm/parseq) query and content share one mask, which is edited in place before
        refinement: from then on a content token sees all but the next character (``refinement_mask`` ``cloze``). With
        either mask and more than one layer, a position gets some information on its own character through others.
        """
        projected, memory_allowed = self.project(memory), key_mask(memory_mask)
        if self.autoregressive:
            logits = self._left_to_right(projected, memory_allowed)
        else:
            start, causal, _ = self._masks(memory)
            bos, every = slice(1), slice(self.max_length + 1)
            logits = self.predict(start, bos, every, projected, memory_allowed, causal[bos, bos], causal[:, bos])
        return self.refine(logits, projected, memory_allowed)

    def refine(
        self,
        logits: Float[Tensor, "b t c"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
    ) -> Float[Tensor, "b k c"]:
        """Logits after ``refinements`` rounds; each predicts every position given all others up to the word's end.

        A round can lengthen a word beyond the length of this batch. Then further positions are predicted too, so that
        no reading depends on the batch.
        """
        start, causal, cloze = self._masks(memory[0][0])
        context = cloze if self.refinement_mask == "cloze" else causal
        longest = self.max_length + 1
        length = logits.shape[1] if self.refinements < 2 else longest
        for _ in range(self.refinements):
            inputs = torch.cat([start, logits.argmax(-1)], dim=1)[:, :length]
            content = slice(inputs.shape[1])

            def predict(query: slice, inputs: Tensor = inputs, content: slice = content) -> Tensor:
                masks = context[content, content], cloze[query, content]
                return self.predict(inputs, content, query, memory, memory_allowed, *masks)

            logits = predict(slice(length))
            if length < longest and not bool((logits.argmax(-1) == self.eos).any(1).all()):
                logits = torch.cat([logits, predict(slice(length, longest))], dim=1)
        return logits

    def _masks(
        self, like: Float[Tensor, "b ..."]
    ) -> tuple[Int[Tensor, "b 1"], Bool[Tensor, "s s"], Bool[Tensor, "s s"]]:
        """A BOS for each word of the batch, and the causal and the cloze mask; True = allowed."""
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
