"""Recognition decoders behind one contract; a new one is a file and a line in ``DECODERS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dptr.config import DecoderConfig
from dptr.models.decoders.parseq import build_parseq


class Decoder(Protocol):
    """What both training stages, the recogniser and the reader ask of a decoder.

    Class 0 is EOS, classes 1..n are the characters (``dptr.text.tokenizer.Tokenizer``).
    """

    dim: int

    def loss(
        self,
        memory: Float[Tensor, "b m d"],
        memory_mask: Bool[Tensor, "b m"] | None,
        targets: Int[Tensor, "b t"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Training loss; ``targets`` are rows of BOS, characters, EOS, PAD."""
        ...

    def decode(self, memory: Float[Tensor, "b m d"], memory_mask: Bool[Tensor, "b m"] | None) -> Float[Tensor, "b t c"]:
        """Logits by position; rows are cut at their first EOS by the tokenizer."""
        ...

    def min_memory(self, max_length: int) -> int:
        """The fewest memory tokens with which words of ``max_length`` characters can be read."""
        ...

    def per_character(self) -> dict[str, str]:
        """Parameters with a row for each symbol: name -> ``classes`` or ``vocabulary`` (kept by character on transfer)."""
        ...


DECODERS: dict[
    str, Callable[[DecoderConfig, int, int], torch.nn.Module]
] = {  # (config, number of characters, max_length)
    "parseq": build_parseq,
}
