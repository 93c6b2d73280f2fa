"""Endless sources of samples, each of which is a pure function of its index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from dptr.data.augment import augment
from dptr.data.crops import LabeledCrops
from dptr.utils.dealing import deal
from dptr.utils.permutations import seeded_order
from dptr.utils.sizes import Size

Sample = tuple[np.ndarray, str, np.ndarray]  # a crop, its word, and its letters' stops (``render_with_stops``)
_GOLDEN = 0.6180339887498949  # its multiples, modulo 1, are evenly distributed (Weyl)


class Source(Protocol):
    """An endless sequence of samples; ``sample`` is a pure function of ``index``."""

    def sample(self, index: int) -> Sample: ...

    def word(self, index: int) -> str:
        """The word of a sample, without its crop."""


@runtime_checkable
class SizedSource(Source, Protocol):
    """A source that repeats n crops and knows the size of each before it is opened."""

    def count_sizes(self) -> dict[Size, int]:
        """The number of crops of each size."""

    def keep_sizes(self, sizes: Collection[Size], stream: int) -> Source:
        """A source of the crops of these sizes; ``stream`` seeds their order."""


class ByRows(ABC):
    """Base class that makes a source with a table of crop sizes a ``SizedSource``."""

    @abstractmethod
    def sizes(self) -> Int[np.ndarray, "n 2"]:
        """Height and width in pixels of each crop."""

    @abstractmethod
    def choose(self, rows: np.ndarray, stream: int) -> Source:
        """A source of the crops ``rows``; ``stream`` seeds their order."""

    def count_sizes(self) -> dict[Size, int]:
        """See ``SizedSource``."""
        sizes, counts = np.unique(self.sizes(), axis=0, return_counts=True)
        return {(int(height), int(width)): int(count) for (height, width), count in zip(sizes, counts, strict=True)}

    def keep_sizes(self, sizes: Collection[Size], stream: int) -> Source:
        """See ``SizedSource``."""
        kept = [(int(height), int(width)) in sizes for height, width in self.sizes()]
        return self.choose(np.flatnonzero(kept), stream)


class Dealt:
    """Base class of sources that reorder or mix the samples of others."""

    def sample(self, index: int) -> Sample:
        source, own = self.deal(index)
        return source.sample(own)

    def word(self, index: int) -> str:
        source, own = self.deal(index)
        return source.word(own)

    def deal(self, index: int) -> tuple[Source, int]:
        """The source of a sample, and the sample's index in it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Curriculum(Dealt):
    """Samples of ``gentle`` that are gradually replaced by ``full`` over the first ``length`` samples."""

    gentle: Source
    full: Source
    length: int

    def deal(self, index: int) -> tuple[Source, int]:
        gentle = index < self.length and index * _GOLDEN % 1.0 >= index / self.length
        return (self.gentle if gentle else self.full), index


@dataclass(frozen=True)
class LabeledSource(ByRows):
    """Labeled crops, augmented, in a new seeded order each epoch. Their letters' stops are unknown: NaN."""

    crops: LabeledCrops
    seed: int
    strength: float
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)  # of two epochs at most

    def sample(self, index: int) -> Sample:
        row = self._row(index)
        crop = self.crops.arrays[row]
        if self.strength:
            crop = augment(crop, np.random.Generator(np.random.Philox(key=[self.seed, index])), self.strength)
        label = self.crops.labels[row]
        return crop, label, np.full((len(label), 2), np.nan, np.float32)

    def word(self, index: int) -> str:
        return self.crops.labels[self._row(index)]

    def sizes(self) -> Int[np.ndarray, "n 2"]:
        return self.crops.sizes()

    def choose(self, rows: np.ndarray, stream: int) -> LabeledSource:
        # bits 32 to 47 of the seed differ between sets, the bits above between sizes
        return LabeledSource(self.crops.choose(rows), self.seed + (stream << 48), self.strength)

    def _row(self, index: int) -> int:
        epoch, place = divmod(index, len(self.crops))
        if epoch not in self._orders:
            if len(self._orders) == 2:
                del self._orders[min(self._orders)]
            self._orders[epoch] = seeded_order(self.seed, epoch, len(self.crops))
        return int(self._orders[epoch][place])


@dataclass(frozen=True)
class Mixture(Dealt):
    """A mixture with an evenly spread ``share`` of rendered samples; both sources are used without gaps."""

    labeled: Source
    rendered: Source
    share: float

    def deal(self, index: int) -> tuple[Source, int]:
        before, after = int(index * self.share), int((index + 1) * self.share)
        return (self.rendered, before) if after > before else (self.labeled, index - before)


@dataclass(frozen=True)
class WeightedMixture(Dealt):
    """A mixture of sources, each evenly spread in proportion to its weight, and used without gaps.

    ``weights`` are integers; see ``dptr.utils.dealing.deal``.
    """

    sources: tuple[Source, ...]
    weights: tuple[int, ...]

    def deal(self, index: int) -> tuple[Source, int]:
        number, own = deal(index, self.weights)
        return self.sources[number], own


@dataclass(frozen=True)
class LengthBuckets(Dealt):
    """The samples of a source, reordered into batches of words of similar length, which need little padding.

    The samples of ``pool`` batches of ``size`` are sorted by the length of their words and cut into batches, which come
    in a seeded order. The first pool begins at sample ``first``; the last ends at ``last`` (0 = unlimited).
    """

    source: Source
    size: int
    pool: int
    seed: int
    first: int = 0
    last: int = 0
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)  # of one pool

    def deal(self, index: int) -> tuple[Source, int]:
        number, place = divmod(index - self.first, self.size * self.pool)
        if number not in self._orders:
            self._orders.clear()
            self._orders[number] = self._order(number)
        return self.source, int(self._orders[number][place])

    def _order(self, number: int) -> np.ndarray:
        start = self.first + number * self.size * self.pool
        end = start + self.size * self.pool
        indices = np.arange(start, min(end, self.last) if self.last else end)
        lengths = [len(self.source.word(index)) for index in indices.tolist()]
        batches = indices[np.argsort(lengths, kind="stable")].reshape(-1, self.size)
        batches.sort(axis=1)  # sources stay evenly spread within a batch, so that each process gets all of them
        return batches[seeded_order(self.seed, number, len(batches))].ravel()
