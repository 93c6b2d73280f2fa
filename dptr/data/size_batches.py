"""Batches with crops of one size each, from sources with crops of several sizes.

Each crop has a *home*: the size of the batches that it is trained in. The homes of crops, the home of each batch, and
the number of samples of each source in it are fixed before training. So all labeled crops of a source are used equally
often, whatever is rendered in addition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, inf, lcm, log

import numpy as np
from PIL import Image

from dptr.data.sources import Dealt, LengthBuckets, Mixture, Sample, SizedSource, Source, WeightedMixture
from dptr.utils.resize import to_array
from dptr.utils.sizes import Size, by_shape

BLOCK = 8192  # crops to render at a time, since their sizes are not known before; about 150 MB
FIRST_BLOCK = 8  # the first block is smaller by this factor, and the next ones grow, so that training begins soon
SAMPLED = 512  # crops to render beforehand, to estimate the distribution of sizes
LARGE = Fraction(1, 4)  # a size with this share of all samples has its own batches, even if crops repeat in a batch
_WHOLE = 1_000_000  # the largest denominator of a weight


@dataclass(frozen=True)
class SizeBatches(Dealt):
    """A ``WeightedMixture`` of batches: each batch (``batch_size`` consecutive samples) is of one source.

    Args:
        supplies: a source for each size.
        weights: integers; how many of ``sum(weights)`` batches each source gets.
        batch_size: crops per step.
    """

    supplies: tuple[Source, ...]
    weights: tuple[int, ...]
    batch_size: int

    def deal(self, index: int) -> tuple[Source, int]:
        step, place = divmod(index, self.batch_size)
        supply, number = WeightedMixture(self.supplies, self.weights).deal(step)
        return supply, number * self.batch_size + place


@dataclass(frozen=True)
class _Stretched:
    """The samples of a source, with crops of other sizes resized to ``size``."""

    source: Source
    size: Size

    def sample(self, index: int) -> Sample:
        crop, word, stops = self.source.sample(index)
        if crop.shape[:2] != self.size:
            crop = to_array(Image.fromarray(crop), *self.size)
        return crop, word, stops

    def word(self, index: int) -> str:
        return self.source.word(index)


@dataclass(frozen=True)
class _Made:
    """Rendered samples, with indices from ``first`` on."""

    samples: list[Sample]
    first: int

    def sample(self, index: int) -> Sample:
        return self.samples[index - self.first]

    def word(self, index: int) -> str:
        return self.samples[index - self.first][1]


@dataclass(frozen=True)
class _Home:
    """A size with batches of its own, and the sources of these.

    Attributes:
        parts: indices of the parts with crops that are trained at this size.
        sources: for each part, a source of these crops; for a part that is rendered during training, of all its crops.
        weights: of each part, integers in the same scale for all homes.
        pool: number of batches that are sorted by length together: as many as contain no crop twice, at least 1.
    """

    size: Size
    parts: tuple[int, ...]
    sources: tuple[Source, ...]
    weights: tuple[int, ...]
    pool: int


@dataclass(frozen=True)
class BlockBatches(Dealt):
    """Batches of one size each, if some crops are rendered during training, so that their sizes are not known before.

    They are rendered for a block of batches at a time, and kept in memory. The narrowest go to the narrowest home, and
    so on, as many as each home needs. So each is used once, and is stretched if its home has another size.

    The first block has ``steps`` / ``FIRST_BLOCK`` batches. The next ones double the total, up to ``steps`` batches;
    after that each block has ``steps``.

    Args:
        homes: from narrow to wide.
        makers: parts that are rendered during training, by index.
        batch_size: crops per step.
        steps: batches of a full block.
        seed: see ``batch_by_size``.
    """

    homes: tuple[_Home, ...]
    makers: Mapping[int, Source]
    batch_size: int
    steps: int
    seed: int
    _blocks: dict[int, SizeBatches] = field(default_factory=dict, repr=False, compare=False)  # the last one

    def deal(self, index: int) -> tuple[Source, int]:
        return self._block(*self._span(index // self.batch_size)), index

    def _span(self, step: int) -> tuple[int, int]:
        """The first step of the block that contains ``step``, and the first step after the block."""
        if step >= self.steps:
            begin = step - step % self.steps
            return begin, begin + self.steps
        begin, end = 0, max(1, self.steps // FIRST_BLOCK)
        while step >= end:
            begin, end = end, min(2 * end, self.steps)
        return begin, end

    def _block(self, begin: int, end: int) -> SizeBatches:
        if begin not in self._blocks:
            self._blocks.clear()
            self._blocks[begin] = self._make(begin, end)
        return self._blocks[begin]

    def _make(self, begin: int, end: int) -> SizeBatches:
        weights = tuple(sum(home.weights) for home in self.homes)
        size = self.batch_size
        spans = [(first * size, last * size) for first, last in _dealt_between(begin, end, weights)]
        places = {
            (number, part): span
            for number, home in enumerate(self.homes)
            for part, span in zip(home.parts, _dealt_between(*spans[number], home.weights), strict=True)
        }
        made = {
            key: source
            for part, maker in self.makers.items()
            for key, source in self._fill({key: span for key, span in places.items() if key[1] == part}, maker)
        }
        supplies: list[Source] = []
        for number, (home, (first, last)) in enumerate(zip(self.homes, spans, strict=True)):
            own = zip(home.parts, home.sources, strict=True)
            supply: Source = WeightedMixture(
                tuple(made.get((number, part), source) for part, source in own), home.weights
            )
            steps = (last - first) // size
            together = ceil(steps / ceil(steps / home.pool)) if steps else 1
            if together > 1:
                supply = LengthBuckets(supply, size, together, self.seed + begin, first, last)
            supplies.append(supply)
        return SizeBatches(tuple(supplies), weights, size)

    def _fill(
        self, places: Mapping[tuple[int, int], tuple[int, int]], maker: Source
    ) -> list[tuple[tuple[int, int], Source]]:
        """Render the crops of one part for a block, and assign them to the homes by their shape."""
        numbers = range(sum(first for first, _ in places.values()), sum(last for _, last in places.values()))
        samples = [maker.sample(number) for number in numbers]
        order = sorted(range(len(samples)), key=lambda row: by_shape(_size_of(samples[row])))
        filled: list[tuple[tuple[int, int], Source]] = []
        for key, (first, last) in places.items():
            rows, order = sorted(order[: last - first]), order[last - first :]
            filled.append((key, _Stretched(_Made([samples[row] for row in rows], first), self.homes[key[0]].size)))
        return filled


def _dealt_between(begin: int, end: int, weights: Sequence[int]) -> list[tuple[int, int]]:
    """For each source of a ``WeightedMixture``, how many of its first ``begin`` and first ``end`` samples it has."""
    return list(zip(_dealt(begin, weights), _dealt(end, weights), strict=True))


def _dealt(count: int, weights: Sequence[int]) -> list[int]:
    left, dealt = sum(weights), []
    for weight in weights:
        dealt.append(count * weight // left)
        count, left = count - dealt[-1], left - weight
    return dealt


def parts_of(source: Source, share: float = 1.0) -> list[tuple[Source, float]]:
    """The sources of a (nested) mixture, each with its share of all samples."""
    if isinstance(source, Mixture):
        mixed = [(source.labeled, 1 - source.share), (source.rendered, source.share)]
    elif isinstance(source, WeightedMixture):
        total = sum(source.weights)
        mixed = [(each, weight / total) for each, weight in zip(source.sources, source.weights, strict=True)]
    else:
        return [(source, share)]
    return [part for each, weight in mixed if weight for part in parts_of(each, share * weight)]


def in_size_batches(source: Source, batch_size: int, pool: int = 1, seed: int = 0) -> tuple[Source, list[str]]:
    """Reorder the samples of a source into batches of one size each; also return lines for the log.

    Args:
        source: of crops of several sizes, possibly a mixture.
        batch_size, pool, seed: see ``batch_by_size``.
    """
    return batch_by_size(parts_of(source), batch_size, pool, seed)


def batch_by_size(
    parts: Sequence[tuple[Source, float]], batch_size: int, pool: int = 1, seed: int = 0
) -> tuple[Source, list[str]]:
    """Mix parts into batches of one size each; also return lines for the log.

    Each part gets the share of all samples that its weight says, and the crops of a part are used equally often: after
    any step, the uses of two crops of a ``SizedSource`` differ by at most 3, not counting the ``pool`` batches of their
    sizes that are sorted together.

    Crops of rare sizes are stretched to a neighboring size. A size is rare if a batch of it would contain a crop twice,
    unless it has a quarter of all samples (``LARGE``).

    Args:
        parts: sources with weights > 0. ``SAMPLED`` crops are rendered of sources that do not know their sizes.
        batch_size: crops per step.
        pool: batches that are sorted by the length of words together (``LengthBuckets``); 1 = unsorted.
        seed: of the order of these batches.
    """
    weights = [Fraction(weight).limit_denominator(_WHOLE) for _, weight in parts]
    weights = [weight / sum(weights) for weight in weights]
    makers = {number: source for number, (source, _) in enumerate(parts) if not isinstance(source, SizedSource)}
    made = sum(weights[number] for number in makers)
    steps = max(1, round(BLOCK / (made * batch_size))) if makers else 0
    measured = [
        _measure(source, weight, steps * batch_size) for (source, _), weight in zip(parts, weights, strict=True)
    ]
    sizes = _tally_sizes(measured)
    groups = _group(sizes, batch_size)
    homes = _make_homes(measured, groups, sizes, batch_size, pool)
    lines = [_describe(groups, sizes, [part.counts for number, part in enumerate(measured) if number not in makers])]
    if makers:
        lines.append(f"up to {BLOCK:,} crops are rendered at a time, for {steps:,} batches")
        return BlockBatches(homes, makers, batch_size, steps, seed), lines
    supplies: list[Source] = []
    for home in homes:
        supply = WeightedMixture(home.sources, home.weights)
        supplies.append(LengthBuckets(supply, batch_size, home.pool, seed) if home.pool > 1 else supply)
    return SizeBatches(tuple(supplies), tuple(sum(home.weights) for home in homes), batch_size), lines


_SizeShare = tuple[Fraction, Fraction]
"""The share of a size among all samples, and the largest share of one of its crops."""

_Group = tuple[Size, tuple[Size, ...]]
"""A size, and the sizes whose crops are trained at it."""


@dataclass(frozen=True)
class _Part:
    """A source in a mixture.

    Attributes:
        weight: its share of all samples.
        counts: how many of its crops have each size; if they are rendered during training, of the first ``SAMPLED``.
        rate: the share of one of its crops among all samples.
    """

    source: Source
    weight: Fraction
    counts: Counter[Size]
    rate: Fraction

    def share(self, sizes: Collection[Size]) -> Fraction:
        """The share of its crops of these sizes among all samples."""
        return self.weight * sum(self.counts[size] for size in sizes) / self.counts.total()


def _measure(source: Source, weight: Fraction, block: int) -> _Part:
    """A part and its sizes; ``block``: how many samples of a mixture are made at a time if some are rendered."""
    if isinstance(source, SizedSource):
        counts = Counter(source.count_sizes())
        return _Part(source, weight, counts, weight / counts.total())
    counts = Counter(_size_of(source.sample(number)) for number in range(SAMPLED))
    return _Part(source, weight, counts, Fraction(1, block))


def _tally_sizes(parts: Sequence[_Part]) -> dict[Size, _SizeShare]:
    sizes = {size for part in parts for size in part.counts}
    return {
        size: (
            sum((part.share([size]) for part in parts), Fraction(0)),
            max(part.rate for part in parts if size in part.counts),
        )
        for size in sizes
    }


def _make_homes(
    parts: Sequence[_Part],
    groups: Sequence[_Group],
    sizes: Mapping[Size, _SizeShare],
    batch_size: int,
    pool: int,
) -> tuple[_Home, ...]:
    whole = lcm(*(part.weight.denominator * part.counts.total() for part in parts))
    homes = []
    for stream, (size, kept) in enumerate(groups):
        numbers = tuple(number for number, part in enumerate(parts) if any(part.counts[each] for each in kept))
        sources = tuple(_keep(parts[number].source, kept, stream, size) for number in numbers)
        weights = tuple(int(whole * parts[number].share(kept)) for number in numbers)
        twice = sum(sizes[each][0] for each in kept) / (batch_size * max(sizes[each][1] for each in kept))
        homes.append(_Home(size, numbers, sources, weights, max(1, min(pool, int(twice)))))
    return tuple(homes)


def _keep(source: Source, kept: Collection[Size], stream: int, size: Size) -> Source:
    """A source of the crops of the sizes ``kept``, stretched to ``size``; one that is rendered stays as it is."""
    return _Stretched(source.keep_sizes(kept, stream), size) if isinstance(source, SizedSource) else source


def _size_of(sample: Sample) -> Size:
    height, width, _ = sample[0].shape
    return height, width


def _group(sizes: Mapping[Size, _SizeShare], batch_size: int) -> list[_Group]:
    """Group neighboring sizes, each group with a home among them; return (home, sizes) from narrow to wide.

    Among all groupings in which each group has enough crops for its batches, the one that stretches least is chosen by
    dynamic programming: it minimizes the sum over all samples of the squared logarithm of the stretching factor.

    Args:
        sizes: all sizes of crops.
        batch_size: crops per step.
    """
    own = sorted(sizes, key=by_shape)
    shares, rates = ([sizes[size][which] for size in own] for which in (0, 1))
    logs = np.array([log(by_shape(size)[0]) for size in own])
    costs = (logs[:, None] - logs) ** 2 * np.array(shares, float)  # of training all crops of a column at a row's size
    best: list[tuple[float, int, int]] = [(0.0, 0, 0)]  # for the first n sizes: cost, start and home of the last group
    for end in range(1, len(own) + 1):
        options = [(inf, 0, 0)]
        for start in range(end):
            if sum(shares[start:end]) >= min(batch_size * max(rates[start:end]), LARGE):
                within = costs[start:end, start:end].sum(1)
                home = int(within.argmin())
                options.append((best[start][0] + float(within[home]), start, start + home))
        best.append(min(options))
    groups = []
    end = len(own)
    while end:
        _, start, home = best[end]
        groups.append((own[home], tuple(own[start:end])))
        end = start
    return groups[::-1]


def _describe(groups: Sequence[_Group], sizes: Mapping[Size, _SizeShare], known: Sequence[Counter[Size]]) -> str:
    told = [f"{height}x{width} {float(sum(sizes[each][0] for each in kept)):.1%}" for (height, width), kept in groups]
    moved = {each: size for size, kept in groups for each in kept if each != size}
    if not (count := sum(own[each] for own in known for each in moved)):
        return f"batches of one size: {', '.join(told)}"
    ratios = [by_shape(each)[0] / by_shape(size)[0] for each, size in moved.items() if any(own[each] for own in known)]
    most = max(max(ratio, 1 / ratio) for ratio in ratios)
    return (
        f"batches of one size: {', '.join(told)}; {count:,} crops of rare sizes are stretched to the nearest, up to "
        f"{most:.1f} times"
    )
