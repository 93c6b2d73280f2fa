"""Sampled softmax: a linear head over thousands of characters, trained on the targets and a sample of the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class SampledHead(nn.Linear):
    """A linear layer to all classes; within ``sampled``, to the classes of a batch's targets and a sample of others.

    The softmax's denominator is estimated by importance sampling (Bengio and Senecal 2003; Jean et al. 2015, 3.2), with
    one sample for the whole batch. It contains the targets' classes. Each other class is in it with probability q, and
    its exponential is weighted by 1/q, so that the estimate of the denominator is unbiased. Alignment samples symbols
    too, without such weights (``dptr.dual.glyph.losses.sample_symbols``).

    Args:
        dim: width of the input.
        classes: C, the number of classes.
        negatives: k, the number of classes to draw without replacement; q = k/C. 0 or at least C = use all classes.
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
        """Restrict the layer to a sample of classes.

        Args:
            targets: symbols of the batch, which may include BOS and PAD. Class 0 is always in the sample.
            generator: on the CPU; not used if all classes are.

        Yields:
            A function from the targets' symbols to their indices in the sample; it keeps BOS and PAD.
        """
        classes = self.out_features
        if not 0 < self.negatives < classes:
            yield lambda symbols: symbols
            return
        drawn = torch.randperm(classes, generator=generator)[: self.negatives].to(targets.device)
        positives = torch.cat([targets.flatten(), targets.new_zeros(1)]).unique()
        positives = positives[positives < classes]
        sample = torch.cat([positives, drawn]).unique()
        offsets = torch.where(torch.isin(sample, positives), 0.0, math.log(classes / self.negatives))
        indices = torch.full((classes,), -1, device=targets.device)
        indices[sample] = torch.arange(len(sample), device=targets.device)
        self._sample = sample, offsets
        try:
            yield lambda symbols: torch.where(symbols < classes, indices[symbols.clamp(max=classes - 1)], symbols)
        finally:
            self._sample = None
