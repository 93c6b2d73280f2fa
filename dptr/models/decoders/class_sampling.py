"""A head over thousands of characters whose training compares the right one with some of the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class SampledHead(nn.Linear):
    """A linear layer to classes; within ``sampled`` to those of a batch and some others alone.

    Importance sampling of the softmax's sum (Bengio and Senecal 2003; Jean et al. 2015, 3.2), with one set of classes
    for the whole batch. A class of the batch's targets is always in it. Of the others each is in it with the same
    probability q, and its exponential counts 1/q times: the expectation of the sum is that over all classes.
    Alignment draws symbols too, and does not weight them (``dptr.dual.glyph.losses.sample_symbols``).

    Args:
        dim: width of its input.
        classes: C, how many.
        negatives: k, how many classes are drawn beside those of the targets, without replacement; q = k/C. 0 or at
            least C = all classes count.
    """

    def __init__(self, dim: int, classes: int, negatives: int = 0):
        super().__init__(dim, classes)
        self.negatives = negatives
        self._sample: tuple[Int[Tensor, " c"], Float[Tensor, " c"]] | None = None  # classes, and log 1/q of each

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... c"]:
        if self._sample is None:
            return super().forward(x)
        classes, offsets = self._sample
        return F.linear(x, self.weight[classes], self.bias[classes] + offsets)

    @contextmanager
    def sampled(
        self, targets: Int[Tensor, "..."], generator: torch.Generator
    ) -> Iterator[Callable[[Int[Tensor, "..."]], Int[Tensor, "..."]]]:
        """Logits are those of a sample of classes meanwhile.

        Args:
            targets: symbols, those that are no classes among them; class 0 always counts.
            generator: on the CPU; not used where all classes count.

        Yields:
            Places in the sample of the targets' classes; symbols that are no classes stay as they are.
        """
        classes = self.out_features
        if not 0 < self.negatives < classes:
            yield lambda symbols: symbols
            return
        drawn = torch.randperm(classes, generator=generator)[: self.negatives].to(targets.device)
        own = torch.cat([targets.flatten(), targets.new_zeros(1)]).unique()
        own = own[own < classes]
        among = torch.cat([own, drawn]).unique()
        offsets = torch.where(torch.isin(among, own), 0.0, math.log(classes / self.negatives))
        places = torch.full((classes,), -1, device=targets.device)
        places[among] = torch.arange(len(among), device=targets.device)
        self._sample = among, offsets
        try:
            yield lambda symbols: torch.where(symbols < classes, places[symbols.clamp(max=classes - 1)], symbols)
        finally:
            self._sample = None
