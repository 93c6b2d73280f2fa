"""Which crops of a step lie together: bins of one size and of words of some lengths, planned by samples (resident.py).

Every step draws a fixed number of crops from each bin, so that all steps have one shape and can be one CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import Image

from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.resize import to_array
from dptr.utils.sizes import Size, Sizes, by_shape

WIDTHS = (160, 192, 224, 256, 320, 384, 512, 640)  # pixels; crops of a width between go to the next one
STRETCH = 4 / 3  # how many times wider the crops of a rare size are made at most
SHORT = 8  # characters: shorter words are decoded apart from longer ones, for few tokens of a batch to be padding
COVERED = 0.998  # share of a bin's words that its longest label is chosen for; longer ones are left out
STEP = 4  # longest labels are multiples of it


@dataclass(frozen=True)
class Census:
    """Crops by height and width in pixels and by length of label in characters; ``shares`` of all draws sum to 1."""

    sizes: Sequence[Size]
    lengths: Sequence[int]
    shares: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Demand:
    """What a step needs: ``batch`` crops, a share of them ``labeled``, ``least`` of each bin; ``most`` are rendered."""

    batch: int
    labeled: float
    least: int
    most: int


@dataclass(frozen=True)
class BinPlan:
    """A bin.

    Attributes:
        size: height and width of its crops in pixels.
        longest: characters of its longest label.
        rows: crops of each step.
        labeled: how many of them are labeled, on average.
        room: how many rendered crops it holds.
    """

    size: Size
    longest: int
    rows: int
    labeled: float
    room: int

    def __str__(self) -> str:
        height, width = self.size
        return f"{height}x{width} to {self.longest} characters {self.rows} ({self.labeled:.1f} labeled)"


@dataclass(frozen=True)
class Plan:
    """All bins, those of one size side by side, shorter words first; and the size at which each size is trained."""

    bins: tuple[BinPlan, ...]
    homes: dict[Size, Size]

    @property
    def groups(self) -> list[list[int]]:
        """The numbers of the bins of each size."""
        groups: dict[Size, list[int]] = {}
        for number, bin in enumerate(self.bins):
            groups.setdefault(bin.size, []).append(number)
        return list(groups.values())

    @property
    def rows(self) -> list[list[int]]:
        """Crops of each step, of the bins of each size."""
        return [[self.bins[number].rows for number in group] for group in self.groups]

    @property
    def room_bytes(self) -> int:
        """Memory for the rendered crops and their labels."""
        return sum(bin.room * (3 * math.prod(bin.size) + 8 * (bin.longest + 2)) for bin in self.bins)

    def place(self, size: Size, length: int) -> int | None:
        """The number of the bin for a crop with ``length`` characters; None: too long for each of its size."""
        home = self.homes[size]
        fitting = (n for n, bin in enumerate(self.bins) if bin.size == home and length <= bin.longest)
        return next(fitting, None)


@dataclass(frozen=True)
class Parcel:
    """Crops for bin ``number``: which they were, pixels, and targets of the bin's longest label + 2 symbols."""

    number: int
    rows: list[int]
    crops: UInt8[np.ndarray, "n h w 3"]
    targets: Int64[np.ndarray, "n t"]


def sort_into_bins(
    plan: Plan, tokenizer: Tokenizer, crops: Sequence[np.ndarray], words: Sequence[str]
) -> tuple[list[Parcel], list[int]]:
    """Crops, stretched to their bin's size, by bin; and which of them are too long for each bin of their size."""
    rows: dict[int, list[int]] = {}
    left_out = []
    for row, (crop, word) in enumerate(zip(crops, words, strict=True)):
        number = plan.place((crop.shape[0], crop.shape[1]), len(word))
        if number is None:
            left_out.append(row)
        else:
            rows.setdefault(number, []).append(row)
    parcels = []
    for number, chosen in rows.items():
        bin = plan.bins[number]
        pixels = np.stack([_stretched(crops[row], bin.size) for row in chosen])
        targets = tokenizer.encode([words[row] for row in chosen], full_length=True)[:, : bin.longest + 2]
        parcels.append(Parcel(number, chosen, pixels, targets))
    return parcels, left_out


def plan_bins(sizes: Sizes, max_length: int, rendered: Census, labeled: Census, demand: Demand) -> Plan:
    """Bins for crops of ``sizes`` and labels of up to ``max_length`` characters.

    A size has a bin for words of up to ``SHORT`` characters and one for longer ones where a step has ``demand.least``
    crops of both, else one. A size that would get fewer crops a step joins the next wider one, if that is at most
    ``STRETCH`` times as wide; else it gets these few.

    Args:
        rendered: a sample.
        labeled: all labeled crops, by how often each is drawn.

    Raises:
        UserError: ``demand.batch`` is too small for so many bins.
    """
    every = [*rendered.sizes, *labeled.sizes]
    lengths = np.array([*rendered.lengths, *labeled.lengths])
    rows = np.concatenate([rendered.shares * (1 - demand.labeled), labeled.shares * demand.labeled]) * demand.batch
    homes = _homes(sizes, every, rows, demand.least)
    at = np.array([homes[size] for size in every])
    limits: list[tuple[Size, int]] = []
    for home in sorted(set(homes.values()), key=by_shape):
        here = (at == home).all(1)
        short = here & (lengths <= SHORT)
        longest = _longest(lengths[here], rows[here], max_length)
        if longest > SHORT and min(rows[short].sum(), rows[here & ~short].sum()) >= demand.least:
            limits.append((home, SHORT))
        limits.append((home, longest))
    bins = tuple(BinPlan(home, longest, 0, 0.0, 0) for home, longest in limits)
    found = [Plan(bins, homes).place(size, length) for size, length in zip(every, lengths.tolist(), strict=True)]
    places = np.array([-1 if place is None else place for place in found])
    return Plan(_with_rows(bins, places, rows, rendered, demand), homes)


def _with_rows(
    bins: Sequence[BinPlan], places: np.ndarray, rows: np.ndarray, rendered: Census, demand: Demand
) -> tuple[BinPlan, ...]:
    """The bins with their crops a step and their room; ``places`` says which bin each crop of the samples is in."""
    count = len(rendered.lengths)
    new, labeled = (
        np.array([rows[part][places[part] == number].sum() for number in range(len(bins))])
        for part in (slice(count), slice(count, None))
    )
    shares = np.array([rendered.shares[places[:count] == number].sum() for number in range(len(bins))])
    rooms = demand.most * (shares + 2 * np.sqrt(shares * (1 - shares) / count) + 1 / count)  # a sample may be off
    dealt = _deal(new + labeled, demand)
    return tuple(
        BinPlan(bin.size, bin.longest, share, min(float(some), share), min(demand.most, math.ceil(room)))
        for bin, share, some, room in zip(bins, dealt, labeled, rooms, strict=True)
    )


def _deal(wanted: np.ndarray, demand: Demand) -> list[int]:
    """Whole numbers near ``wanted``, at least ``demand.least`` each, that sum to the batch."""
    if len(wanted) * demand.least > demand.batch:
        raise UserError(
            f"--batch {demand.batch}: {len(wanted)} bins of at least {demand.least} crops do not fit; raise --batch "
            "or lower --least"
        )
    dealt = np.maximum(np.floor(wanted).astype(int), demand.least)
    while spare := demand.batch - int(dealt.sum()):
        owed = wanted - dealt
        if spare < 0:
            owed[dealt <= demand.least] = np.inf
        dealt[owed.argmax() if spare > 0 else owed.argmin()] += 1 if spare > 0 else -1
    return dealt.tolist()


def _homes(sizes: Sizes, every: Sequence[Size], rows: np.ndarray, least: int) -> dict[Size, Size]:
    """At which size the crops of each size are trained."""
    homes = {size: _planned(size, sizes) for size in sizes.every}
    counts = dict.fromkeys(homes, 0.0)
    for size, count in zip(every, rows.tolist(), strict=True):
        counts[size] += count
    while True:
        held = {home: sum(counts[size] for size in homes if homes[size] == home) for home in homes.values()}
        for home in sorted(held, key=lambda home: (held[home], by_shape(home))):
            if held[home] < least and (target := _neighbor(home, homes, held)):
                homes = {size: target if old == home else old for size, old in homes.items()}
                break
        else:
            return homes


def _planned(size: Size, sizes: Sizes) -> Size:
    """The size itself, or of the widths between the next one of ``WIDTHS``."""
    if size in sizes.sizes:
        return size
    widest = max(sizes.width, sizes.max_width)
    return sizes.height, min(width for width in (sizes.width, *WIDTHS, widest) if size[1] <= width <= widest)


def _neighbor(home: Size, homes: dict[Size, Size], held: dict[Size, float]) -> Size | None:
    """The next wider home, if it is near enough for all crops of this one; for a home without crops any nearest one.

    None is squeezed: the last columns of the widest crops would learn nothing.
    """
    crops = [size for size, old in homes.items() if old == home]

    def stretch(other: Size) -> float:
        return max(abs(math.log(by_shape(other)[0] / by_shape(size)[0])) for size in crops)

    def is_near(other: Size) -> bool:
        return by_shape(other) > by_shape(home) and stretch(other) <= math.log(STRETCH) + 1e-9

    near = [other for other in held if other != home and (not held[home] or is_near(other))]
    return min(near, key=stretch, default=None)


def _longest(lengths: np.ndarray, weights: np.ndarray, max_length: int) -> int:
    """The length that ``COVERED`` of the labels have at most, rounded up; without labels the longest possible."""
    if not weights.sum():
        return max_length
    order = lengths.argsort(kind="stable")
    reached = weights[order].cumsum() >= COVERED * weights.sum()
    length = int(lengths[order][reached.argmax()])
    return min(max_length, STEP * max(1, math.ceil(length / STEP)))


def _stretched(crop: np.ndarray, size: Size) -> np.ndarray:
    return crop if crop.shape[:2] == size else to_array(Image.fromarray(crop), *size)
