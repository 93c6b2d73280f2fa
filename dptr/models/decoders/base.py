"""The contract of recognition decoders: ``loss`` in both stages of training, ``decode`` in reading."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dptr.models.decoders.class_sampling import SampledHead
from dptr.models.layers import all_done


class Decoder(nn.Module, ABC):
    """What both training stages, the recognizer and the reader ask of a decoder.

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
        """How many terms ``loss`` is the mean of, so that means over parts of a batch can be put together."""

    @abstractmethod
    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Logits by position; rows are cut at their first EOS by the tokenizer."""

    @abstractmethod
    def min_memory(self, max_length: int) -> int:
        """The fewest memory tokens with which words of ``max_length`` characters can be read."""

    @abstractmethod
    def per_character(self) -> dict[str, str]:
        """Parameters with a row a symbol, moved by character on transfer: name -> ``classes`` or ``vocabulary``."""

    @abstractmethod
    def per_position(self) -> dict[str, str]:
        """Parameters (1, rows, d) with a row a place in the word, fitted to another ``max_length`` on transfer.

        Name -> a key of ``dptr.models.resize_positions.ROWS``: ``characters``, max_length + 1 rows, of which the
        k-th is the k-th character's and the last that of EOS after the longest word; or ``path``, the
        2 max_length - 1 places of CTC. Fewer are cut to the first rows; what further rows are, the kind says.
        """


class AutoregressiveDecoder(Decoder):
    """A decoder that can read left to right, a symbol a step; ``dptr.export`` turns the steps into a loop of a graph.

    Attributes:
        bos, eos: the symbol before the first position, and the one that ends a word.
        max_length: the longest word in characters.
        pad: after it, and where a prediction does not count.
        autoregressive: whether ``decode`` does read left to right.
        head: logits of its classes.
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
        """Logits of symbols given others of the word as they should be (teacher forcing), and these symbols.

        Another decoder of the same kind, with a generator in the same state, predicts the same ones.
        """

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy of what ``teacher_forced_logits`` predicts, over the classes that ``head`` samples."""
        with self.head.sampled(targets, generator) as place:
            logits, wanted = self.teacher_forced_logits(memory, memory_mask, targets, generator)
            wanted = place(wanted)
        return F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=self.pad)

    @abstractmethod
    def project(self, memory: Float[Tensor, "b m d"]) -> list[Float[Tensor, "2 b h m e"]]:
        """Keys and values of the memory for each layer, computed once a batch."""

    @abstractmethod
    def advance(
        self,
        symbol: Int[Tensor, "b 1"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
        cache: list[Float[Tensor, "2 b h p e"]],
    ) -> tuple[Float[Tensor, "b 1 c"], list[Float[Tensor, "2 b h n e"]]]:
        """Logits of position p, from all symbols before it.

        Args:
            symbol: BOS for p = 0, else what was read at position p - 1.
            memory: from ``project``.
            cache: keys and values of the p symbols before ``symbol`` by layer, as this method returned them; empty for
                p = 0.

        Returns:
            The logits, and the cache for position n = p + 1.
        """

    def refine(
        self,
        logits: Float[Tensor, "b t c"],
        memory: list[Float[Tensor, "2 b h m e"]],
        memory_allowed: Bool[Tensor, "b 1 1 m"] | None,
    ) -> Float[Tensor, "b k c"]:
        """What becomes of a whole reading; here nothing."""
        return logits

    def _left_to_right(
        self, memory: list[Float[Tensor, "2 b h m e"]], memory_allowed: Bool[Tensor, "b 1 1 m"] | None
    ) -> Float[Tensor, "b t c"]:
        """Greedy, until every word of the batch has ended or holds ``max_length`` + 1 symbols.

        Words that have ended leave the batch, a quarter of it at a time; their logits are 0 from there on.
        """
        count = memory[0].shape[1]
        symbol = torch.full((count, 1), self.bos, dtype=torch.long, device=memory[0].device)
        ended = torch.zeros_like(symbol, dtype=torch.bool)
        rows: Tensor | None = None  # those that go on; None = all
        cache: list[Tensor] = []
        steps: list[Tensor] = []
        while len(steps) <= self.max_length and not all_done(ended):
            if 4 * int(ended.sum()) >= len(ended):
                going = (~ended[:, 0]).nonzero()[:, 0]
                rows = going if rows is None else rows[going]
                symbol, ended = symbol[going], ended[going]
                memory, cache = [part[:, going] for part in memory], [part[:, going] for part in cache]
                memory_allowed = None if memory_allowed is None else memory_allowed[going]
            logits, cache = self.advance(symbol, memory, memory_allowed, cache)
            whole = logits
            if rows is not None:
                whole = logits.new_zeros(count, *logits.shape[1:]).index_copy(0, rows, logits)
            steps.append(whole)
            symbol = logits.argmax(-1)
            ended |= symbol == self.eos
        return torch.cat(steps, dim=1)
