"""Map sample n of a training to a row: chunks are shuffled in each epoch, and rows within windows of chunks.

The seed and the epoch determine the order of the chunks. That order is divided into windows of some thousand rows, and
seed, epoch, and window determine the order of the rows in a window.

A sample is therefore a function of the seed and n alone. Each used row appears exactly once in an epoch, training can
resume at any sample, and any number of processes can share the samples. Consecutive samples come from few chunks, so
files are read almost sequentially.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Int

from dptr.utils.permutations import seeded_order

_CACHE_SIZE = 2  # windows, and epochs: the latest and the one before


@dataclass(frozen=True)
class _Epoch:
    order: Int[np.ndarray, " chunks"]  # shuffled chunk numbers
    begins: Int[np.ndarray, " chunks"]  # rows, used or not, before each chunk
    ends: Int[np.ndarray, " chunks"]  # used rows up to the end of each chunk


@dataclass(frozen=True)
class _Window:
    epoch: int
    first: int  # the epoch's sample that the window begins with
    places: Int[np.ndarray, "n 2"]  # chunk and row of each sample in the window


@dataclass(frozen=True, eq=False)
class EpochOrder:
    """The order of samples.

    Args:
        rows: number of rows in each chunk.
        counts: number of used rows in each chunk; the sum is above 0.
        used: returns the used rows of a chunk, given its number.
        seed: of both shuffles.
        window: approximate number of rows that are shuffled together; a chunk is never split.
        stream: another value shuffles the rows of windows differently; the order of chunks stays the same.
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
        """Number of samples in an epoch."""
        return int(self.counts.sum())

    def locate(self, index: int) -> tuple[int, int]:
        """Chunk and row of the sample at ``index`` >= 0, counted over all epochs."""
        for window in self._windows:
            position = index - window.epoch * self.length - window.first
            if 0 <= position < len(window.places):
                break
        else:
            epoch, position = divmod(index, self.length)
            window = self._open_window(epoch, position)
            position -= window.first
        chunk, row = window.places[position]
        return int(chunk), int(row)

    def _open_window(self, epoch: int, sample: int) -> _Window:
        """The window that contains a sample of an epoch."""
        if epoch not in self._epochs:
            if len(self._epochs) == _CACHE_SIZE:
                del self._epochs[min(self._epochs)]
            order = seeded_order(self.seed, epoch, len(self.rows))
            rows = self.rows[order]
            self._epochs[epoch] = _Epoch(order, np.cumsum(rows) - rows, np.cumsum(self.counts[order]))
        chunk_order = self._epochs[epoch]
        number = int(chunk_order.begins[np.searchsorted(chunk_order.ends, sample, "right")]) // self.window
        low, high = np.searchsorted(chunk_order.begins, [number * self.window, (number + 1) * self.window])
        first = int(chunk_order.ends[low - 1]) if low else 0
        chunks = chunk_order.order[low:high]
        places = np.empty((int(chunk_order.ends[high - 1]) - first, 2), np.int64)
        places[:, 0] = np.repeat(chunks, self.counts[chunks])
        places[:, 1] = np.concatenate([self.used(int(chunk)) for chunk in chunks])
        key = [self.seed + (self.stream << 48), 1 << 63 | epoch << 32 | number]
        window = _Window(epoch, first, np.random.Generator(np.random.Philox(key=key)).permutation(places))
        self._windows[:] = [*self._windows, window][-_CACHE_SIZE:]
        return window
