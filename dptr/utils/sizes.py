"""Crops of several sizes: grouped into batches of one size, kept in memory, brought to one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

Size: TypeAlias = tuple[int, int]  # height and width in pixels


def by_shape(size: Size) -> tuple[float, int]:
    """A key that sorts sizes from high and narrow to low and wide."""
    return size[1] / size[0], size[0]


def group_by_size(
    crops: Iterable[np.ndarray], batch_size: int
) -> Iterator[tuple[list[int], UInt8[np.ndarray, "b h w 3"]]]:
    """Yield batches of at most ``batch_size`` crops of one size, narrow ones first, with the indices of the crops."""
    groups: dict[Size, list[tuple[int, np.ndarray]]] = {}
    for index, crop in enumerate(crops):
        groups.setdefault((crop.shape[0], crop.shape[1]), []).append((index, crop))
    for size in sorted(groups, key=by_shape):
        for start in range(0, len(groups[size]), batch_size):
            batch = groups[size][start : start + batch_size]
            yield [index for index, _ in batch], np.stack([crop for _, crop in batch])


def median_size(sizes: Sequence[Size]) -> Size:
    """The middle one from narrow to wide; of two the wider."""
    return sorted(sizes, key=by_shape)[len(sizes) // 2]


@dataclass(frozen=True)
class VariableSizeCrops:
    """Crops (own height, own width, 3) in memory, indexed as an array of them is."""

    crops: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        return self.crops[row]

    def choose(self, rows: np.ndarray) -> VariableSizeCrops:
        """The crops at ``rows``, in that order."""
        return VariableSizeCrops([self.crops[row] for row in rows])

    def sizes(self) -> list[Size]:
        """Height and width of each crop."""
        return [(crop.shape[0], crop.shape[1]) for crop in self.crops]
