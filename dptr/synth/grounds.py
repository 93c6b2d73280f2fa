"""Colours and grounds: what a word is painted with, and what it is painted on.

Grounds are float32 (height, width, 3), RGB in [0, 255].
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from dptr.utils.errors import UserError

# Shares of the hues 0-30, 30-60, ... 330-360 degrees: reds, oranges and blues, as counted in the training crops of
# IIIT5K and ICDAR 2015 (coloured pixels), with the rare ones raised to 3 %.
_HUES = np.array([0.24, 0.20, 0.05, 0.03, 0.03, 0.04, 0.12, 0.15, 0.03, 0.03, 0.03, 0.05])
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SIDE = 160  # pixels of a photograph's shorter side in memory: about 115 kB each
_MOST = 1000  # photographs in memory
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@functools.lru_cache(maxsize=2)
def load_photographs(folder: str) -> tuple[np.ndarray, ...]:
    """The photographs in ``folder`` and below, reduced: uint8 (h, w, 3), shorter side 160 pixels.

    Of more than 1,000, every n-th in the order of names is used. Several renderers of one process share them.

    Raises:
        UserError: no such folder, no photograph in it, or one that cannot be read.
    """
    if not Path(folder).is_dir():
        raise UserError(f"render.backgrounds {folder}: no such folder; pass a folder of photographs, or '' for none")
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise UserError(f"render.backgrounds {folder}: no photograph in it; it needs .jpg, .png, .webp or .bmp files")
    photographs = []
    for path in paths[:: -(-len(paths) // _MOST)]:
        try:
            with Image.open(path) as image:
                image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
                scale = _SIDE / min(image.size)
                size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
                photographs.append(np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR)))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"background {path}: not a readable image ({error}); remove it from the folder") from error
    return tuple(photographs)


def palette(photographs: Sequence[np.ndarray], count: int = 4096) -> np.ndarray:
    """Colours as they are on signs: near white, near black, greys, paints, and colours of photographs where given.

    Returns:
        float32 (count, 3), RGB in [0, 255]; always the same for the same photographs.
    """
    rng = np.random.default_rng(0)
    kind = rng.random(count)
    hue, saturation, value = rng.random((3, count))
    grey = np.where(kind < 0.14, 200 + 55 * value**0.5, np.where(kind < 0.26, 55 * value**1.5, 255 * value))
    tint = 1 - rng.random((count, 3)) * 0.15 * saturation[:, None]
    sixth = np.interp(hue, np.cumsum([0, *_HUES]), np.arange(13) / 2)[:, None]
    full = np.clip(np.abs((sixth + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)  # HSV's piecewise linear hue curves
    strength = 0.3 + 0.7 * saturation[:, None]
    paint = 255 * (0.2 + 0.8 * value[:, None]) * (1 - strength * (1 - full))
    colours = np.where(kind[:, None] < 0.42, grey[:, None] * tint, paint)
    if photographs:
        seen = np.concatenate([photograph[::16, ::16].reshape(-1, 3) for photograph in photographs])
        colours = np.where(kind[:, None] > 0.85, seen[rng.integers(len(seen), size=count)], colours)
    return colours.astype(np.float32)


def contrasting(rng: Generator, colours: np.ndarray, ground: np.ndarray, contrast: float) -> np.ndarray:
    """Of 24 random ``colours`` the one whose difference to ``ground`` (3,) is nearest to ``contrast``.

    One that is less than 0.7 of it is taken only where all are.

    Difference: that of luma, plus 0.35 of the distance left when luma is taken out (equal grey in different hues
    reads worse than black on white).
    """
    colours = colours[rng.integers(len(colours), size=24)]
    delta = colours - ground
    luma = delta @ LUMA
    chroma = np.linalg.norm(delta - luma[:, None], axis=1)
    difference = np.abs(luma) + 0.35 * chroma
    miss = np.abs(difference - contrast) + 255 * (difference < 0.7 * contrast)  # paper on paper is nearest at times
    return colours[int(np.argmin(miss))]


def black_or_white(rng: Generator, ground: np.ndarray) -> np.ndarray:
    """Nearly black or nearly white, whichever the ``ground`` (3,) sets off better."""
    shade = rng.uniform(0, 45)
    return np.full(3, shade if ground @ LUMA > 127 else 255 - shade, np.float32)


def mean_colour(image: np.ndarray) -> np.ndarray:
    """float32 (3,)."""
    return np.array(cv2.mean(image)[:3], np.float32)


def flat(colour: np.ndarray, height: int, width: int) -> np.ndarray:
    """One colour everywhere."""
    row, image = np.empty((width, 3), np.float32), np.empty((height, width * 3), np.float32)
    row[:] = colour
    image[:] = row.reshape(-1)  # whole rows copy much faster than colours do
    return image.reshape(height, width, 3)


def spread(layer: np.ndarray) -> np.ndarray:
    """The same (h, w) layer for red, green and blue: (h, w, 3). NumPy broadcasts over a last axis of 3 slowly."""
    return cv2.merge((layer, layer, layer))


def smooth_noise(rng: Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Low-frequency noise: ``cells`` random values down and 2 x ``cells`` across, interpolated.

    Returns:
        float32 (height, width) in [-1, 1].
    """
    grid = rng.uniform(-1, 1, (cells, 2 * cells)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)


@functools.lru_cache(maxsize=64)
def _axis(count: int) -> np.ndarray:
    return np.linspace(-1, 1, count, dtype=np.float32)


def slope(rng: Generator, height: int, width: int) -> np.ndarray:
    """A ramp in a random direction: float32 (height, width), from 0 to 1."""
    across, down = rng.uniform(-1, 1, 2).tolist()
    x, y = _axis(width), _axis(height)
    most = max(abs(across) + abs(down), 1e-6)
    return (across * x + down * y[:, None]) / (2 * most) + 0.5


def patch(rng: Generator, photographs: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """A random piece of a random photograph, from a small one enlarged (smooth) to a large one (busy)."""
    photo = photographs[int(rng.integers(len(photographs)))]
    h = int(np.exp(rng.uniform(np.log(8), np.log(photo.shape[0]))))
    w = int(min(photo.shape[1], max(8, h * rng.uniform(1, 4))))
    top, left = int(rng.integers(photo.shape[0] - h + 1)), int(rng.integers(photo.shape[1] - w + 1))
    piece = photo[top : top + h, left : left + w]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    how = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=how).astype(np.float32)


def panels(rng: Generator, ground: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Another colour beyond a straight edge near the border, or stripes of it."""
    height, width = ground.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    shape = rng.random()
    tilt = rng.normal(0, 0.06) * width
    if shape < 0.55:  # the end of the sign, at the top, the bottom, the left or the right
        if rng.random() < 0.7:
            y = rng.uniform(0.0, 0.2) * height
            points = [(0, 0), (width, 0), (width, y + tilt * 0.3), (0, y - tilt * 0.3)]
        else:
            x = rng.uniform(0.0, 0.08) * width
            points = [(0, 0), (x + tilt * 0.2, 0), (x - tilt * 0.2, height), (0, height)]
        if rng.random() < 0.5:
            points = [(width - x, height - y) for x, y in points]
        cv2.fillPoly(layer, [np.array(points, np.int32)], 255, cv2.LINE_AA)
    elif shape < 0.8:  # a frame
        thickness = max(1, int(rng.integers(1, max(2, height // 10))))
        inset = rng.uniform(-0.02, 0.06, 4) * (width, height, width, height)
        corners = (int(inset[0]), int(inset[1])), (int(width - inset[2]), int(height - inset[3]))
        cv2.rectangle(layer, *corners, 255, thickness, cv2.LINE_AA)
    else:  # stripes, tiles, bricks
        step = rng.uniform(0.15, 0.6) * height
        thickness = int(rng.integers(1, 3))
        for i in range(int(height / step) + 2):
            y = int((i - rng.uniform(0, 0.2)) * step)
            cv2.line(layer, (0, y), (width, int(y + tilt)), 255, thickness, cv2.LINE_AA)
    return blend(ground, colour, layer.astype(np.float32) / 255)


def blend(under: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """``over``, an image or a colour (3,), on the image ``under`` where ``alpha`` (h, w) in [0, 1] is 1."""
    if over.ndim == 1:
        over = flat(over, *under.shape[:2])
    return under + (over - under) * spread(alpha)
