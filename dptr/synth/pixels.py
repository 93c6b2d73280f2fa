"""Layers that painting and degradations are made of. Images are float32 (height, width, 3), RGB in [0, 255]."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.random import Generator


def solid_color(color: np.ndarray, height: int, width: int) -> np.ndarray:
    """One color everywhere."""
    row, image = np.empty((width, 3), np.float32), np.empty((height, width * 3), np.float32)
    row[:] = color
    image[:] = row.reshape(-1)  # whole rows copy much faster than colors do
    return image.reshape(height, width, 3)


def to_rgb(layer: np.ndarray) -> np.ndarray:
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


def linear_gradient(rng: Generator, height: int, width: int) -> np.ndarray:
    """A ramp in a random direction: float32 (height, width), from 0 to 1."""
    across, down = rng.uniform(-1, 1, 2).tolist()
    x, y = _axis(width), _axis(height)
    most = max(abs(across) + abs(down), 1e-6)
    return (across * x + down * y[:, None]) / (2 * most) + 0.5


def blend(under: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """``over``, an image or a color (3,), on the image ``under`` where ``alpha`` (h, w) in [0, 1] is 1."""
    if over.ndim == 1:
        over = solid_color(over, *under.shape[:2])
    return under + (over - under) * to_rgb(alpha)
