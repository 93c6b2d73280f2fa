"""What every recognition decoder can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class Decoder(nn.Module, ABC):
    """What both training stages, the recogniser and the reader ask of a decoder.

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
    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Logits by position; rows are cut at their first EOS by the tokenizer."""

    @abstractmethod
    def min_memory(self, max_length: int) -> int:
        """The fewest memory tokens with which words of ``max_length`` characters can be read."""

    @abstractmethod
    def per_character(self) -> dict[str, str]:
        """Parameters with a row a symbol, moved by character on transfer: name -> ``classes`` or ``vocabulary``."""
