"""Crops of several widths, after the multi-size resizing of SVTRv2 (arXiv 2411.15858, section 3.2).

Where a model has a widest crop, a picture that is longer than its usual crop keeps its shape instead of being squeezed,
up to that width; a step of the network sees crops of one width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

STEP = 32  # pixels between one width and the next


def width_for(aspect: float, height: int, width: int, widest: int) -> int:
    """The width of the crop of a picture, in pixels.

    Args:
        aspect: width over height of the picture.
        height, width: of the usual crop, which also shorter pictures are stretched to.
        widest: of all crops; ``width`` plus a multiple of ``STEP``. 0 = all are of the usual width.
    """
    if widest <= width:
        return width
    steps = round((height * aspect - width) / STEP)
    return min(max(width + steps * STEP, width), widest)


def fits(shape: Sequence[int], height: int, width: int, widest: int) -> bool:
    """Whether crops (..., h, w, 3) are of a size that the model reads."""
    high, wide, channels = shape[-3:]
    allowed = range(width, max(width, widest) + 1, STEP)
    return (high, channels) == (height, 3) and wide in allowed


def by_width(crops: Iterable[np.ndarray], size: int) -> Iterator[tuple[list[int], UInt8[np.ndarray, "b h w 3"]]]:
    """Batches of up to ``size`` crops of one width, narrow ones first, with the places of their crops."""
    widths: dict[int, list[tuple[int, np.ndarray]]] = {}
    for place, crop in enumerate(crops):
        widths.setdefault(crop.shape[1], []).append((place, crop))
    for width in sorted(widths):
        for start in range(0, len(widths[width]), size):
            some = widths[width][start : start + size]
            yield [place for place, _ in some], np.stack([crop for _, crop in some])


@dataclass(frozen=True)
class Ragged:
    """Crops (h, own width, 3) in memory, indexed as an array of them is."""

    crops: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
        return self.crops[row]

    def choose(self, rows: np.ndarray) -> Ragged:
        """Some crops, in the order given."""
        return Ragged([self.crops[row] for row in rows])
