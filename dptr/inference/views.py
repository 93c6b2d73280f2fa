"""The views of a picture: as it is, changed a little (test-time augmentation), and turned where it is tall.

A reader reads every view; ``choose_view`` says which of the readings counts. Views come in a fixed order: first all
changes of the upright picture, then all changes of it turned by 90 degrees clockwise, then by 270. How many changes
help, and in which order, was chosen on validation crops (docs/LOG.md). A picture that is not tall is also read upside
down where its reading is doubtful (``read_views``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter, ImageOps

from dptr.utils.resize import fit, turn_tall
from dptr.utils.sizes import Sizes, group_by_size

Change = Callable[[Image.Image], Image.Image]

ORIENTATIONS = 0, 90, 270  # degrees clockwise
UPSIDE_DOWN = 180

DOUBTFUL = 0.85  # geometric mean of the probabilities of characters and end, below which a picture may be upside down
SURER = 0.5  # by how much more the probability of a reading must be upside down; both chosen on validation crops

_REDUCE_ABOVE = 4  # times the height and width of a crop: larger pictures are shrunk before they are changed
_SHORTEN_ABOVE = 64  # times a side of a crop: that side alone is shrunk, for changes add a share of it on all sides


class ViewReading(Protocol):
    """What was read in one view, as far as the choice needs it."""

    @property
    def text(self) -> str: ...

    @property
    def product(self) -> float:
        """0 to 1, of the probabilities of its characters and its end."""

    @property
    def runaway(self) -> bool:
        """Whether it repeats itself up to the model's longest word."""


Reading = TypeVar("Reading", bound=ViewReading)
Output = TypeVar("Output")


def make_views(
    image: Image.Image, tta: int, turn: bool, size: Sizes
) -> list[UInt8[np.ndarray, "own_height own_width 3"]]:
    """The crops that a picture is read from.

    Args:
        image: RGB.
        tta: how many of ``CHANGES`` to read, 1 to ``len(CHANGES)``.
        turn: whether to read a tall picture (``dptr.utils.resize.turn_tall``) turned as well.
        size: of the crops that the model reads.

    Returns:
        ``tta`` crops of each orientation, in the order of this module.
    """

    def crops(upright: Image.Image) -> list[np.ndarray]:
        return [fit(view, size) for view in change_image(upright, tta, size.height, size.width)]

    # By map, which lets go of a turned picture before the next one is made: a picture may be large.
    return list(chain.from_iterable(map(crops, chain([image], turn_tall(image) if turn else ()))))


def view_orientation(view: int, tta: int = 1) -> int:
    """By how many degrees clockwise the view of that index is turned: 0, 90 or 270."""
    return ORIENTATIONS[view // tta]


def choose_view(readings: Sequence[ViewReading], tta: int = 1) -> int:
    """The index of the view whose reading counts: the most confident one, the earlier of equals.

    Confidence is that before calibration. The first view counts unless a later one is more confident. A later reading
    cannot count if it is a runaway, nor if its view is turned and it has fewer than two characters: one tall letter
    turned is a dash.

    Args:
        readings: one a view, in the order of this module; at least one.
        tta: how many views there are of each orientation.
    """
    best = 0
    for view in range(1, len(readings)):
        reading = readings[view]
        possible = not reading.runaway and (view_orientation(view, tta) == 0 or len(reading.text) > 1)
        if possible and reading.product > readings[best].product:
            best = view
    return best


def is_doubtful(reading: ViewReading) -> bool:
    """Whether it is so unlikely, by character (``DOUBTFUL``) and as a whole, that one upside down could be surer."""
    mean = reading.product ** (1 / (len(reading.text) + 1))
    return mean < DOUBTFUL and reading.product < 1 - SURER


def read_views(
    views: Sequence[Sequence[np.ndarray]],
    read: Callable[[Sequence[np.ndarray]], Sequence[Reading]],
    tta: int = 1,
    turn: bool = True,
) -> list[tuple[Reading, int]]:
    """Read pictures in all their views, and upside down where that may help.

    Of its views the most confident counts (``choose_view``). A picture without turned views whose reading is doubtful
    (``is_doubtful``) is read again upside down. That reading counts if its probability is higher by ``SURER``, it has
    two characters or more, and it is no runaway: displays read 50 as well as 05, and a dash is a tall letter.

    Args:
        views: of each picture (``make_views``).
        read: crops of several sizes to readings.
        turn: whether to read doubtful pictures upside down.

    Returns:
        The reading of each picture, and by how many degrees its view was turned.
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
        surer = reading.product > chosen[place][0].product + SURER
        if surer and not reading.runaway and len(reading.text) > 1:
            chosen[place] = reading, UPSIDE_DOWN
    return chosen


def read_by_size(
    crops: Iterable[np.ndarray], batch_size: int, read: Callable[[np.ndarray], Sequence[Output]]
) -> list[Output]:
    """Read crops whose sizes may differ, those of one size together.

    Args:
        crops: uint8 (own height, own width, 3) each.
        batch_size: how many crops ``read`` gets at most.
        read: crops (n, height, width, 3) to n readings.

    Returns:
        A reading a crop, in the order of the crops.
    """
    readings: dict[int, Output] = {}
    for indices, batch in group_by_size(crops, batch_size):
        readings.update(zip(indices, read(batch), strict=True))
    return [readings[index] for index in range(len(readings))]


def change_image(image: Image.Image, count: int, height: int, width: int) -> Iterator[Image.Image]:
    """An RGB picture as each of the first ``count`` of ``CHANGES`` makes it, for crops of ``height`` x ``width``."""
    yield image
    if count == 1:
        return
    both = min(image.height // (_REDUCE_ABOVE * height), image.width // (_REDUCE_ABOVE * width))
    factors = (
        max(1, both, image.width // (_SHORTEN_ABOVE * width)),
        max(1, both, image.height // (_SHORTEN_ABOVE * height)),
    )
    smaller = image.reduce(factors) if factors != (1, 1) else image
    for change in CHANGES[1:count]:
        yield change(smaller)


def _keep(image: Image.Image) -> Image.Image:
    return image


def _pad(image: Image.Image) -> Image.Image:
    """A tenth of the height more on all sides: words that fill the crop, or are cut too narrow."""
    return _extend_edges(image, _share_of_height(image, 0.1), _share_of_height(image, 0.1))


def _lengthen(image: Image.Image) -> Image.Image:
    """0.15 of the height more to the left and to the right."""
    return _extend_edges(image, 0, _share_of_height(image, 0.15))


def _slant(image: Image.Image) -> Image.Image:
    """Slanted by 0.15, about 9 degrees, to the right."""
    slope, height = 0.15, image.height
    wide = _extend_edges(image, 0, _share_of_height(image, slope / 2))
    sheared = wide.transform(
        wide.size, Image.Transform.AFFINE, (1, slope, -slope * height / 2, 0, 1, 0), Image.Resampling.BICUBIC
    )
    margin = (wide.width - image.width) // 2  # where shearing brings in nothing
    return sheared.crop((margin, 0, wide.width - margin, height))


def _blur(image: Image.Image) -> Image.Image:
    """Blurred by two thirds of a pixel of 32 rows."""
    return image.filter(ImageFilter.GaussianBlur(image.height / 48))


CHANGES: tuple[Change, ...] = (_keep, _pad, ImageOps.invert, _lengthen, _slant, _blur)
"""What test-time augmentation does to an RGB picture; the first change is none."""


def _share_of_height(image: Image.Image, share: float) -> int:
    """In pixels, at least 1."""
    return max(1, round(share * image.height))


def _extend_edges(image: Image.Image, rows: int, columns: int) -> Image.Image:
    """Repeat the pixels of the border, ``rows`` times above and below, ``columns`` times on either side."""
    pixels: UInt8[np.ndarray, "h w 3"] = np.asarray(image)
    return Image.fromarray(np.pad(pixels, ((rows, rows), (columns, columns), (0, 0)), mode="edge"))
