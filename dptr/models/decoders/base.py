"""The interface of recognition decoders: ``loss`` for both stages of training, ``decode`` for reading."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.models.decoders.class_sampling import SampledHead
from dptr.models.layers import all_done


class Decoder(nn.Module, ABC):
    """The interface that training, the recognizer, and the reader use.

    Class 0 is EOS, classes 1..n are the characters (``dptr.text.tokenizer.Tokenizer``).
    """

    dim: int

    @abstractmethod
    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Training loss; ``targets`` are rows of BOS, characters, EOS, PAD."""

    @abstractmethod
    def term_count(self, targets: Int[Tensor, "b t"]) -> int:
        """How many terms ``loss`` averages over, by which parts of a batch are weighted."""

    @abstractmethod
    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Logits of each position; the tokenizer cuts a word at its first EOS."""

    @abstractmethod
    def min_memory(self, max_length: int) -> int:
        """The fewest memory tokens with which words of ``max_length`` characters can be read."""

    @abstractmethod
    def per_character(self) -> dict[str, str]:
        """Parameters with one row per symbol, which transfer to another charset by character.

        Name -> ``classes`` (EOS, characters) or ``vocabulary`` (EOS, characters, BOS, PAD).
        """

    @abstractmethod
    def per_position(self) -> dict[str, str]:
        """Parameters (1, rows, d) with one row per position, which transfer resizes to another ``max_length``.

        Name -> a key of ``dptr.models.resize_positions.ROWS``: ``characters``, max_length + 1 rows, one for each
        character and for the EOS of the longest word; or ``path``, the 2 max_length - 1 positions of CTC. A smaller
        ``max_length`` keeps the first rows; a larger one fills further rows as the key says.
        """


class AutoregressiveDecoder(Decoder):
    """A decoder that can read left to right, one symbol per step; ``dptr.export`` exports the steps as a loop.

    Attributes:
        bos, eos: the symbol before the first position, and the one that ends a word.
        max_length: the longest word in characters.
        pad: the symbol after EOS, and the label of positions that the loss ignores.
        autoregressive: whether ``decode`` reads left to right.
        head: the linear layer to the classes.
    """

    autoregressive: bool = True
    bos: int
    eos: int
    head: SampledHead
    pad: int
    max_length: int

    @abstractmethod
    def teacher_forced_logits(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "b n c"], Int[Tensor, "b n"]]:
        """Logits of symbols given the target's other symbols (teacher forcing), and the labels of these logits.

        Another decoder of the same kind predicts the same symbols if its generator has the same state.
        """

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of ``teacher_forced_logits`` over the classes that ``head`` samples."""
        with self.head.sampled(targets, generator) as to_sample:
            logits, labels = self.teacher_forced_logits(memory, memory_mask, targets, generator)
            labels = to_sample(labels)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=self.pad)

    @abstractmethod
    def project(self, memory: Float[Tensor, "b m d"]) -> list[Float[Tensor, "2 b h m e"]]:
        """Keys and values of the memory for each layer, computed once per batch."""

    @abstractmethod
    def advance(
        self,
        symbol: Int[Tensor, "b 1"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        cache: list[Float[Tensor, "2 b h p e"]],
    ) -> tuple[Float[Tensor, "b 1 c"], list[Float[Tensor, "2 b h n e"]]]:
        """Logits of position p given all symbols before it.

        Args:
            symbol: BOS for p = 0, otherwise the symbol that was read at position p - 1.
            memory: from ``project``.
            cache: for each layer, keys and values of the p symbols before ``symbol``, as returned by the previous call;
                empty for p = 0.

        Returns:
            The logits, and the cache for position n = p + 1.
        """

    def refine(
        self,
        logits: Float[Tensor, "b t c"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
    ) -> Float[Tensor, "b k c"]:
        """Refined logits of a whole reading; by default the same."""
        return logits

    def _left_to_right(
        self, memory: list[Float[Tensor, "2 b h m e"]], memory_allowed: Bool[Tensor, "b 1 1 m"] | None
    ) -> Float[Tensor, "b t c"]:
        """Decode greedily until every word of the batch has ended or has ``max_length`` + 1 symbols.

        Words that have ended leave the batch once they are a quarter of it; their further logits are 0.
        """
        count = memory[0].shape[1]
        symbol = torch.full((count, 1), self.bos, dtype=torch.long, device=memory[0].device)
        ended = torch.zeros_like(symbol, dtype=torch.bool)
        rows: Tensor | None = None  # words still in the batch; None = all
        cache: list[Tensor] = []
        steps: list[Tensor] = []
        while len(steps) <= self.max_length and not all_done(ended):
            if 4 * int(ended.sum()) >= len(ended):
                active = (~ended[:, 0]).nonzero()[:, 0]
                rows = active if rows is None else rows[active]
                symbol, ended = symbol[active], ended[active]
                memory, cache = [part[:, active] for part in memory], [part[:, active] for part in cache]
                memory_allowed = None if memory_allowed is None else memory_allowed[active]
            logits, cache = self.advance(symbol, memory, memory_allowed, cache)
            if rows is None:
                steps.append(logits)
            else:
                steps.append(logits.new_zeros(count, *logits.shape[1:]).index_copy(0, rows, logits))
            symbol = logits.argmax(-1)
            ended |= symbol == self.eos
        return torch.cat(steps, dim=1)
