"""Mask-diffusion decoder: hidden characters are guessed and the surest kept, a few times over (MDiff4STR).

Du et al., "MDiff4STR: Mask Diffusion Model for Scene Text Recognition", AAAI 2026, arXiv 2512.01422; constants are
those of the published code (OpenOCR). A transformer without causal mask sees a word with some symbols hidden and
predicts them.
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
    """Which of a word's symbols (characters and EOS) are hidden; at least one, and none after EOS.

    The six strategies of MDiff4STR, each drawn equally often, imitate what decoding meets:

    - ``full``: all, as at the start of decoding;
    - ``suffix``, ``prefix``: all from a place on, all before it, as reading in either direction does;
    - ``blocks``: a suffix after whole blocks, of 2 to 6 to a word;
    - ``cloze``: one;
    - ``random``: each with one probability, uniform in 0..1; where that hides none, one.

    One draw serves all words of the batch, scaled to the length of each, as PARSeq's orders do.

    Args:
        strategy: one of ``STRATEGIES``.
        counts: n, symbols of each word with its EOS, 1..length.
        length: columns of the mask.
    """
    share, *draws = torch.rand(1 + length, generator=generator, dtype=torch.float64).tolist()
    place, symbols = torch.arange(length), counts[:, None]
    inside = place < symbols
    split = 1 + (share * (symbols - 1)).long()  # 1..n - 1; for n = 1 one, which is all
    if strategy == "full":
        hidden = inside
    elif strategy == "suffix":
        hidden = place >= split
    elif strategy == "prefix":
        hidden = place < split
    elif strategy == "blocks":
        blocks = int(torch.randint(2, 7, (), generator=generator))
        size = (symbols // blocks).clamp(min=1)
        hidden = place >= size * (1 + (share * ((symbols - 1) // size).clamp(min=1)).long())
    elif strategy == "cloze":
        hidden = place == (share * symbols).long()
    else:
        drawn = torch.tensor(draws).expand_as(inside).masked_fill(~inside, math.inf)
        hidden = drawn <= drawn.amin(1, keepdim=True).clamp(min=share)
    hidden = hidden & inside
    return hidden | (inside & ~hidden.any(1, keepdim=True) & (place == 0))


def replacement_noise(symbols: Int[Tensor, "b l"], classes: int, generator: torch.Generator) -> Int[Tensor, "b l"]:
    """Token replacement noise (MDiff4STR): each place gets a random class with one probability, uniform in 0..1.

    It shows the decoder wrong symbols, which masks never do, so that it does not believe all it sees. One draw serves
    the batch.
    """
    share, *draws = torch.rand(1 + symbols.shape[1], generator=generator).tolist()
    others = torch.randint(classes, symbols.shape[1:], generator=generator).to(symbols.device)
    return torch.where(torch.tensor(draws, device=symbols.device) < share, others, symbols)


def first_end(symbols: Int[Tensor, "b l"]) -> Int[Tensor, "b 1"]:
    """Position of the first EOS (class 0), the last position where there is none."""
    ended = symbols == 0
    ended[:, -1] = True
    return ended.int().argmax(1, keepdim=True)


class MDiff(Decoder):
    """The decoder.

    Args:
        characters: n, how many characters; classes are EOS 0, characters 1..n.
        max_length: the longest word in characters.
        dim, depth, heads, dropout: of the layers. MDiff4STR-B has 384, 6, 6 and 0.1.
        noisings: noised copies of each word a training step (3 in the published base model).
        steps: predictions at most when decoding (3 in the paper).
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
        nn.init.trunc_normal_(self.mask, std=0.02)  # a hidden symbol is little more than its position
        nn.init.trunc_normal_(self.positions, std=0.5)  # as PARSeq's

    def min_memory(self, max_length: int) -> int:
        return 1

    def per_character(self) -> dict[str, str]:
        return dict.fromkeys(["embedding.weight", "head.weight", "head.bias"], "classes")

    def per_position(self) -> dict[str, str]:
        """The k-th position is the k-th character's. All see all, so further ones change what the first ones read."""
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
            symbols: classes; what ``hidden`` covers does not count.
            hidden: where the decoder sees a mask instead; always after EOS, for the word's length is to be read.
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
        """Mean over ``noisings`` of two losses that count alike, as in the published code.

        Denoising: cross-entropy of the hidden symbols alone, mean over those of a word, then over the words (each word
        weighs 1 / its masked share, as in masked diffusion). Replacement: cross-entropy of all symbols of noisy words.
        """
        length = self.max_length + 1
        wanted = F.pad(targets[:, 1:], (0, length + 1 - targets.shape[1]), value=self.pad)
        after = wanted == self.pad
        counts = (~after).sum(1)
        projected, allowed = project_memory(self.layers, memory), key_mask(memory_mask)
        parts: list[Tensor] = []
        for _ in range(self.noisings):
            strategy = STRATEGIES[int(torch.randint(len(STRATEGIES), (), generator=generator))]
            hidden = draw_mask(strategy, counts.cpu(), length, generator).to(after.device)
            logits = self.predict(wanted, hidden | after, projected, allowed)
            errors = F.cross_entropy(logits.transpose(1, 2).float(), wanted, ignore_index=self.pad, reduction="none")
            parts.append(((errors * hidden).sum(1) / hidden.sum(1)).mean())
            logits = self.predict(replacement_noise(wanted, self.classes, generator), after, projected, allowed)
            parts.append(F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=self.pad))
        return torch.stack(parts).sum() / self.noisings

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Words. Replacement is a mean over symbols, and counts as one over words here."""
        return len(targets)

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Low-confidence re-masking: from all hidden, at most ``steps`` predictions.

        A step predicts what is hidden. Of these predictions, up to the first EOS of the word as it then reads, those at
        least as probable as their mean are kept (so one always is); the others, and all after that EOS, are hidden
        again. The last step keeps all. A position's logits are those of the step that kept it.
        """
        projected, allowed = project_memory(self.layers, memory), key_mask(memory_mask)
        place = torch.arange(self.max_length + 1, device=memory.device)
        symbols = torch.zeros(memory.shape[0], len(place), dtype=torch.long, device=memory.device)
        hidden = torch.ones_like(symbols, dtype=torch.bool)
        logits = self.predict(symbols, hidden, projected, allowed)
        for _ in range(self.steps - 1):
            score, best = logits.float().softmax(-1).max(-1)
            symbols = torch.where(hidden, best, symbols)
            inside = place <= first_end(symbols)
            offered = torch.where(hidden & inside, score, 0.0)
            mean = offered.sum(1, keepdim=True) / (hidden & inside).sum(1, keepdim=True).clamp(min=1)
            accepted = inside & (offered >= torch.minimum(mean, offered.amax(1, keepdim=True)))
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
