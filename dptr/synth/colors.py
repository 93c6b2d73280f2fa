"""Colors that words are painted with: a palette, and a choice that is readable on a background. RGB in [0, 255]."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

# Shares of the hues 0-30, 30-60, ... 330-360 degrees: reds, oranges and blues, as counted in the training crops of
# IIIT5K and ICDAR 2015 (colored pixels), with the rare ones raised to 3 %.
_HUES = np.array([0.24, 0.20, 0.05, 0.03, 0.03, 0.04, 0.12, 0.15, 0.03, 0.03, 0.03, 0.05])
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def make_palette(photographs: Sequence[np.ndarray], count: int = 4096) -> np.ndarray:
    """Colors as they are on signs: near white, near black, grays, paints, and colors of photographs where given.

    Returns:
        float32 (count, 3), RGB in [0, 255]; always the same for the same photographs.
    """
    rng = np.random.default_rng(0)
    kind = rng.random(count)
    hue, saturation, value = rng.random((3, count))
    gray = np.where(kind < 0.14, 200 + 55 * value**0.5, np.where(kind < 0.26, 55 * value**1.5, 255 * value))
    tint = 1 - rng.random((count, 3)) * 0.15 * saturation[:, None]
    sixth = np.interp(hue, np.cumsum([0, *_HUES]), np.arange(13) / 2)[:, None]
    full = np.clip(np.abs((sixth + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)  # HSV's piecewise linear hue curves
    strength = 0.3 + 0.7 * saturation[:, None]
    paint = 255 * (0.2 + 0.8 * value[:, None]) * (1 - strength * (1 - full))
    colors = np.where(kind[:, None] < 0.42, gray[:, None] * tint, paint)
    if photographs:
        pixels = np.concatenate([photograph[::16, ::16].reshape(-1, 3) for photograph in photographs])
        colors = np.where(kind[:, None] > 0.85, pixels[rng.integers(len(pixels), size=count)], colors)
    return colors.astype(np.float32)


def pick_contrasting_color(rng: Generator, colors: np.ndarray, background: np.ndarray, contrast: float) -> np.ndarray:
    """Of 24 random ``colors`` the one whose difference to ``background`` (3,) is nearest to ``contrast``.

    One that is less than 0.7 of it is taken only where all are.

    Difference: that of luma, plus 0.35 of the distance left when luma is taken out (equal gray in different hues
    reads worse than black on white).
    """
    colors = colors[rng.integers(len(colors), size=24)]
    delta = colors - background
    luma = delta @ LUMA
    chroma = np.linalg.norm(delta - luma[:, None], axis=1)
    difference = np.abs(luma) + 0.35 * chroma
    miss = np.abs(difference - contrast) + 255 * (difference < 0.7 * contrast)  # paper on paper is nearest at times
    return colors[int(np.argmin(miss))]


def pick_black_or_white(rng: Generator, background: np.ndarray) -> np.ndarray:
    """Nearly black or nearly white, whichever the ``background`` (3,) sets off better."""
    shade = rng.uniform(0, 45)
    return np.full(3, shade if background @ LUMA > 127 else 255 - shade, np.float32)


def mean_color(image: np.ndarray) -> np.ndarray:
    """float32 (3,)."""
    return np.array(cv2.mean(image)[:3], np.float32)
