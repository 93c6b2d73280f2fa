"""The sizes of crops, after the multi-size resizing of SVTRv2 (arXiv 2411.15858, section 3.2).

A model of one size stretches every picture to this size. A model of several sizes stretches each picture to the size
whose aspect ratio is nearest to the picture's; a batch of the network holds crops of one size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

Size: TypeAlias = tuple[int, int]  # height and width in pixels

WIDTH_STEP = 32  # pixels between one width and the next
HEIGHT_STEP = 8  # heights are multiples of this, widths of half of this: strides of 16 and 4 then need little padding


def by_shape(size: Size) -> tuple[float, int]:
    """A key that sorts sizes by width / height, from tall and narrow to wide."""
    return size[1] / size[0], size[0]


class Sizes:
    """The sizes of crops that a model reads or a renderer draws.

    Attributes:
        height, width: of the usual crop, in pixels.
        max_width: of the widest crop, in pixels; 0 or ``width`` = no crop is wider than the usual one.
        sizes: height and width of further crops, for pictures of smaller aspect ratio.
        stretch: factor on the aspect ratio of each picture. Above 1, letters are wider in a crop than in the picture. A
            network with a token for every few pixels of the width then has more tokens for each letter.
    """

    height: int
    width: int
    max_width: int
    sizes: tuple[Size, ...]
    stretch: float

    @property
    def longest(self) -> float:
        """The aspect ratio, width / height, of the longest picture that is not squeezed."""
        height, width = self.every[-1]
        return width / height / self.stretch

    @property
    def every(self) -> tuple[Size, ...]:
        """All sizes (height, width), from narrow to wide."""
        wide = range(self.width, max(self.width, self.max_width) + 1, WIDTH_STEP)
        return tuple(sorted([*self.sizes, *((self.height, width) for width in wide)], key=by_shape))

    def choose(self, aspect: float) -> Size:
        """The size (height, width) whose aspect ratio is nearest to that of a picture, times ``stretch``.

        With SVTRv2's sizes 64x64, 48x96, 40x112 and 32x128, the choice changes at its thresholds up to rounding: 1.5,
        2.4, 3.4.

        Args:
            aspect: width of the picture divided by its height.
        """
        aspect = aspect * self.stretch
        steps = round((self.height * aspect - self.width) / WIDTH_STEP)
        width = min(max(self.width + steps * WIDTH_STEP, self.width), max(self.width, self.max_width))
        candidates: list[Size] = [(self.height, width), *self.sizes]
        return min(candidates, key=lambda size: abs(size[1] / size[0] - aspect))

    def holds(self, shape: Sequence[int]) -> bool:
        """Whether crops of ``shape`` (..., h, w, 3) have one of the sizes."""
        return shape[-1] == 3 and tuple(shape[-3:-1]) in self.every

    def __str__(self) -> str:
        """The sizes for messages, such as ``64x64, 48x96, 32x128 to 32x640``."""
        longest = f" to {self.height}x{self.max_width}" if self.max_width > self.width else ""
        first = [f"{height}x{width}" for height, width in sorted(self.sizes, key=by_shape)]
        stretched = f", pictures {self.stretch:g} times as wide" if self.stretch != 1 else ""
        return ", ".join([*first, f"{self.height}x{self.width}{longest}"]) + stretched


@dataclass(frozen=True)
class CropSizes(Sizes):
    """``Sizes`` as a dataclass, for a model that is loaded for reading.

    Raises:
        ValueError: see ``check_sizes``.
    """

    height: int
    width: int
    max_width: int = 0
    sizes: tuple[Size, ...] = ()
    stretch: float = 1.0

    def __post_init__(self) -> None:
        check_sizes(self.height, self.width, self.max_width, self.sizes)


def check_sizes(height: int, width: int, max_width: int, sizes: Sequence[Size]) -> None:
    """Check the sizes of crops: ``Sizes`` explains the arguments.

    Raises:
        ValueError: ``max_width`` is not ``width`` plus a multiple of ``WIDTH_STEP``; or one of ``sizes`` is no multiple
            of ``HEIGHT_STEP`` (half of it for the width), is not higher than ``height``, or has no smaller aspect ratio
            than ``width`` / ``height``; or two of them have the same aspect ratio.
    """
    if max_width and (max_width < width or (max_width - width) % WIDTH_STEP):
        raise ValueError(
            f"max_width = {max_width}: crops grow from width = {width} in steps of {WIDTH_STEP} pixels; set it to 0 or "
            f"to one of {', '.join(str(width + n * WIDTH_STEP) for n in (1, 2, 3))}, ..."
        )
    for high, wide in sizes:
        if high % HEIGHT_STEP or wide % (HEIGHT_STEP // 2):
            raise ValueError(
                f"sizes: {high}x{wide} is not a multiple of {HEIGHT_STEP}x{HEIGHT_STEP // 2} pixels; choose another"
            )
        if high <= height or wide * height >= width * high:
            raise ValueError(
                f"sizes: {high}x{wide} is not both higher and less long than {height}x{width}; longer pictures have "
                "max_width; leave it out"
            )
    if len({wide / high for high, wide in sizes}) < len(sizes):
        raise ValueError(f"sizes: two of {list(map(list, sizes))} have one shape; leave one out")


def group_by_size(
    crops: Iterable[np.ndarray], batch_size: int
) -> Iterator[tuple[list[int], UInt8[np.ndarray, "b h w 3"]]]:
    """Group crops by size; yield batches of at most ``batch_size`` crops, with their indices, narrow sizes first."""
    groups: dict[Size, list[tuple[int, np.ndarray]]] = {}
    for index, crop in enumerate(crops):
        groups.setdefault((crop.shape[0], crop.shape[1]), []).append((index, crop))
    for size in sorted(groups, key=by_shape):
        for start in range(0, len(groups[size]), batch_size):
            batch = groups[size][start : start + batch_size]
            yield [index for index, _ in batch], np.stack([crop for _, crop in batch])


@dataclass(frozen=True)
class VariableSizeCrops:
    """Crops of several sizes in memory, uint8 (h, w, 3), indexed like an array of crops."""

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
