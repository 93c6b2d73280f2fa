"""Mask-diffusion decoder (MDiff4STR): predict the masked symbols, keep the most certain predictions, repeat.

Du et al., "MDiff4STR: Mask Diffusion Model for Scene Text Recognition", AAAI 2026, arXiv 2512.01422; constants are
those of the published code (OpenOCR). A transformer without a causal mask sees a word with some symbols masked, and
predicts these.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.decoders import MDiffConfig
from dptr.models.decoders.base import Decoder
from dptr.models.layers import DecoderLayer, all_done, init_transformer, key_mask, project_memory

STRATEGIES = ("full", "suffix", "prefix", "blocks", "cloze", "random")


def draw_mask(strategy: str, counts: Int[Tensor, " b"], length: int, generator: torch.Generator) -> Bool[Tensor, "b l"]:
    """The mask of each word's symbols (characters and EOS): at least one is masked, none after EOS; True = masked.

    The strategies of MDiff4STR imitate the states of decoding:

    - ``full``: mask all symbols, as at the start of decoding;
    - ``suffix``, ``prefix``: mask all from a position on, or all before it, as when reading in either direction;
    - ``blocks``: mask a suffix that starts at a block, with 2 to 6 blocks per word;
    - ``cloze``: mask one symbol;
    - ``random``: mask each symbol with the same probability, uniform in 0..1, and at least one.

    All words of the batch share one draw, scaled to the length of each, as they share PARSeq's permutations.

    Args:
        strategy: one of ``STRATEGIES``.
        counts: n, symbols of each word with its EOS, 1..length.
        length: columns of the mask.
    """
    fraction, *draws = torch.rand(1 + length, generator=generator, dtype=torch.float64).tolist()
    position, symbols = torch.arange(length), counts[:, None]
    inside = position < symbols
    split = 1 + (fraction * (symbols - 1)).long()  # 1..n - 1; 1 for n = 1
    if strategy == "full":
        hidden = inside
    elif strategy == "suffix":
        hidden = position >= split
    elif strategy == "prefix":
        hidden = position < split
    elif strategy == "blocks":
        blocks = int(torch.randint(2, 7, (), generator=generator))
        size = (symbols // blocks).clamp(min=1)
        hidden = position >= size * (1 + (fraction * ((symbols - 1) // size).clamp(min=1)).long())
    elif strategy == "cloze":
        hidden = position == (fraction * symbols).long()
    else:
        uniform = torch.tensor(draws).expand_as(inside).masked_fill(~inside, math.inf)
        hidden = uniform <= uniform.amin(1, keepdim=True).clamp(min=fraction)
    hidden = hidden & inside
    return hidden | (inside & ~hidden.any(1, keepdim=True) & (position == 0))


def replacement_noise(symbols: Int[Tensor, "b l"], classes: int, generator: torch.Generator) -> Int[Tensor, "b l"]:
    """Token replacement noise (MDiff4STR): replace each symbol by a random class, with a probability uniform in 0..1.

    So the decoder learns that visible symbols may be wrong, which masks do not show. The batch shares one draw.
    """
    probability, *draws = torch.rand(1 + symbols.shape[1], generator=generator).tolist()
    others = torch.randint(classes, symbols.shape[1:], generator=generator).to(symbols.device)
    return torch.where(torch.tensor(draws, device=symbols.device) < probability, others, symbols)


def first_end(symbols: Int[Tensor, "b l"]) -> Int[Tensor, "b 1"]:
    """Position of the first EOS (class 0); the last position if there is none."""
    is_end = symbols == 0
    is_end[:, -1] = True
    return is_end.int().argmax(1, keepdim=True)


class MDiff(Decoder):
    """The decoder.

    Args:
        characters: n, the size of the charset; classes are EOS 0, characters 1..n.
        max_length: the longest word in characters.
        dim, depth, heads, dropout: of the layers. MDiff4STR-B has 384, 6, 6, and 0.1.
        noisings: noised copies of each word per training step (3 in the published base model).
        steps: maximal number of predictions in decoding (3 in the paper).
    """

    def __init__(
        self,
        characters: int,
        max_length: int,
        dim: int,
        depth: int,
        heads: int,
        dropout: float = 0.1,
        noisings: int = 3,
        steps: int = 3,
    ):
        super().__init__()
        self.dim = dim
        self.eos, self.pad, self.classes = 0, characters + 2, characters + 1
        self.max_length = max_length
        self.noisings = noisings
        self.steps = steps
        self.embedding = nn.Embedding(characters + 1, dim)
        self.mask = nn.Parameter(torch.empty(dim))
        self.positions = nn.Parameter(torch.empty(1, max_length + 1, dim))
        self.layers = nn.ModuleList(DecoderLayer(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, characters + 1)
        self.dropout = nn.Dropout(dropout)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.mask, std=0.02)  # so that a masked symbol is mostly its position
        nn.init.trunc_normal_(self.positions, std=0.5)  # as PARSeq's

    def min_memory(self, max_length: int) -> int:
        return 1

    def per_character(self) -> dict[str, str]:
        return dict.fromkeys(["embedding.weight", "head.weight", "head.bias"], "classes")

    def per_position(self) -> dict[str, str]:
        """Row k belongs to the k-th character. All positions see each other, so further rows change all readings."""
        return {"positions": "characters"}

    def predict(
        self,
        symbols: Int[Tensor, "b l"],
        hidden: Bool[Tensor, "b l"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
    ) -> Float[Tensor, "b l c"]:
        """Logits of all l = ``max_length`` + 1 positions.

        Args:
            symbols: classes; those where ``hidden`` is True are ignored.
            hidden: where the decoder sees a mask; always True after EOS, so that it does not see the word's length.
            memory: from ``project_memory``.
        """
        known = math.sqrt(self.dim) * self.embedding(symbols.masked_fill(hidden, self.eos))  # as in PARSeq
        x = self.dropout(torch.where(hidden[..., None], self.mask, known) + self.positions)
        for layer, projected in zip(self.layers, memory, strict=True):
            x, _ = layer(x, projected, None, memory_allowed)
        return self.head(self.norm(x))

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Sum of a denoising and a replacement loss, averaged over ``noisings``; both have weight 1, as published.

        - Denoising: cross-entropy of the masked symbols, averaged over those of each word, then over words. (Each word
          is weighted by 1 / its masked share, as in masked diffusion.)
        - Replacement: cross-entropy of all symbols of words with ``replacement_noise``.
        """
        length = self.max_length + 1
        labels = F.pad(targets[:, 1:], (0, length + 1 - targets.shape[1]), value=self.pad)
        is_pad = labels == self.pad
        counts = (~is_pad).sum(1)
        projected, allowed = project_memory(self.layers, memory), key_mask(memory_mask)
        parts: list[Tensor] = []
        for _ in range(self.noisings):
            strategy = STRATEGIES[int(torch.randint(len(STRATEGIES), (), generator=generator))]
            hidden = draw_mask(strategy, counts.cpu(), length, generator).to(is_pad.device)
            logits = self.predict(labels, hidden | is_pad, projected, allowed)
            errors = F.cross_entropy(logits.transpose(1, 2).float(), labels, ignore_index=self.pad, reduction="none")
            parts.append(((errors * hidden).sum(1) / hidden.sum(1)).mean())
            logits = self.predict(replacement_noise(labels, self.classes, generator), is_pad, projected, allowed)
            parts.append(F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=self.pad))
        return torch.stack(parts).sum() / self.noisings

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Words. The replacement loss is a mean over symbols, but is weighted as one over words."""
        return len(targets)

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Low-confidence re-masking, from a fully masked word, with at most ``steps`` predictions.

        Each step predicts the masked symbols. Among the predictions up to the first EOS, those at least as probable as
        their mean are kept, so at least one is. The others, and all symbols after that EOS, are masked again. The last
        step keeps all. The logits of a position are those of the step that kept it.
        """
        projected, allowed = project_memory(self.layers, memory), key_mask(memory_mask)
        position = torch.arange(self.max_length + 1, device=memory.device)
        symbols = torch.zeros(memory.shape[0], len(position), dtype=torch.long, device=memory.device)
        hidden = torch.ones_like(symbols, dtype=torch.bool)
        logits = self.predict(symbols, hidden, projected, allowed)
        for _ in range(self.steps - 1):
            score, best = logits.float().softmax(-1).max(-1)
            symbols = torch.where(hidden, best, symbols)
            inside = position <= first_end(symbols)
            candidates = torch.where(hidden & inside, score, 0.0)
            mean = candidates.sum(1, keepdim=True) / (hidden & inside).sum(1, keepdim=True).clamp(min=1)
            accepted = inside & (candidates >= torch.minimum(mean, candidates.amax(1, keepdim=True)))
            hidden = ~inside | (hidden & ~accepted)
            if all_done(~(hidden & inside)):
                break
            logits = torch.where(hidden[..., None], self.predict(symbols, hidden, projected, allowed), logits)
        return logits


def build_mdiff(config: MDiffConfig, characters: int, max_length: int) -> MDiff:
    """MDiff from its part of a recipe."""
    return MDiff(
        characters,
        max_length,
        config.dim,
        config.depth,
        config.heads,
        config.dropout,
        config.noisings,
        config.steps,
    )
