"""Batches of crops of one size each, from supplies that hold crops of several sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from jaxtyping import Int
from PIL import Image

from dptr.data.sources import ByRows, Dealt, LengthBuckets, Mixture, Sample, SizedSource, Source, WeightedMixture
from dptr.utils.permutations import seeded_order
from dptr.utils.resize import to_array
from dptr.utils.sizes import Size, by_shape

BLOCK = 8192  # crops that are made at a time where their sizes are not known before, about 150 MB
FIRST_BLOCK = 8  # the first block is so many times smaller, and the next ones grow, so that training begins soon
STRETCH = 2.0  # how many times wider or narrower a crop of a rare size is made at most
_WHOLE = 1_000_000  # shares are dealt out in millionths


@dataclass(frozen=True)
class SizeBatches(Dealt):
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

    def deal(self, index: int) -> tuple[Source, int]:
        step, place = divmod(index, self.batch_size)
        supply, number = WeightedMixture(self.supplies, self.weights).deal(step)
        return supply, number * self.batch_size + place


@dataclass(frozen=True)
class _Stream:
    """The samples of a source from number ``first`` on; crops of another size are stretched to ``size``."""

    source: Source
    size: Size
    first: int

    def sample(self, index: int) -> Sample:
        crop, word, stops = self.source.sample(self.first + index)
        if crop.shape[:2] != self.size:
            crop = to_array(Image.fromarray(crop), *self.size)
        return crop, word, stops

    def word(self, index: int) -> str:
        return self.source.word(self.first + index)


@dataclass(frozen=True)
class MadeCrops(ByRows):
    """Samples that were made before, in a new seeded order each epoch: a ``SizedSource``."""

    samples: list[Sample]
    rows: np.ndarray
    seed: int

    def sample(self, index: int) -> Sample:
        return self.samples[self._row(index)]

    def word(self, index: int) -> str:
        return self.samples[self._row(index)][1]

    def sizes(self) -> Int[np.ndarray, "n 2"]:
        return np.array([self.samples[row][0].shape[:2] for row in self.rows])

    def choose(self, rows: np.ndarray, stream: int) -> MadeCrops:
        return MadeCrops(self.samples, self.rows[rows], self.seed + (stream << 48))

    def _row(self, index: int) -> int:
        epoch, place = divmod(index, len(self.rows))
        return int(self.rows[seeded_order(self.seed, epoch, len(self.rows))[place]])


@dataclass(frozen=True)
class BlockBatches(Dealt):
    """Batches of one size each where some crops are made during training, so that nobody knows their size before.

    These are made a block of batches at a time, as many as the block needs, and are held in memory; the block is then
    batched as if they had lain there (``batch_by_size``). Each of them is seen about once.

    The first block has ``steps`` / ``FIRST_BLOCK`` batches. Until ``steps`` batches are made, each has as many as all
    before it.

    Args:
        parts: supplies with weights > 0, with and without sizes.
        batch_size: crops a step.
        steps: of a block after the first ``steps``.
        pool, seed: as ``batch_by_size`` takes them.
    """

    parts: tuple[tuple[Source, float], ...]
    batch_size: int
    steps: int
    pool: int
    seed: int
    _blocks: dict[int, SizeBatches] = field(default_factory=dict, repr=False, compare=False)  # the last one

    def deal(self, index: int) -> tuple[Source, int]:
        begin, steps = self._span(index // self.batch_size)
        return self._block(begin, steps), index - begin * self.batch_size

    def _span(self, step: int) -> tuple[int, int]:
        """The first step of the block that has a step, and how many it has."""
        if step >= self.steps:
            return step - step % self.steps, self.steps
        begin, steps = 0, max(1, self.steps // FIRST_BLOCK)
        while step >= begin + steps:
            begin += steps
            steps = min(begin, self.steps - begin)
        return begin, steps

    def _block(self, begin: int, steps: int) -> SizeBatches:
        if begin not in self._blocks:
            self._blocks.clear()
            parts = [(self._known(source, weight, begin, steps), weight) for source, weight in self.parts]
            before = begin * self.batch_size
            self._blocks[begin], _ = batch_by_size(parts, self.batch_size, self.pool, self.seed + begin, before, steps)
        return self._blocks[begin]

    def _known(self, source: Source, weight: float, begin: int, steps: int) -> SizedSource:
        if isinstance(source, SizedSource):
            return source
        a_step = weight / sum(weight for _, weight in self.parts) * self.batch_size
        numbers = range(ceil(a_step * begin), ceil(a_step * (begin + steps)))
        return MadeCrops([source.sample(number) for number in numbers], np.arange(len(numbers)), self.seed)


def parts_of(source: Source, share: float = 1.0) -> list[tuple[Source, float]]:
    """The supplies that a mixture is made of, each with its share of all samples."""
    if isinstance(source, Mixture):
        mixed = [(source.labeled, 1 - source.share), (source.rendered, source.share)]
    elif isinstance(source, WeightedMixture):
        total = sum(source.weights)
        mixed = [(each, weight / total) for each, weight in zip(source.sources, source.weights, strict=True)]
    else:
        return [(source, share)]
    return [part for each, weight in mixed if weight for part in parts_of(each, share * weight)]


def in_size_batches(source: Source, batch_size: int, pool: int = 1, seed: int = 0) -> tuple[Source, list[str]]:
    """The samples of a source in batches of one size each; and a line for the log.

    Args:
        source: of crops of several sizes, perhaps a mixture.
        batch_size, pool, seed: as ``batch_by_size`` takes them.
    """
    parts = parts_of(source)
    sized = [(each, share) for each, share in parts if isinstance(each, SizedSource)]
    if len(sized) == len(parts):
        return batch_by_size(sized, batch_size, pool, seed)
    made = 1 - sum(share for _, share in sized)
    steps = max(1, round(BLOCK / (made * batch_size)))
    message = f"batches of one size: up to {BLOCK:,} crops are rendered at a time, for {steps:,} batches"
    return BlockBatches(tuple(parts), batch_size, steps, pool, seed), [message]


def batch_by_size(
    parts: Sequence[tuple[SizedSource, float]],
    batch_size: int,
    pool: int = 1,
    seed: int = 0,
    before: int = 0,
    steps: int = 0,
) -> tuple[SizeBatches, list[str]]:
    """The samples of all parts, in batches of one size each; and a line for the log.

    Each part has the share of all samples that its weight says, and within a part all crops come equally often. A size
    of fewer than ``batch_size`` crops would fill its batches with copies: these crops join those of the nearest size
    that has more, stretched to it, if that is at most ``STRETCH`` times as wide or as narrow.

    Args:
        parts: supplies with weights > 0.
        batch_size: crops a step.
        pool: batches whose words are sorted by length together (``LengthBuckets``); 1 = as they come.
        seed: of the order of these batches.
        before: how many samples were drawn from the parts before these: they go on about there.
        steps: how many batches will be drawn, so that each sorted pool of a size ends with them; 0 = without end.
    """
    total = sum(weight for _, weight in parts)
    sizes = [source.count_sizes() for source, _ in parts]
    every = sum(map(Counter, sizes), Counter[Size]())
    homes = _homes(every, batch_size)
    supplies, weights, told = [], [], []
    for stream, size in enumerate(sorted(set(homes.values()), key=by_shape)):
        streams: list[Source] = []
        shares: list[int] = []
        for (source, weight), own in zip(parts, sizes, strict=True):
            kept = [each for each in own if homes[each] == size]
            if kept:
                share = weight / total * sum(own[each] for each in kept) / sum(own.values())
                streams.append(_Stream(source.keep_sizes(kept, stream), size, int(before * share)))
                shares.append(max(1, round(_WHOLE * share)))
        supply: Source = WeightedMixture(tuple(streams), tuple(shares))
        own_steps = max(1, steps * sum(shares) // _WHOLE) if steps else pool
        together = own_steps // ceil(own_steps / pool)
        supplies.append(LengthBuckets(supply, batch_size, together, seed) if together > 1 else supply)
        weights.append(sum(shares))
        told.append(f"{size[0]}x{size[1]} {sum(shares) / _WHOLE:.1%}")
    stretched = sum(count for each, count in every.items() if homes[each] != each)
    note = f"; {stretched:,} crops of rare sizes are stretched to the nearest" if stretched else ""
    return SizeBatches(tuple(supplies), tuple(weights), batch_size), [f"batches of one size: {', '.join(told)}{note}"]


def _homes(sizes: Mapping[Size, int], least: int) -> dict[Size, Size]:
    """Which size crops of each size are trained at: their own where there are ``least``, else the nearest such.

    Where that is too far (``STRETCH``) they keep their own.
    """
    own = sorted(sizes)
    common = [size for size in own if sizes[size] >= least] or [max(own, key=lambda size: sizes[size])]

    def distance(size: Size, other: Size) -> float:
        return abs(float(np.log(by_shape(other)[0] / by_shape(size)[0])))

    nearest = {size: min(common, key=lambda other: (distance(size, other), other)) for size in own}
    return {size: other if distance(size, other) <= np.log(STRETCH) else size for size, other in nearest.items()}
