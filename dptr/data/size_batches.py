"""Batches of crops of one size each, from supplies that hold crops of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dptr.data.sources import LengthBuckets, Mixture, Sample, SizedSource, Source, WeightedMixture
from dptr.utils.images import to_array
from dptr.utils.sizes import Size, by_shape

_WHOLE = 1_000_000  # shares are dealt out in millionths


@dataclass(frozen=True)
class SizeBatches:
    """Samples k * ``batch_size`` .. (k + 1) * ``batch_size`` - 1, the batch of step k, are of one size.

    Sizes take their turns evenly spread, each with its weight: ``WeightedMixture`` of batches.

    Args:
        supplies: one a size.
        weights: how many of ``sum(weights)`` batches each gets, whole numbers.
        batch_size: crops a step.
    """

    supplies: tuple[Source, ...]
    weights: tuple[int, ...]
    batch_size: int

    def sample(self, index: int) -> Sample:
        supply, index = self._deal(index)
        return supply.sample(index)

    def word(self, index: int) -> str:
        supply, index = self._deal(index)
        return supply.word(index)

    def _deal(self, index: int) -> tuple[Source, int]:
        step, place = divmod(index, self.batch_size)
        supply, number = WeightedMixture(self.supplies, self.weights).deal(step)
        return supply, number * self.batch_size + place


@dataclass(frozen=True)
class _Resized:
    """Samples whose crops are stretched to one size where they have another."""

    source: Source
    size: Size

    def sample(self, index: int) -> Sample:
        crop, word, stops = self.source.sample(index)
        if crop.shape[:2] != self.size:
            crop = to_array(Image.fromarray(crop), *self.size)
        return crop, word, stops

    def word(self, index: int) -> str:
        return self.source.word(index)


def sized_parts(source: Source, share: float = 1.0) -> list[tuple[SizedSource, float]]:
    """The supplies that a mixture is made of, each with its share of all samples; empty where one has no sizes."""
    if isinstance(source, Mixture):
        mixed = [(source.labeled, 1 - source.share), (source.rendered, source.share)]
    elif isinstance(source, WeightedMixture):
        total = sum(source.weights)
        mixed = [(each, weight / total) for each, weight in zip(source.sources, source.weights, strict=True)]
    else:
        return [(source, share)] if isinstance(source, SizedSource) else []
    inside = [sized_parts(each, share * part) for each, part in mixed]
    return [part for parts in inside for part in parts] if all(inside) else []


def batch_by_size(
    parts: Sequence[tuple[SizedSource, float]], batch_size: int, pool: int = 1, seed: int = 0
) -> tuple[SizeBatches, list[str]]:
    """The samples of all parts, in batches of one size each; and a line for the log.

    Each part has the share of all samples that its weight says, and within a part all crops come equally often. A size
    of fewer than ``batch_size`` crops would fill its batches with copies: these crops join those of the nearest size
    that has more, stretched to it.

    Args:
        parts: supplies with weights > 0.
        batch_size: crops a step.
        pool: batches whose words are sorted by length together (``LengthBuckets``); 1 = as they come.
        seed: of the order of these batches.
    """
    total = sum(weight for _, weight in parts)
    sizes = [[(int(height), int(width)) for height, width in source.sizes()] for source, _ in parts]
    homes = _homes([size for some in sizes for size in some], batch_size)
    supplies, weights, told = [], [], []
    for stream, size in enumerate(sorted(set(homes.values()), key=by_shape)):
        streams: list[Source] = []
        shares: list[int] = []
        for (source, weight), own in zip(parts, sizes, strict=True):
            rows = np.flatnonzero([homes[each] == size for each in own])
            if len(rows):
                streams.append(_Resized(source.choose(rows, stream), size))
                shares.append(max(1, round(_WHOLE * weight / total * len(rows) / len(own))))
        supply: Source = WeightedMixture(tuple(streams), tuple(shares))
        supplies.append(LengthBuckets(supply, batch_size, pool, seed) if pool > 1 else supply)
        weights.append(sum(shares))
        told.append(f"{size[0]}x{size[1]} {sum(shares) / _WHOLE:.1%}")
    stretched = sum(homes[each] != each for some in sizes for each in some)
    note = f"; {stretched:,} crops of rare sizes are stretched to the nearest" if stretched else ""
    return SizeBatches(tuple(supplies), tuple(weights), batch_size), [f"batches of one size: {', '.join(told)}{note}"]


def _homes(sizes: Sequence[Size], least: int) -> dict[Size, Size]:
    """Which size crops of each size are trained at: their own where there are ``least``, else the nearest such."""
    found, counts = np.unique(np.array(sizes), axis=0, return_counts=True)
    own = [(int(height), int(width)) for height, width in found]
    common = [size for size, count in zip(own, counts, strict=True) if count >= least]
    common = common or [own[int(counts.argmax())]]

    def distance(size: Size, other: Size) -> float:
        return abs(float(np.log(by_shape(other)[0] / by_shape(size)[0])))

    return {size: min(common, key=lambda other: (distance(size, other), other)) for size in own}
