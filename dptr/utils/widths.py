"""Crops of several widths, after the multi-size resizing of SVTRv2 (arXiv 2411.15858, section 3.2).

A model with a ``max_width`` reads a picture that is longer than its usual crop in a wider crop instead of squeezing it;
each batch of the network holds crops of one width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

WIDTH_STEP = 32  # pixels between one width and the next


def crop_width(aspect: float, height: int, width: int, max_width: int) -> int:
    """The width of the crop of a picture, in pixels.

    Args:
        aspect: width of the picture divided by its height.
        height, width: size of the usual crop in pixels; shorter pictures are stretched to it.
        max_width: width of the widest crop, ``width`` plus a multiple of ``WIDTH_STEP``; 0 = all crops are ``width``
            wide.
    """
    if max_width <= width:
        return width
    steps = round((height * aspect - width) / WIDTH_STEP)
    return min(max(width + steps * WIDTH_STEP, width), max_width)


def is_valid_size(shape: Sequence[int], height: int, width: int, max_width: int) -> bool:
    """Whether crops of ``shape`` (..., h, w, 3) have a size that the model reads; sizes as in ``crop_width``."""
    crop_height, own_width, channels = shape[-3:]
    allowed = range(width, max(width, max_width) + 1, WIDTH_STEP)
    return (crop_height, channels) == (height, 3) and own_width in allowed


def group_by_width(
    crops: Iterable[np.ndarray], batch_size: int
) -> Iterator[tuple[list[int], UInt8[np.ndarray, "b h w 3"]]]:
    """Yield batches of at most ``batch_size`` crops of one width, narrow ones first, with the indices of the crops."""
    group_by_width: dict[int, list[tuple[int, np.ndarray]]] = {}
    for index, crop in enumerate(crops):
        group_by_width.setdefault(crop.shape[1], []).append((index, crop))
    for width in sorted(group_by_width):
        for start in range(0, len(group_by_width[width]), batch_size):
            batch = group_by_width[width][start : start + batch_size]
            yield [index for index, _ in batch], np.stack([crop for _, crop in batch])


@dataclass(frozen=True)
class VariableWidthCrops:
    """Crops (h, own width, 3) in memory, indexed as an array of them is."""

    crops: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        return self.crops[row]

    def choose(self, rows: np.ndarray) -> VariableWidthCrops:
        """The crops at ``rows``, in that order."""
        return VariableWidthCrops([self.crops[row] for row in rows])
