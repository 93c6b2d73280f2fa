"""Photographs with planted words, and an independent perspective crop in NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.data.importers import Word, read
from dptr.data.report import DropReport
from dptr.utils.errors import UserError

COLOURS = np.array([(220, 30, 30), (30, 200, 40), (240, 220, 40), (40, 60, 230)], np.uint8)
"""Of a planted word's quarters: top left red, top right green, bottom right yellow, bottom left blue."""

GROUND = (128, 128, 128)


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (3, 3) matrix that maps four points to four points, by the linear system of its eight unknowns."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows, float), np.array(values, float)), 1).reshape(3, 3)


def mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    result = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return result[:, :2] / result[:, 2:]


def plant(image: Image.Image, corners: list[tuple[float, float]]) -> None:
    """Paint a word's four quarters into the quadrilateral ``corners``, its own top left corner first, clockwise."""
    array = np.array(image)
    height, width = array.shape[:2]
    y, x = np.mgrid[:height, :width]
    centers = np.column_stack([x.ravel(), y.ravel()]) + 0.5
    unit = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float)
    u, v = mapped(homography(np.array(corners, float), unit), centers).T
    inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    quarter = np.where(v < 0.5, np.where(u < 0.5, 0, 1), np.where(u < 0.5, 3, 2))
    array.reshape(-1, 3)[inside] = COLOURS[quarter[inside]]
    image.paste(Image.fromarray(array))


def photograph(*words: list[tuple[float, float]], size: tuple[int, int] = (160, 120)) -> Image.Image:
    image = Image.new("RGB", size, GROUND)
    for corners in words:
        plant(image, corners)
    return image


def is_upright(crop: Image.Image) -> bool:
    """Whether a crop is a planted word the right way up, filled to its corners."""
    array = np.asarray(crop).astype(int)
    height, width = array.shape[:2]
    x, y = max(1, width // 8), max(1, height // 8)
    seen = [array[y, x], array[y, -1 - x], array[-1 - y, -1 - x], array[-1 - y, x]]
    return bool((np.abs(np.array(seen) - COLOURS) <= 3).all())


def perspective(image: np.ndarray, corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """The crop by a homography and bilinear interpolation, borders repeated: (height, width, 3), float."""
    y, x = np.mgrid[:height, :width]
    centers = np.column_stack([x.ravel(), y.ravel()]) + 0.5
    box = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    found = mapped(homography(box, corners), centers) - 0.5
    low = np.floor(found).astype(int)
    part = found - low
    result = np.zeros((len(found), 3))
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            column = np.clip(low[:, 0] + dx, 0, image.shape[1] - 1)
            row = np.clip(low[:, 1] + dy, 0, image.shape[0] - 1)
            result += weight[:, None] * image[row, column]
    return result.reshape(height, width, 3)


def words_of(source: Path, kind: str, **options) -> tuple[list[Word], DropReport]:
    drops = DropReport()
    return list(read(source, kind, drops, **options)), drops


def labels_of(source: Path, kind: str, **options) -> tuple[list[str], dict[str, int]]:
    words, drops = words_of(source, kind, **options)
    return [word.label for word in words], drops.counts


def refused(function, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        function()
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text
