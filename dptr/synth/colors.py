"""Colors of words and backgrounds: a palette, and choices of a color that is readable on a background.

Colors are RGB in [0, 255].
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

# Shares of the hues 0-30, 30-60, ... 330-360 degrees, counted over the colored pixels in the training crops of IIIT5K
# and ICDAR 2015. Reds, oranges and blues prevail; the shares of rare hues are raised to 3 %.
_HUES = np.array([0.24, 0.20, 0.05, 0.03, 0.03, 0.04, 0.12, 0.15, 0.03, 0.03, 0.03, 0.05])
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G and B (ITU-R BT.601)


def make_palette(photographs: Sequence[np.ndarray], count: int = 4096) -> np.ndarray:
    """Make a palette of colors as seen on signs: nearly white, nearly black, grays, paints, and colors of photographs.

    Args:
        photographs: uint8 (h, w, 3); without any, the palette has no colors of photographs.

    Returns:
        float32 (count, 3), RGB in [0, 255]; the same photographs always give the same palette.
    """
    rng = np.random.default_rng(0)
    kind = rng.random(count)
    hue, saturation, value = rng.random((3, count))
    gray = np.where(kind < 0.14, 200 + 55 * value**0.5, np.where(kind < 0.26, 55 * value**1.5, 255 * value))
    tint = 1 - rng.random((count, 3)) * 0.15 * saturation[:, None]
    sixth = np.interp(hue, np.cumsum([0, *_HUES]), np.arange(13) / 2)[:, None]
    pure = np.clip(np.abs((sixth + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)  # piecewise linear hue curves of HSV
    strength = 0.3 + 0.7 * saturation[:, None]
    paint = 255 * (0.2 + 0.8 * value[:, None]) * (1 - strength * (1 - pure))
    colors = np.where(kind[:, None] < 0.42, gray[:, None] * tint, paint)
    if photographs:
        pixels = np.concatenate([photograph[::16, ::16].reshape(-1, 3) for photograph in photographs])
        colors = np.where(kind[:, None] > 0.85, pixels[rng.integers(len(pixels), size=count)], colors)
    return colors.astype(np.float32)


def pick_contrasting_color(rng: Generator, colors: np.ndarray, background: np.ndarray, contrast: float) -> np.ndarray:
    """Draw 24 of ``colors`` and return the one whose difference from ``background`` (3,) is nearest to ``contrast``.

    Colors whose difference is below 0.7 x ``contrast`` are chosen only if all are.

    The difference is that of luma, plus 0.35 times the distance that remains without luma. Hue weighs less than luma
    because hues of equal luma are harder to read than black on white.

    Args:
        colors: (n, 3).
    """
    colors = colors[rng.integers(len(colors), size=24)]
    delta = colors - background
    luma = delta @ LUMA
    chroma = np.linalg.norm(delta - luma[:, None], axis=1)
    difference = np.abs(luma) + 0.35 * chroma
    # The second term is needed: without it, paper on paper may be the nearest match.
    error = np.abs(difference - contrast) + 255 * (difference < 0.7 * contrast)
    return colors[int(np.argmin(error))]


def pick_black_or_white(rng: Generator, background: np.ndarray) -> np.ndarray:
    """A random color that is nearly black on a light ``background`` (3,), nearly white on a dark one: float32 (3,)."""
    shade = rng.uniform(0, 45)
    return np.full(3, shade if background @ LUMA > 127 else 255 - shade, np.float32)


def mean_color(image: np.ndarray) -> np.ndarray:
    """The mean color of an image (h, w, 3): float32 (3,)."""
    return np.array(cv2.mean(image)[:3], np.float32)
