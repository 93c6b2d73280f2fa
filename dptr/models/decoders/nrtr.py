"""NRTR decoder: a causal transformer that reads a word character by character (Sheng, Chen, Xu, ICDAR 2019)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.decoders import NRTRConfig
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.class_sampling import SampledHead
from dptr.models.layers import DecoderLayer, init_transformer, key_mask, project_memory


class NRTR(AutoregressiveDecoder):
    """The decoder.

    Args:
        characters: n, the size of the charset; symbols are EOS 0, characters 1..n, BOS n + 1, PAD n + 2.
        max_length: the longest word in characters.
        dim, depth, heads, dropout: of the layers. The published code (OpenOCR) has dim 512, depth 6, dropout 0.1.
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
        negatives: int = 0,
    ):
        super().__init__()
        self.dim = dim
        self.eos, self.bos, self.pad = 0, characters + 1, characters + 2
        self.max_length = max_length
        self.embedding = nn.Embedding(characters + 3, dim)
        self.positions = nn.Parameter(torch.empty(1, max_length + 1, dim))
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = SampledHead(dim, characters + 1, negatives)
        self.dropout = nn.Dropout(dropout)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.positions, std=0.5)  # comparable to characters, which have deviation 1

    def min_memory(self, max_length: int) -> int:
        return 1

    def per_character(self) -> dict[str, str]:
        return {"embedding.weight": "vocabulary", "head.weight": "classes", "head.bias": "classes"}

    def per_position(self) -> dict[str, str]:
        """Row k belongs to the k-th input. Inputs do not see later ones, so further rows do not change the first."""
        return {"positions": "characters"}

    def project(self, memory: Float[Tensor, "b m d"]) -> list[Float[Tensor, "2 b h m e"]]:
        return project_memory(self.layers, memory)

    def advance(
        self,
        symbol: Int[Tensor, "b 1"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        cache: list[Float[Tensor, "2 b h p e"]],
    ) -> tuple[Float[Tensor, "b 1 c"], list[Float[Tensor, "2 b h n e"]]]:
        return self.predict(symbol, memory, memory_allowed, cache)

    def predict(
        self,
        inputs: Int[Tensor, "b l"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        cache: list[Float[Tensor, "2 b h p e"]],
    ) -> tuple[Float[Tensor, "b l c"], list[Float[Tensor, "2 b h n e"]]]:
        """Logits of the symbol after each input, given the inputs up to it and the p positions of ``cache``.

        Args:
            inputs: BOS and characters at positions p..p + l - 1; logits after an EOS are meaningless.
            memory: from ``project``.
            cache: for each layer, keys and values of positions 0..p - 1, as returned by this method; empty for p = 0.

        Returns:
            The logits, and the cache for position n = p + l.
        """
        length, first = inputs.shape[1], cache[0].shape[3] if cache else 0
        x = math.sqrt(self.dim) * self.embedding(inputs)  # Vaswani et al. 2017, section 3.4
        x = self.dropout(x + self.positions[:, first : first + length])
        causal = None  # a single input sees all before it
        if length > 1:
            causal = torch.ones(length, first + length, dtype=torch.bool, device=inputs.device).tril(first)
        new_cache = []
        for index, layer in enumerate(self.layers):
            x, content = layer(x, memory[index], causal, memory_allowed, cache[index] if cache else None)
            new_cache.append(content)
        return self.head(self.norm(x)), new_cache

    def teacher_forced_logits(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, "b n"]]:
        """Logits and labels of each character and EOS, given all symbols before it."""
        projected = self.project(memory)
        logits, _ = self.predict(targets[:, :-1], projected, key_mask(memory_mask), [])
        return logits, targets[:, 1:]

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Characters and EOS of all words."""
        return int((targets[:, 1:] != self.pad).sum())

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Greedy decoding, until every word of the batch has ended or has ``max_length`` + 1 symbols."""
        return self._left_to_right(self.project(memory), key_mask(memory_mask))


def build_nrtr(config: NRTRConfig, characters: int, max_length: int) -> NRTR:
    """NRTR from its part of a recipe."""
    return NRTR(characters, max_length, config.dim, config.depth, config.heads, config.dropout, config.negatives)
