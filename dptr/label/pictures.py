"""The pictures of a label set: crops of words, as trainings use them, and the surroundings of a word."""

from __future__ import annotations

import io
import math
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dptr.data.importers.geometry import upright_corners
from dptr.label.item import Item, Photo
from dptr.label.store import Store
from dptr.photo.boxes import FARTHEST
from dptr.photo.inputs import Failure, InputOptions, open_content, open_sheets, parse_pages
from dptr.photo.page import Outline
from dptr.photo.rectify import rectify
from dptr.utils.errors import UserError

KEPT = 4  # decoded photographs in the cache
KEPT_PIXELS = 60_000_000  # in the cache together, unless the last photograph alone has more
AROUND = 2.5  # margin shown on each side of a word, in heights of the word
SIDE = 1600  # pixels; the longer side of a picture of a word's surroundings, at most
WHOLE_SIDE = 2600  # pixels; the longer side of a picture of a whole photograph, at most

Frame = tuple[int, int, int, int]
"""Left, top, right, and bottom of a part of a photograph, in its pixels."""


@dataclass(frozen=True)
class Surroundings:
    """A part of a photograph: a word and its surroundings.

    Attributes:
        image: RGB, scaled down to ``SIDE`` pixels if it is larger.
        frame: the place of the part in the photograph.
    """

    image: Image.Image
    frame: Frame


class Pictures:
    """Opens the photographs of a label set, and caches the most recently used ones. It is safe for threads.

    Args:
        store: the label set.
        most_pixels: the largest photograph to open, in pixels; None = the limit of Pillow's decompression bomb check.
    """

    def __init__(self, store: Store, most_pixels: int | None = None) -> None:
        self._store, self._most_pixels = store, most_pixels
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Image.Image] = OrderedDict()

    def open(self, photo: Photo) -> Image.Image:
        """A photograph, RGB and upright.

        Raises:
            UserError: the file is missing, damaged, or of another size than when its words were found.
        """
        with self._lock:
            if photo.id in self._cache:
                self._cache.move_to_end(photo.id)
                return self._cache[photo.id]
        image = self._decode(photo)
        if image.size != (photo.width, photo.height):
            raise UserError(
                f"{photo.path}: {image.width}x{image.height} pixels now, {photo.width}x{photo.height} when its words "
                "were found; put the former picture back"
            )
        with self._lock:
            self._cache[photo.id] = image
            while len(self._cache) > KEPT or (
                len(self._cache) > 1 and sum(math.prod(each.size) for each in self._cache.values()) > KEPT_PIXELS
            ):
                self._cache.popitem(last=False)
        return image

    def cut(self, item: Item) -> Image.Image:
        """The crop of a word, cut out and straightened: the picture that the page shows and a training uses.

        Raises:
            UserError: the photograph cannot be opened (see ``open``), or the outline cannot be cut out.
        """
        image = self.open(item.photo)
        if not item.outline:
            return image
        outline = np.array(item.outline, np.float64)
        check_outline(item.outline, image.size)
        try:
            return rectify(image, outline).image
        except np.linalg.LinAlgError as error:
            raise UserError(f"word {item.id}: three corners of its box lie on a line; draw it anew") from error

    def surroundings(self, item: Item) -> Surroundings:
        """A word with its surroundings.

        Raises:
            UserError: the photograph cannot be opened; see ``open``.
        """
        image = self.open(item.photo)
        frame = frame_around(item)
        part = image.crop(frame)
        part.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2)
        return Surroundings(part, frame)

    def whole(self, photo: Photo) -> Image.Image:
        """A photograph, RGB, scaled down to ``WHOLE_SIDE`` pixels if it is larger.

        Raises:
            UserError: the photograph cannot be opened; see ``open``.
        """
        image = self.open(photo)
        if max(image.size) <= WHOLE_SIDE:
            return image
        scale = WHOLE_SIDE / max(image.size)
        size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
        return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)

    def _decode(self, photo: Photo) -> Image.Image:
        options = InputOptions(parse_pages(str(photo.number)), most_pixels=self._most_pixels)
        content = self._store.content(photo)
        sheets = open_sheets([photo.path], options) if content is None else open_content(content, photo.path, options)
        (sheet,) = sheets
        if isinstance(sheet, Failure):
            raise sheet.error
        assert sheet.picture is not None, "pages without text of their own are drawn"
        return sheet.picture


def frame_around(item: Item) -> Frame:
    """The part of the photograph that shows a word and its surroundings; the whole photograph without an outline."""
    width, height = item.photo.width, item.photo.height
    if not item.outline:
        return 0, 0, width, height
    xs, ys = zip(*item.outline, strict=True)
    margin = AROUND * max(8.0, min(max(xs) - min(xs), max(ys) - min(ys)))
    left, top = max(0, math.floor(min(xs) - margin)), max(0, math.floor(min(ys) - margin))
    right, bottom = min(width, math.ceil(max(xs) + margin)), min(height, math.ceil(max(ys) + margin))
    return min(left, width - 1), min(top, height - 1), max(right, 1), max(bottom, 1)


def check_outline(outline: Outline, size: tuple[int, int]) -> None:
    """Check that a word can be cut out.

    Args:
        outline: an even number of points, at least four, clockwise from the top corner where the text begins.
        size: the width and the height of the photograph in pixels.

    Raises:
        UserError: the number of points is wrong, a coordinate is not finite or beyond ``FARTHEST``, the area is less
            than four square pixels or negative (the points run counterclockwise), or the mean of the points lies
            outside the photograph.
    """
    points = np.array(outline, np.float64).reshape(-1, 2)
    if len(points) < 4 or len(points) % 2 or not np.isfinite(points).all() or np.abs(points).max() > FARTHEST:
        raise UserError(f"box of {len(points)} points: four, or more in pairs, are a box; draw it anew")
    x, y = (points - points[0]).T
    area = float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) / 2)
    middle = points.mean(0)
    if area < 4:
        raise UserError(f"box of {area:.0f} square pixels: too small, or mirrored; draw it anew")
    if (middle < 0).any() or (middle >= size).any():
        raise UserError("box whose middle lies outside the picture; draw it anew")


def order_outline(outline: Outline) -> Outline:
    """Reorder an outline, which may begin at any point and run in either direction, as ``check_outline`` requires.

    With four corners, the top is the side that points most to the right (``upright_corners``). More points are a curved
    strip with two long sides. The points can be split at several places into two halves that face each other; the split
    with the smallest sum of distances between facing points is used. The top is the half that runs more to the right.
    """
    points = np.array(outline, np.float64)
    if len(points) == 4:
        corners = upright_corners(points)
        return outline if corners is None else _as_outline(corners)
    x, y = points.T
    if np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) < 0:
        points = points[::-1]
    half = len(points) // 2
    starts = [np.roll(points, -start, 0) for start in range(len(points))]
    distances = [float(np.linalg.norm(rotated - rotated[::-1], axis=1).sum()) for rotated in starts[:half]]
    best = int(np.argmin(distances))
    return _as_outline(max(starts[best], starts[best + half], key=lambda rotated: rotated[half - 1, 0] - rotated[0, 0]))


def _as_outline(points: np.ndarray) -> Outline:
    return tuple((x, y) for x, y in points.tolist())


def encode_crop(image: Image.Image) -> bytes:
    """A crop as PNG, without loss."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def encode_view(image: Image.Image) -> bytes:
    """A picture as JPEG, for display."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


def name_of(photo: Photo) -> str:
    """The display name of a photograph: the file name, and the page number if it is not 1."""
    name = os.path.basename(photo.path) or photo.path
    return f"{name}, page {photo.number}" if photo.number > 1 else name
