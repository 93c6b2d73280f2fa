"""Paint: the ground, the board, shadows, outlines and the ink of a placed word.

Images are float32 (h, w, 3), RGB in [0, 255].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import Effects
from dptr.synth import grounds, inks
from dptr.synth.boards import mount
from dptr.synth.placing import Placed


def paint(
    placed: Placed,
    across: int,
    colours: np.ndarray,
    photographs: Sequence[np.ndarray],
    effects: Effects,
    rng: Generator,
) -> np.ndarray:
    """Ground, shadow, outline and ink.

    Args:
        across: how many letters stand beside each other.
        colours: (n, 3) to choose from.
        photographs: uint8 (h, w, 3), grounds to choose from.
    """
    fill, grown = placed.fill, placed.grown
    height, width = fill.shape
    ground = _ground(height, width, colours, photographs, effects, rng)
    mean, deviation = (values[:, 0].astype(np.float32) for values in cv2.meanStdDev(ground))
    contrast = rng.uniform(22, 70) if rng.random() < effects.low_contrast else rng.uniform(80, 250)
    busy = np.float32(deviation.mean() / (contrast / 5))
    if busy > 1:  # a wild ground would hide the ink: tone it down
        calm = grounds.flat(mean, height, width)
        ground = calm + (ground - calm) / busy
    colour = grounds.contrasting(rng, colours, mean, contrast)
    if rng.random() < effects.black_or_white and contrast > 70:
        colour = grounds.black_or_white(rng, mean)
    if placed.board is not None:
        beyond = _ground(height, width, colours, photographs, effects, rng)
        border = colour if rng.random() < 0.5 else grounds.contrasting(rng, colours, mean, rng.uniform(60, 200))
        ground = mount(ground, beyond, border, placed.board, rng)
    ink = grounds.flat(colour, height, width)
    if rng.random() < effects.gradient:
        other = grounds.contrasting(rng, colours, mean, contrast)
        ink = grounds.blend(ink, other, rng.uniform(0.3, 1) * grounds.slope(rng, height, width))
    if rng.random() < effects.texture:
        cells = int(rng.integers(4, 20))
        ink = ink + grounds.spread(rng.uniform(10, 50) * grounds.smooth_noise(rng, height, width, cells))
    if rng.random() < effects.shadow:
        ground = _shadow(ground, colour, grown, rng)
    if effects.extrusion and rng.random() < effects.extrusion:
        dim = rng.uniform(0.3, 0.6) if colour @ grounds.LUMA > 80 else 0.0  # black faces have no darker sides
        own = dim == 0 or rng.random() < 0.5
        sides = grounds.contrasting(rng, colours, colour, rng.uniform(70, 180)) if own else dim * colour
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.22) * height
        most = 0.35 * width / across  # a letter's sides must not reach far over the next one
        shift = np.array((np.clip(depth * np.cos(angle), -most, most), depth * np.sin(angle)))
        ground = extrude(ground, sides, grown, shift)
    if grown is not fill:
        edge = grounds.contrasting(rng, colours, colour, rng.uniform(60, 220))
        if effects.double_outline and rng.random() < effects.double_outline:
            outer = grounds.contrasting(rng, colours, edge, rng.uniform(80, 220))
            wide = cv2.dilate(grown, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(3, 8)), 5)))
            ground = grounds.blend(ground, outer, wide)
        ground = grounds.blend(ground, edge, np.maximum(grown - fill, 0))
    if rng.random() < effects.wear:
        worn = grounds.smooth_noise(rng, height, width, int(rng.integers(6, 20)))
        fill = fill * np.clip(1.1 - rng.uniform(1, 4) * np.maximum(worn - rng.uniform(0.2, 0.6), 0), 0, 1)
    if effects.ink_styles and (special := inks.choose(effects.ink_styles, rng.random())):
        ground, ink, fill = special(ground, ink, fill, rng)
    return grounds.blend(ground, ink, fill)


def extrude(ground: np.ndarray, sides: np.ndarray, mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Block letters: ``mask`` reaches ``shift`` (2,) pixels, x and y, into the depth and grows a third darker there.

    Args:
        ground: float32 (h, w, 3); gets the letters' sides, their faces are still to be painted.
        sides: (3,), their colour.
    """
    steps = max(1, math.ceil(np.abs(shift).max()))
    for step in range(steps, 0, -1):  # from the back to the front, a pixel at a time
        part = step / steps
        ground = grounds.blend(ground, (1 - part / 3) * sides, _moved(mask, part * shift))
    return ground


def _ground(
    height: int,
    width: int,
    palette: np.ndarray,
    photographs: Sequence[np.ndarray],
    effects: Effects,
    rng: Generator,
) -> np.ndarray:
    colours = palette[rng.integers(len(palette), size=3)]
    if effects.paper and rng.random() < effects.paper:
        colours[0] = 255 - np.abs(rng.normal(0, 18)) - np.abs(rng.normal(0, 5, 3))
    ground = grounds.flat(colours[0], height, width)
    if photographs and rng.random() < effects.photograph:
        piece = grounds.patch(rng, photographs, height, width)
        if rng.random() < 0.35:
            ground = piece
        else:  # paint that keeps the wall's light and grain
            calm = grounds.flat(grounds.mean_colour(piece), height, width)
            ground = ground + rng.uniform(0.1, 0.6) * (piece - calm)
    if rng.random() < effects.gradient:
        ground = grounds.blend(ground, colours[1], rng.uniform(0, 0.7) * grounds.slope(rng, height, width))
    if rng.random() < effects.texture:
        cells = int(rng.integers(3, 24))
        ground = ground + grounds.spread(rng.uniform(5, 40) * grounds.smooth_noise(rng, height, width, cells))
    if rng.random() < effects.panel:
        ground = grounds.panels(rng, ground, colours[2])
    return ground


def _shadow(ground: np.ndarray, colour: np.ndarray, mask: np.ndarray, rng: Generator) -> np.ndarray:
    """A soft or hard shadow beside the ink, a glow around it, or the letters' depth."""
    height = mask.shape[0]
    kind = rng.random()
    shift = rng.uniform(-0.1, 0.1, 2) * height
    if kind < 0.3:  # depth: the mask smeared along the shift
        depth = mask
        for part in (0.25, 0.5, 0.75, 1.0):
            depth = np.maximum(depth, _moved(mask, shift * part))
        return grounds.blend(ground, rng.uniform(0.2, 0.7) * colour, depth)
    if kind < 0.85:
        soft = cv2.GaussianBlur(_moved(mask, shift), (0, 0), rng.uniform(0.3, 3))
        return ground * grounds.spread(1 - rng.uniform(0.5, 1) * soft)
    halo = cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 5))
    return grounds.blend(ground, 255 - colour, np.minimum(1.5 * halo, 0.9))


def _moved(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return cv2.warpAffine(mask, matrix, mask.shape[1::-1])
