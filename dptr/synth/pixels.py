"""Layers from which painting and degradations are built. Images are float32 (height, width, 3), RGB in [0, 255]."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.random import Generator


def solid_color(color: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image of one color (3,)."""
    row, image = np.empty((width, 3), np.float32), np.empty((height, width * 3), np.float32)
    row[:] = color
    image[:] = row.reshape(-1)  # NumPy broadcasts whole rows much faster than single colors
    return image.reshape(height, width, 3)


def to_rgb(layer: np.ndarray) -> np.ndarray:
    """Repeat a layer (h, w) for red, green and blue: (h, w, 3). Broadcasting in NumPy over 3 channels is slower."""
    return cv2.merge((layer, layer, layer))


def smooth_noise(rng: Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Low-frequency noise: a grid of ``cells`` x 2 ``cells`` random values (down x across), interpolated.

    Returns:
        float32 (height, width) in [-1, 1].
    """
    grid = rng.uniform(-1, 1, (cells, 2 * cells)).astype(np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)


@functools.lru_cache(maxsize=64)
def _make_axis(count: int) -> np.ndarray:
    return np.linspace(-1, 1, count, dtype=np.float32)


def linear_gradient(rng: Generator, height: int, width: int) -> np.ndarray:
    """A linear gradient in a random direction: float32 (height, width), from 0 to 1."""
    across, down = rng.uniform(-1, 1, 2).tolist()
    x, y = _make_axis(width), _make_axis(height)
    extent = max(abs(across) + abs(down), 1e-6)
    return (across * x + down * y[:, None]) / (2 * extent) + 0.5


def blend(under: np.ndarray, over: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Alpha blending: the image ``under`` where ``alpha`` (h, w) is 0, ``over`` (an image or a color) where it is 1."""
    if over.ndim == 1:
        over = solid_color(over, *under.shape[:2])
    return under + (over - under) * to_rgb(alpha)
