"""Inks beyond paint: letters that are cut, embossed, lit, dotted, chalked, hollow, or partly hidden.

An ink changes the mask of the word, the colours it is painted with, or the ground below it. Masks are float32 (h, w) in
[0, 1], images float32 (h, w, 3), RGB in [0, 255]; ``h`` is the crop's height before the camera, of which the word takes
most. Strengths are our own choice, set by eye.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import grounds

Layers = tuple[np.ndarray, np.ndarray, np.ndarray]  # ground, ink, mask
Ink = Callable[[np.ndarray, np.ndarray, np.ndarray, Generator], Layers]


def emboss(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Letters raised or sunk: their edges catch the light on one side and lie in shadow on the other."""
    angle = rng.uniform(0, 2 * np.pi)
    soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.8, 1.6))
    slope = math.cos(angle) * cv2.Sobel(soft, -1, 1, 0) + math.sin(angle) * cv2.Sobel(soft, -1, 0, 1)
    relief = grounds.spread(rng.uniform(40, 110) * slope)
    own = rng.uniform(0.0, 0.6)  # how much of its own colour the ink keeps; at 0 it is the ground's
    return ground + relief, ground + own * (ink - ground) + relief, mask


def neon(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Glowing tubes along the letters' edges before a dark wall."""
    tube = np.clip(3 * (mask - cv2.erode(mask, np.ones((3, 3)))), 0, 1) if rng.random() < 0.5 else mask
    colour = _shining(ink)
    wall = ground * rng.uniform(0.05, 0.35)
    for sigma, strength in ((rng.uniform(4, 9), rng.uniform(0.4, 1.0)), (1.5, 0.5)):
        glow = cv2.GaussianBlur(tube, (0, 0), sigma)
        wall = wall + strength * grounds.spread(glow) * grounds.flat(colour, *mask.shape)
    core = rng.uniform(0.2, 0.8)
    return wall, grounds.flat(colour + core * (255 - colour), *mask.shape), tube


def dots(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """A display of lamps: each shines as far as the letter covers its cell; unlit ones are faintly seen."""
    height, width = mask.shape
    pitch = height / rng.uniform(11, 18)
    rows, columns = round(height / pitch), round(width / pitch)
    lit = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA) > 0.4
    y = (np.arange(height, dtype=np.float32) + 0.5) * rows / height % 1 - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) * columns / width % 1 - 0.5
    lamp = np.clip((rng.uniform(0.36, 0.48) - np.hypot(y[:, None], x)) * pitch + 0.5, 0, 1).astype(np.float32)
    shining = cv2.resize(lit.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    dark = ground * rng.uniform(0.05, 0.4)
    bright = grounds.flat(_shining(ink), height, width)
    unlit = dark + rng.uniform(0, 0.12) * grounds.spread(lamp) * (bright - dark)
    return unlit, bright, lamp * shining


def stencil(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Bridges of the ground through the letters, as a cut sheet needs them."""
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
    return ground, ink, mask * (1 - cut)


def chalk(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Chalk, crayon, a dry brush: the grain of the board shows through, along the stroke of the hand."""
    height, width = mask.shape
    grain: np.ndarray = rng.random((height, width), dtype=np.float32)
    along = (rng.uniform(0.3, 2.5), rng.uniform(0.3, 0.8))
    grain = cv2.GaussianBlur(grain, (0, 0), along[0], sigmaY=along[1])
    low, high = np.quantile(grain[::4, ::4], (0.05, 0.95)).tolist()
    cover = np.clip((grain - low) / (high - low) * rng.uniform(1.5, 3) + rng.uniform(-0.5, 0.2), 0.1, 1)
    return ground, ink, mask * cover


def hollow(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Only the contour is painted, once, or twice with a gap between."""
    thick = int(rng.integers(2, 4))
    inner = cv2.erode(mask, np.ones((thick, thick), np.float32))
    contour = np.clip(mask - inner, 0, 1)
    if rng.random() < 0.4:
        core = cv2.erode(inner, np.ones((3, 3), np.float32))
        contour = np.maximum(contour, core)
    if contour.sum() < 0.25 * mask.sum():  # a thin letter is nothing but contour
        contour = mask
    return ground, ink, contour


def occlusion(ground: np.ndarray, ink: np.ndarray, mask: np.ndarray, rng: Generator) -> Layers:
    """Something before the word: wires, bars, leaves. At most a fifth of the ink is covered."""
    height, width = mask.shape
    before = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.6:
            ends = rng.uniform((0, 0), (width, height), (2, 2)).astype(int)
            ends[:, 1] = (0, height) if rng.random() < 0.6 else ends[:, 1]
            cv2.line(before, ends[0].tolist(), ends[1].tolist(), 255, int(rng.integers(1, 4)), cv2.LINE_AA)
        else:
            middle = rng.uniform((0, 0), (width, height)).astype(int).tolist()
            axes = (rng.uniform(0.04, 0.16, 2) * height).astype(int).tolist()
            cv2.ellipse(before, middle, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    cover = before.astype(np.float32) / 255
    if (mask * cover).sum() > 0.2 * mask.sum():
        return ground, ink, mask
    colour = np.clip(grounds.mean_colour(ground) * rng.uniform(0.2, 1.6) + rng.normal(0, 25, 3), 0, 255)
    thing = grounds.flat(colour.astype(np.float32), height, width)
    return grounds.blend(ground, thing, cover), ink, mask * (1 - cover)


def _shining(ink: np.ndarray) -> np.ndarray:
    """The ink's hue at full brightness: float32 (3,)."""
    colour = grounds.mean_colour(ink)
    return 255 * np.maximum(colour, 1) / max(float(colour.max()), 1.0)


INKS: dict[str, Ink] = {
    "emboss": emboss,
    "neon": neon,
    "dots": dots,
    "stencil": stencil,
    "chalk": chalk,
    "hollow": hollow,
    "occlusion": occlusion,
}


def choose(shares: dict[str, float], fraction: float) -> Ink | None:
    """The ink at ``fraction`` in [0, 1) where each takes its share of the crops; None for what is left.

    Args:
        shares: by name of ``INKS``; together at most 1.
    """
    for name, share in shares.items():
        if fraction < share:
            return INKS[name]
        fraction -= share
    return None
