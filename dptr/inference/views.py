"""The views of a picture: unchanged, slightly changed (test-time augmentation), and turned if it is tall.

A reader reads every view, and ``choose_view`` chooses between the readings. The views have a fixed order: first all
changes of the upright picture, then all changes of it turned by 90 degrees clockwise, then by 270. The number and the
order of the changes were chosen on validation crops (docs/LOG.md). A picture that is not tall is also read upside down
if its reading is doubtful (``read_views``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter, ImageOps

from dptr.utils.resize import fit, shrink_huge, turn_tall
from dptr.utils.sizes import Sizes, group_by_size

Change = Callable[[Image.Image], Image.Image]

ORIENTATIONS = 0, 90, 270  # degrees clockwise
UPSIDE_DOWN = 180

# Both chosen on validation crops.
DOUBTFUL = 0.85  # a lower geometric mean of the probabilities of characters and end is doubtful
SURER = 0.5  # an upside-down reading counts if its probability is higher by this

_REDUCE_ABOVE = 4  # pictures with more than this many times both sides of a crop are shrunk before they are changed
_SHORTEN_ABOVE = 64  # a side longer than this many times that of a crop is shrunk alone, since changes pad all sides


class ViewReading(Protocol):
    """The reading of one view, as far as the choice needs it."""

    @property
    def text(self) -> str: ...

    @property
    def product(self) -> float:
        """The product of the probabilities of its characters and its end, 0 to 1."""

    @property
    def runaway(self) -> bool:
        """Whether it repeats itself up to the longest word of the model."""


Reading = TypeVar("Reading", bound=ViewReading)
Output = TypeVar("Output")


def make_views(
    image: Image.Image, tta: int, turn: bool, size: Sizes
) -> list[UInt8[np.ndarray, "own_height own_width 3"]]:
    """The crops to read of a picture.

    Args:
        image: RGB.
        tta: the number of ``CHANGES`` to read, 1 to ``len(CHANGES)``.
        turn: whether to also read a tall picture (``dptr.utils.resize.turn_tall``) turned.
        size: of the crops that the model reads.

    A huge picture is averaged down first (``dptr.utils.resize.shrink_huge``).

    Returns:
        ``tta`` crops of each orientation, in the order of this module.
    """

    def crops(upright: Image.Image) -> list[np.ndarray]:
        return [fit(view, size) for view in change_image(upright, tta, size.height, size.width)]

    moderate = shrink_huge(image)
    # ``map`` frees each turned picture before the next one is made, since a picture may be large.
    return list(chain.from_iterable(map(crops, chain([moderate], turn_tall(moderate) if turn else ()))))


def view_orientation(view: int, tta: int = 1) -> int:
    """The degrees clockwise by which the view of an index is turned: 0, 90, or 270."""
    return ORIENTATIONS[view // tta]


def choose_view(readings: Sequence[ViewReading], tta: int = 1) -> int:
    """The index of the most confident view, by the uncalibrated confidence; of equal ones, the first.

    A later view must not be a runaway. If it is turned, its reading must have at least two characters, since a single
    tall letter looks like a dash when turned.

    Args:
        readings: one per view, in the order of this module; at least one.
        tta: the number of views of each orientation.
    """
    best = 0
    for view in range(1, len(readings)):
        reading = readings[view]
        is_possible = not reading.runaway and (view_orientation(view, tta) == 0 or len(reading.text) > 1)
        if is_possible and reading.product > readings[best].product:
            best = view
    return best


def is_doubtful(reading: ViewReading) -> bool:
    """Whether a reading is so unlikely, per character (``DOUBTFUL``) and as a whole, that the picture may be upside
    down."""
    mean = reading.product ** (1 / (len(reading.text) + 1))
    return mean < DOUBTFUL and reading.product < 1 - SURER


def read_views(
    views: Sequence[Sequence[np.ndarray]],
    read: Callable[[Sequence[np.ndarray]], Sequence[Reading]],
    tta: int = 1,
    turn: bool = True,
) -> list[tuple[Reading, int]]:
    """Read all views of pictures, and read pictures upside down if that may help.

    The most confident view counts (``choose_view``). A picture without turned views whose reading is doubtful
    (``is_doubtful``) is read again upside down. That reading counts if its probability is higher by ``SURER``, it has
    at least two characters, and it is not a runaway. The rules are strict, since 50 on a display is 05 upside down, and
    a dash may be a tall letter.

    Args:
        views: of each picture (``make_views``).
        read: reads crops of several sizes.
        turn: whether to read doubtful pictures upside down.

    Returns:
        The reading of each picture, and the degrees by which its view was turned.
    """
    flat = iter(read([crop for crops in views for crop in crops]))
    chosen = []
    for crops in views:
        readings = list(islice(flat, len(crops)))
        view = choose_view(readings, tta)
        chosen.append((readings[view], view_orientation(view, tta)))
    if not turn:
        return chosen
    doubtful = [place for place, crops in enumerate(views) if len(crops) == tta and is_doubtful(chosen[place][0])]
    upside_down = read([np.ascontiguousarray(views[place][0][::-1, ::-1]) for place in doubtful]) if doubtful else ()
    for place, reading in zip(doubtful, upside_down, strict=True):
        is_surer = reading.product > chosen[place][0].product + SURER
        if is_surer and not reading.runaway and len(reading.text) > 1:
            chosen[place] = reading, UPSIDE_DOWN
    return chosen


def read_by_size(
    crops: Iterable[np.ndarray], batch_size: int, read: Callable[[np.ndarray], Sequence[Output]]
) -> list[Output]:
    """Read crops of several sizes; crops of one size share batches.

    Args:
        crops: uint8 (own height, own width, 3) each.
        batch_size: the largest number of crops passed to ``read``.
        read: maps crops (n, height, width, 3) to n readings.

    Returns:
        A reading per crop, in the order of the crops.
    """
    readings: dict[int, Output] = {}
    for indices, batch in group_by_size(crops, batch_size):
        readings.update(zip(indices, read(batch), strict=True))
    return [readings[index] for index in range(len(readings))]


def change_image(image: Image.Image, count: int, height: int, width: int) -> Iterator[Image.Image]:
    """Apply each of the first ``count`` ``CHANGES`` to an RGB picture, for crops of ``height`` x ``width``."""
    yield image
    if count == 1:
        return
    joint_factor = min(image.height // (_REDUCE_ABOVE * height), image.width // (_REDUCE_ABOVE * width))
    factors = (
        max(1, joint_factor, image.width // (_SHORTEN_ABOVE * width)),
        max(1, joint_factor, image.height // (_SHORTEN_ABOVE * height)),
    )
    reduced = image.reduce(factors) if factors != (1, 1) else image
    for change in CHANGES[1:count]:
        yield change(reduced)


def _keep(image: Image.Image) -> Image.Image:
    return image


def _pad(image: Image.Image) -> Image.Image:
    """Add a tenth of the height on all sides, for words that fill the crop or were cut too tightly."""
    return _extend_edges(image, _share_of_height(image, 0.1), _share_of_height(image, 0.1))


def _lengthen(image: Image.Image) -> Image.Image:
    """Add 0.15 of the height on the left and on the right."""
    return _extend_edges(image, 0, _share_of_height(image, 0.15))


def _slant(image: Image.Image) -> Image.Image:
    """Slant the picture by 0.15, about 9 degrees, to the right."""
    slope, height = 0.15, image.height
    padded = _extend_edges(image, 0, _share_of_height(image, slope / 2))
    sheared = padded.transform(
        padded.size, Image.Transform.AFFINE, (1, slope, -slope * height / 2, 0, 1, 0), Image.Resampling.BICUBIC
    )
    margin = (padded.width - image.width) // 2  # columns that shearing leaves empty
    return sheared.crop((margin, 0, padded.width - margin, height))


def _blur(image: Image.Image) -> Image.Image:
    """Blur with a standard deviation of two thirds of a pixel, if the picture had 32 rows."""
    return image.filter(ImageFilter.GaussianBlur(image.height / 48))


CHANGES: tuple[Change, ...] = (_keep, _pad, ImageOps.invert, _lengthen, _slant, _blur)
"""The changes of test-time augmentation to an RGB picture; the first one keeps it as it is."""


def _share_of_height(image: Image.Image, share: float) -> int:
    """A share of the height, in pixels, at least 1."""
    return max(1, round(share * image.height))


def _extend_edges(image: Image.Image, rows: int, columns: int) -> Image.Image:
    """Repeat the border pixels ``rows`` times above and below, and ``columns`` times on the left and the right."""
    pixels: UInt8[np.ndarray, "h w 3"] = np.asarray(image)
    return Image.fromarray(np.pad(pixels, ((rows, rows), (columns, columns), (0, 0)), mode="edge"))
