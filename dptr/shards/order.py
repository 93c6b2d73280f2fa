"""Which row is sample n: shards in a new order each epoch, rows shuffled within windows of them.

Nothing is kept from sample to sample. Epoch e takes all chunks in an order that seed and e decide. That order is cut
into windows of some thousand rows, and the rows of a window come in an order that seed, e, and the window decide. So
sample n is a function of seed and n, each row that is used comes exactly once an epoch, a run goes on anywhere, and
any number of processes can share the samples; but reading one sample after the other reads one chunk after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from dptr.utils.permutations import seeded_order

_HELD = 2  # windows, and epochs: the last and the one before


@dataclass(frozen=True)
class _Epoch:
    """Chunks in their order."""

    order: Int[np.ndarray, " chunks"]
    begins: Int[np.ndarray, " chunks"]  # rows before each
    ends: Int[np.ndarray, " chunks"]  # used rows up to the end of each


@dataclass(frozen=True)
class _Window:
    epoch: int
    first: int  # sample of the epoch
    places: Int[np.ndarray, "n 2"]  # chunk and row of each sample


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """The order of samples.

    Args:
        rows: of each chunk.
        counts: how many of them are used; their sum is above 0.
        used: which ones, by the number of the chunk.
        seed: of the orders.
        window: rows that are shuffled together, about; a chunk is never cut.
        stream: another one shuffles windows otherwise; the order of chunks is the same.
    """

    rows: Int[np.ndarray, " chunks"]
    counts: Int[np.ndarray, " chunks"]
    used: Callable[[int], Int[np.ndarray, " n"]]
    seed: int
    window: int
    stream: int = 0
    _epochs: dict[int, _Epoch] = field(default_factory=dict, repr=False)
    _windows: list[_Window] = field(default_factory=list, repr=False)

    @cached_property
    def length(self) -> int:
        """Samples of an epoch."""
        return int(self.counts.sum())

    def locate(self, index: int) -> tuple[int, int]:
        """Chunk and row of the sample at ``index`` >= 0 of all epochs."""
        for held in self._windows:
            place = index - held.epoch * self.length - held.first
            if 0 <= place < len(held.places):
                break
        else:
            epoch, place = divmod(index, self.length)
            held = self._open(epoch, place)
            place -= held.first
        chunk, row = held.places[place]
        return int(chunk), int(row)

    def _open(self, epoch: int, place: int) -> _Window:
        """The window with a sample of an epoch."""
        if epoch not in self._epochs:
            if len(self._epochs) == _HELD:
                del self._epochs[min(self._epochs)]
            order = seeded_order(self.seed, epoch, len(self.rows))
            rows = self.rows[order]
            self._epochs[epoch] = _Epoch(order, np.cumsum(rows) - rows, np.cumsum(self.counts[order]))
        held = self._epochs[epoch]
        number = int(held.begins[np.searchsorted(held.ends, place, "right")]) // self.window
        low, high = np.searchsorted(held.begins, [number * self.window, (number + 1) * self.window])
        first = int(held.ends[low - 1]) if low else 0
        chunks = held.order[low:high]
        places = np.empty((int(held.ends[high - 1]) - first, 2), np.int64)
        places[:, 0] = np.repeat(chunks, self.counts[chunks])
        places[:, 1] = np.concatenate([self.used(int(chunk)) for chunk in chunks])
        key = [self.seed + (self.stream << 48), 1 << 63 | epoch << 32 | number]
        opened = _Window(epoch, first, np.random.Generator(np.random.Philox(key=key)).permutation(places))
        self._windows[:] = [*self._windows, opened][-_HELD:]
        return opened
