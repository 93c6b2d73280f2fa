"""The pictures of a set of labels: words cut out as they are trained on, and where they stand."""

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

KEPT = 4  # photographs that are held open
KEPT_PIXELS = 60_000_000  # of them together, but for the last one
AROUND = 2.5  # heights of a word that are shown of what is around it, on each side
SIDE = 1600  # pixels of the longer side of what is shown around a word
WHOLE_SIDE = 2600  # and of a whole photograph

Frame = tuple[int, int, int, int]
"""Left, top, right, and bottom in pixels of a photograph."""


@dataclass(frozen=True)
class Surroundings:
    """A word and what is around it.

    Attributes:
        image: RGB, scaled down where it is large.
        frame: where it stands in the photograph.
    """

    image: Image.Image
    frame: Frame


class Pictures:
    """Opens the photographs of a set, and holds the last ones; several threads may use it.

    Args:
        most_pixels: of a photograph; None = what Pillow's guard against decompression bombs allows.
    """

    def __init__(self, store: Store, most_pixels: int | None = None) -> None:
        self._store, self._most_pixels = store, most_pixels
        self._lock = threading.Lock()
        self._held: OrderedDict[int, Image.Image] = OrderedDict()

    def open(self, photo: Photo) -> Image.Image:
        """A photograph, RGB and upright.

        Raises:
            UserError: it is gone, damaged, or of another size than it had.
        """
        with self._lock:
            if photo.id in self._held:
                self._held.move_to_end(photo.id)
                return self._held[photo.id]
        image = self._decode(photo)
        if image.size != (photo.width, photo.height):
            raise UserError(
                f"{photo.path}: {image.width}x{image.height} pixels now, {photo.width}x{photo.height} when its words "
                "were found; put the former picture back"
            )
        with self._lock:
            self._held[photo.id] = image
            while len(self._held) > KEPT or (
                len(self._held) > 1 and sum(math.prod(each.size) for each in self._held.values()) > KEPT_PIXELS
            ):
                self._held.popitem(last=False)
        return image

    def cut(self, item: Item) -> Image.Image:
        """A word alone, straightened: what is shown, and trained on.

        Raises:
            UserError: see ``open``; or its outline is no area of the photograph.
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
        """A word where it stands.

        Raises:
            UserError: see ``open``.
        """
        image = self.open(item.photo)
        frame = frame_around(item)
        part = image.crop(frame)
        part.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2)
        return Surroundings(part, frame)

    def whole(self, photo: Photo) -> Image.Image:
        """A photograph, RGB, scaled down where it is large.

        Raises:
            UserError: see ``open``.
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
    """The part of the photograph that shows a word and what is around it; all of it for a word without outline."""
    width, height = item.photo.width, item.photo.height
    if not item.outline:
        return 0, 0, width, height
    xs, ys = zip(*item.outline, strict=True)
    beside = AROUND * max(8.0, min(max(xs) - min(xs), max(ys) - min(ys)))
    left, top = max(0, math.floor(min(xs) - beside)), max(0, math.floor(min(ys) - beside))
    right, bottom = min(width, math.ceil(max(xs) + beside)), min(height, math.ceil(max(ys) + beside))
    return min(left, width - 1), min(top, height - 1), max(right, 1), max(bottom, 1)


def check_outline(outline: Outline, size: tuple[int, int]) -> None:
    """Check that a word can be cut out.

    Args:
        outline: four points or more, an even number, clockwise from where the text begins at the top.
        size: of the photograph, width and height in pixels.

    Raises:
        UserError: other than that, not finite, of less than four square pixels, or with its middle outside.
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
    """An outline that begins anywhere and runs either way, as ``check_outline`` wants it.

    Of four corners the top is the side that runs most to the right (``upright_corners``). More points are a curved
    strip: of the ways to part them into two halves that face each other, the one with the shortest ways across counts,
    and the top is the half that runs to the right.
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
    across = [float(np.linalg.norm(each - each[::-1], axis=1).sum()) for each in starts[:half]]
    best = int(np.argmin(across))
    return _as_outline(max(starts[best], starts[best + half], key=lambda each: each[half - 1, 0] - each[0, 0]))


def _as_outline(points: np.ndarray) -> Outline:
    return tuple((x, y) for x, y in points.tolist())


def encode_crop(image: Image.Image) -> bytes:
    """PNG, which loses nothing."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def encode_view(image: Image.Image) -> bytes:
    """JPEG, to be looked at."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


def name_of(photo: Photo) -> str:
    """How a photograph is called: the last part of its path, and its page if it is not the first."""
    name = os.path.basename(photo.path) or photo.path
    return f"{name}, page {photo.number}" if photo.number > 1 else name
