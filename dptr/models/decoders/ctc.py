"""CTC decoders: all positions are read at once; Connectionist Temporal Classification (Graves et al. 2006).

A CTC network labels a row of positions, its path, with characters and blanks; a word is what is left of a path when
repeats are merged and blanks dropped. There are two kinds:

- ``QueryCTC``: the path is 2L - 1 learned queries that attend to the memory, whatever that is: slots, text tokens. They
  are the fewest that can spell each word of L characters: L equal ones need L - 1 blanks between.
- ``TokenCTC``: the path is the memory itself, the image tokens from left to right (CRNN, Shi et al. 2015). The head is
  the same at all places, so that lines need not be as common in training as words.
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
from dptr.models.layers import CrossLayer, init_transformer, key_mask, project_memory


def collapse(logits: Float[Tensor, "b t c"], length: int) -> Float[Tensor, "b k c"]:
    """Best path decoding (Graves et al. 2006, section 3.2) with logits by character.

    The likeliest class at each of t positions; repeats merged, blanks (class 0) dropped. A character's logits are those
    of the position of its run where it is likeliest. After the last one stand those of the least certain blank as EOS:
    of all places where a character may have been missed, the likeliest. So a word's confidence is the probability of
    its path without the factors of repeats and of the other blanks: with them it would fall with t. A path without
    blanks ends with certainty.

    Args:
        length: k, positions to return; of a path with more characters the first k.
    """
    score, best = logits.float().softmax(-1).max(-1)
    shown = best != 0
    starts = shown & (best != F.pad(best, (1, 0))[:, :-1])
    run = starts.cumsum(1) - 1
    members = shown[:, None] & (run[:, None] == torch.arange(length, device=logits.device)[:, None])
    peak = score[:, None].masked_fill(~members, -1.0).argmax(-1)
    characters = logits.gather(1, peak[..., None].expand(-1, -1, logits.shape[-1]))
    doubt = score.masked_fill(shown, 2.0).argmin(-1)  # above what a certain blank scores
    certain = torch.full_like(logits[:, 0], float("-inf"))
    certain[:, 0] = 0.0
    end = torch.where(shown.all(1, keepdim=True), certain, logits[torch.arange(logits.shape[0]), doubt])
    return torch.where(members.any(-1, keepdim=True), characters, end[:, None])


class CTC(Decoder):
    """What both kinds share but the layers. Classes are blank 0 (EOS of what ``decode`` returns), characters 1..n.

    Attributes:
        characters: n.
        max_length: the longest word in characters that ``decode`` returns.
        head: a linear layer to the classes.
    """

    head: nn.Linear

    blank = 0
    spells_all = True  # whether each word of up to ``max_length`` characters has a path

    def __init__(self, characters: int, max_length: int, dim: int):
        super().__init__()
        self.dim, self.characters, self.max_length = dim, characters, max_length

    @abstractmethod
    def predict(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b t c"]:
        """Logits of the t positions of a path."""

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

        Infinite for a word that has no path, which can be where ``spells_all`` is false.

        Args:
            reduction: ``mean`` is that of ``loss``.
        """
        shown = (targets > self.blank) & (targets <= self.characters)
        shares = self.predict(memory, memory_mask).float().log_softmax(-1)
        words = targets.masked_fill(~shown, self.blank)[:, 1:]
        positions = torch.full_like(targets[:, 0], shares.shape[1])
        no_path_is_free = reduction == "mean" and not self.spells_all
        return F.ctc_loss(
            shares.transpose(0, 1), words, positions, shown.sum(1), self.blank, reduction, no_path_is_free
        )

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """``word_losses`` by character, then mean over the words, as ``torch.nn.CTCLoss`` does by default.

        A word that has no path counts as 0.
        """
        return self.word_losses(memory, memory_mask, targets, "mean")

    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """Words."""
        return len(targets)

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """The best path as ``max_length`` + 1 rows of logits, see ``collapse``."""
        return collapse(self.predict(memory, memory_mask), self.max_length + 1)


class QueryCTC(CTC):
    """Learned queries as the path.

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
        """One: the 2L - 1 positions that CTC needs are the decoder's own queries."""
        return 1

    def per_position(self) -> dict[str, str]:
        """The 2L - 1 queries of a path; of a longer one, the first are kept and the others copy the last.

        No query sees another and repeats are merged, so words of up to L characters are read as before. Interpolated
        over the longer path all queries would move, and fresh ones show characters that are not there
        (docs/decoders.md).
        """
        return {"queries": "path"}

    def predict(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b t c"]:
        """Logits of the t = 2L - 1 positions of a path."""
        x = self.queries.expand(memory.shape[0], -1, -1)
        allowed = key_mask(memory_mask)
        for layer, projected in zip(self.layers, project_memory(self.layers, memory), strict=True):
            x = layer(x, projected, allowed)
        return self.head(self.norm(x))


class TokenCTC(CTC):
    """The memory as the path: a linear layer names the character of each token, or none.

    k tokens spell words of up to k characters, fewer where equal ones follow each other.

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
        """One: how many tokens a crop has goes by its width, and longer words stand in wider crops."""
        return 1

    def per_position(self) -> dict[str, str]:
        """None: all tokens are read alike."""
        return {}

    def predict(
        self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None
    ) -> Float[Tensor, "b m c"]:
        """Logits of each token; of those that the mask leaves out, certain blanks."""
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
