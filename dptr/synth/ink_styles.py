"""Ink styles beyond plain paint: letters that are cut, embossed, lit, dotted, chalked, hollow, or partly hidden.

A style changes the mask of the word, the colors that paint it, or the background below it. Masks are float32 (h, w) in
[0, 1], images float32 (h, w, 3), RGB in [0, 255]. ``h`` is the height of the crop before the camera; the word takes
most of it. The strengths were chosen by eye.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import colors, pixels

Layers = tuple[np.ndarray, np.ndarray, np.ndarray]  # background, ink, mask
InkStyle = Callable[[np.ndarray, np.ndarray, np.ndarray, Generator], Layers]


def emboss(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Raised or sunken letters: their edges are bright on one side and dark on the other."""
    angle = rng.uniform(0, 2 * np.pi)
    soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 1.6))
    slope = math.cos(angle) * cv2.Sobel(soft, -1, 1, 0) + math.sin(angle) * cv2.Sobel(soft, -1, 0, 1)
    relief = pixels.to_rgb(rng.uniform(40, 110) * slope)
    opacity = rng.uniform(0.0, 0.6)  # share of the ink's color; at 0 letters have the color of the background
    return background + relief, background + opacity * (ink - background) + relief, mask


def neon(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Glowing tubes in the shape of the letters or along their edges, before a dark wall."""
    tube = np.clip(3 * (mask - cv2.erode(mask, np.ones((3, 3)))), 0, 1) if rng.random() < 0.5 else mask
    color = _brighten(ink)
    wall = background * rng.uniform(0.05, 0.35)
    for sigma, strength in ((rng.uniform(4, 9), rng.uniform(0.4, 1.0)), (1.5, 0.5)):
        glow = cv2.GaussianBlur(tube, (0, 0), sigma)
        wall = wall + strength * pixels.to_rgb(glow) * pixels.solid_color(color, *mask.shape)
    core = rng.uniform(0.2, 0.8)
    return wall, pixels.solid_color(color + core * (255 - color), *mask.shape), tube


def dots(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """A display of lamps: a lamp shines if the letter covers over 40 % of its cell; other lamps are faint or dark."""
    height, width = mask.shape
    pitch = height / rng.uniform(11, 18)
    rows, columns = round(height / pitch), round(width / pitch)
    lit = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA) > 0.4
    y = (np.arange(height, dtype=np.float32) + 0.5) * rows / height % 1 - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) * columns / width % 1 - 0.5
    lamp = np.clip((rng.uniform(0.36, 0.48) - np.hypot(y[:, None], x)) * pitch + 0.5, 0, 1).astype(np.float32)
    lit_cells = cv2.resize(lit.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    dark = background * rng.uniform(0.05, 0.4)
    bright = pixels.solid_color(_brighten(ink), height, width)
    unlit = dark + rng.uniform(0, 0.12) * pixels.to_rgb(lamp) * (bright - dark)
    return unlit, bright, lamp * lit_cells


def stencil(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Bridges of the background through the letters, which hold a cut stencil together."""
    height, width = mask.shape
    gap = rng.uniform(0.03, 0.06) * height
    cut = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        distance = np.abs(np.arange(height) - rng.uniform(0.4, 0.6) * height)
        cut[:] = np.clip(gap / 2 - distance + 0.5, 0, 1)[:, None]
    else:
        step = rng.uniform(0.35, 0.6) * height
        distance = np.abs((np.arange(width) + rng.uniform(0, step)) % step - step / 2)
        cut[:] = np.clip(gap / 2 - distance + 0.5, 0, 1)
    return background, ink, mask * (1 - cut)


def chalk(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Chalk, crayon, or a dry brush: the grain of the board shows through, stretched along the strokes."""
    height, width = mask.shape
    grain: np.ndarray = rng.random((height, width), dtype=np.float32)
    sigmas = (rng.uniform(0.3, 2.5), rng.uniform(0.3, 0.8))
    grain = cv2.GaussianBlur(grain, (0, 0), sigmas[0], sigmaY=sigmas[1])
    low, high = np.quantile(grain[::4, ::4], (0.05, 0.95)).tolist()
    cover = np.clip((grain - low) / (high - low) * rng.uniform(1.5, 3) + rng.uniform(-0.5, 0.2), 0.1, 1)
    return background, ink, mask * cover


def hollow(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Only the contour of the letters is painted, or the contour and a core with a gap between the two."""
    thickness = int(rng.integers(2, 4))
    inner = cv2.erode(mask, np.ones((thickness, thickness), np.float32))
    contour = np.clip(mask - inner, 0, 1)
    if rng.random() < 0.4:
        core = cv2.erode(inner, np.ones((3, 3), np.float32))
        contour = np.maximum(contour, core)
    if contour.sum() < 0.25 * mask.sum():  # a mask without a contour to speak of is painted whole
        contour = mask
    return background, ink, contour


def occlusion(background: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Something hides parts of the word: wires, bars, or leaves.

    If it would cover more than a fifth of the ink, nothing changes.
    """
    height, width = mask.shape
    obstacle = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.6:
            ends = rng.uniform((0, 0), (width, height), (2, 2)).astype(int)
            ends[:, 1] = (0, height) if rng.random() < 0.6 else ends[:, 1]
            cv2.line(obstacle, ends[0].tolist(), ends[1].tolist(), 255, int(rng.integers(1, 4)), cv2.LINE_AA)
        else:
            middle = rng.uniform((0, 0), (width, height)).astype(int).tolist()
            axes = (rng.uniform(0.04, 0.16, 2) * height).astype(int).tolist()
            cv2.ellipse(obstacle, middle, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    cover = obstacle.astype(np.float32) / 255
    if (mask * cover).sum() > 0.2 * mask.sum():
        return background, ink, mask
    color = np.clip(colors.mean_color(background) * rng.uniform(0.2, 1.6) + rng.normal(0, 25, 3), 0, 255)
    obstacle_color = pixels.solid_color(color.astype(np.float32), height, width)
    return pixels.blend(background, obstacle_color, cover), ink, mask * (1 - cover)


def _brighten(ink: np.ndarray) -> np.ndarray:
    """The mean color of the ink at full brightness: float32 (3,)."""
    color = colors.mean_color(ink)
    return 255 * np.maximum(color, 1) / max(float(color.max()), 1.0)


INK_STYLES: dict[str, InkStyle] = {
    "emboss": emboss,
    "neon": neon,
    "dots": dots,
    "stencil": stencil,
    "chalk": chalk,
    "hollow": hollow,
    "occlusion": occlusion,
}


def choose_ink_style(shares: dict[str, float], fraction: float) -> InkStyle | None:
    """Choose a style at random; None = plain paint.

    Args:
        shares: probability of each style, by its name in ``INK_STYLES``; their sum is at most 1.
        fraction: a random number in [0, 1): the position in the cumulative shares.
    """
    for name, share in shares.items():
        if fraction < share:
            return INK_STYLES[name]
        fraction -= share
    return None
