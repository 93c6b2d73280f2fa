"""CTC decoders: Connectionist Temporal Classification (Graves et al. 2006), which reads all positions in parallel.

The network labels each position of a path with a character or blank. Merging repeats and dropping blanks turns the path
into a word. There are two kinds:

- ``QueryCTC``: the path is 2L - 1 learned queries that attend to the memory (image tokens, slots, or text tokens). This
  is the shortest path that can spell every word of L characters: L equal characters need L - 1 blanks between them.
- ``TokenCTC``: the path is the memory itself, the image tokens from left to right (CRNN, Shi et al. 2015). All
  positions share the head, so that training needs fewer lines than words.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.config.decoders import CTCConfig
from dptr.models.decoders.base import Decoder
from dptr.models.layers import CrossLayer, cross_attend, init_transformer, key_mask


def collapse(logits: Float[Tensor, "b t c"], length: int) -> Float[Tensor, "b k c"]:
    """Best path decoding (Graves et al. 2006, section 3.2), as one row of logits per character and EOS.

    The best path has the likeliest class at each of t positions. A character's logits are those of the likeliest
    position of its run. The rows after the last character, which read as EOS, have the logits of the least certain
    blank, where a character is likeliest to have been missed. So the confidence of a word leaves out repeats and all
    other blanks; with them it would fall with t. The EOS of a path without blanks has probability 1.

    Args:
        length: k, the number of rows; further characters of the path are dropped.
    """
    score, best = logits.float().softmax(-1).max(-1)
    is_character = best != 0
    starts = is_character & (best != F.pad(best, (1, 0))[:, :-1])
    run = starts.cumsum(1) - 1
    members = is_character[:, None] & (run[:, None] == torch.arange(length, device=logits.device)[:, None])
    peak = score[:, None].masked_fill(~members, -1.0).argmax(-1)
    characters = logits.gather(1, peak[..., None].expand(-1, -1, logits.shape[-1]))
    least_certain = score.masked_fill(is_character, 2.0).argmin(-1)  # 2 is above every probability of a blank
    certain = torch.full_like(logits[:, 0], float("-inf"))
    certain[:, 0] = 0.0
    end = torch.where(is_character.all(1, keepdim=True), certain, logits[torch.arange(logits.shape[0]), least_certain])
    return torch.where(members.any(-1, keepdim=True), characters, end[:, None])


class CTC(Decoder):
    """The part that both kinds share. Classes are blank 0 (EOS in the result of ``decode``) and characters 1..n.

    Attributes:
        characters: n.
        max_length: the longest word that ``decode`` returns, in characters.
        head: a linear layer to the classes.
    """

    head: nn.Linear

    blank = 0
    spells_all = True  # whether every word of up to ``max_length`` characters has a path

    def __init__(self, characters: int, max_length: int, dim: int):
        super().__init__()
        self.dim, self.characters, self.max_length = dim, characters, max_length

    @abstractmethod
    def predict(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b t c"]:
        """Logits of the t positions of the path."""

    def per_character(self) -> dict[str, str]:
        return {"head.weight": "classes", "head.bias": "classes"}

    def word_losses(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        reduction: Literal["none", "mean"] = "none",
    ) -> Float[Tensor, "..."]:
        """Negative log-probability of each word over all its paths (Graves et al. 2006, equation 3, section 4.2).

        It is infinite for a word without a path, which only exists if ``spells_all`` is false.

        Args:
            reduction: ``mean`` as for ``loss``.
        """
        is_character = (targets > self.blank) & (targets <= self.characters)
        log_probabilities = self.predict(memory, memory_mask).float().log_softmax(-1)
        words = targets.masked_fill(~is_character, self.blank)[:, 1:]
        input_lengths = torch.full_like(targets[:, 0], log_probabilities.shape[1])
        zero_infinity = reduction == "mean" and not self.spells_all
        return F.ctc_loss(
            log_probabilities.transpose(0, 1), words, input_lengths, is_character.sum(1), self.blank, reduction,
            zero_infinity,
        )  # fmt: skip

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """``word_losses`` divided by the words' lengths, then averaged over words, as in ``torch.nn.CTCLoss``.

        The loss of a word without a path is 0.
        """
        return self.word_losses(memory, memory_mask, targets, "mean")

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Words."""
        return len(targets)

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """The best path, collapsed to ``max_length`` + 1 rows of logits; see ``collapse``."""
        return collapse(self.predict(memory, memory_mask), self.max_length + 1)


class QueryCTC(CTC):
    """CTC over learned queries.

    Args:
        characters, max_length: see ``CTC``.
        dim, depth, heads, dropout: of the cross-attention layers.
    """

    def __init__(self, characters: int, max_length: int, dim: int, depth: int, heads: int, dropout: float = 0.1):
        super().__init__(characters, max_length, dim)
        self.queries = nn.Parameter(torch.empty(1, 2 * max_length - 1, dim))
        self.layers = nn.ModuleList(CrossLayer(dim, heads, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, characters + 1)
        self.apply(init_transformer)
        nn.init.trunc_normal_(self.queries, std=0.5)  # as PARSeq's positions

    def min_memory(self, max_length: int) -> int:
        """1: the 2L - 1 positions that CTC needs are the decoder's own queries."""
        return 1

    def per_position(self) -> dict[str, str]:
        """The 2L - 1 queries of the path; a longer path keeps them and copies the last.

        Queries do not see each other and repeats are merged, so words of up to L characters are read as before.
        Interpolation would change all queries, and fresh queries read characters that are not there (docs/decoders.md).
        """
        return {"queries": "path"}

    def predict(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b t c"]:
        """Logits of the t = 2L - 1 positions of the path."""
        queries = self.queries.expand(memory.shape[0], -1, -1)
        return self.head(self.norm(cross_attend(self.layers, queries, memory, key_mask(memory_mask))))


class TokenCTC(CTC):
    """CTC over the memory: a linear layer labels each token with a character or blank.

    k tokens spell words of up to k characters, less one for each pair of equal neighbors.

    Args:
        characters, max_length: see ``CTC``.
        dim: of the tokens.
    """

    spells_all = False

    def __init__(self, characters: int, max_length: int, dim: int):
        super().__init__(characters, max_length, dim)
        self.head = nn.Linear(dim, characters + 1)
        self.apply(init_transformer)

    def min_memory(self, max_length: int) -> int:
        """1: the number of tokens grows with the crop's width, and longer words have wider crops."""
        return 1

    def per_position(self) -> dict[str, str]:
        """None: the head is the same for all tokens."""
        return {}

    def predict(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b m c"]:
        """Logits of each token; masked tokens are blanks with probability 1."""
        logits = self.head(memory)
        if memory_mask is None:
            return logits
        blank = torch.full_like(logits[:1, :1], float("-inf"))
        blank[..., self.blank] = 0.0
        return torch.where(memory_mask[..., None], logits, blank)


def build_ctc(config: CTCConfig, characters: int, max_length: int) -> CTC:
    """CTC from its part of a recipe."""
    if config.path == "tokens":
        return TokenCTC(characters, max_length, config.dim)
    return QueryCTC(characters, max_length, config.dim, config.depth, config.heads, config.dropout)
