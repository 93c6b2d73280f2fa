"""Painting of a warped word: its background, sign board, shadows, outlines, and ink.

Images are float32 (h, w, 3), RGB; values may exceed [0, 255] until the camera clips them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import Effects
from dptr.synth import backgrounds, colors, ink_styles, pixels
from dptr.synth.sign_board import draw_sign_board
from dptr.synth.warp import WordMask


def paint(
    word: WordMask,
    across: float,
    palette: np.ndarray,
    photographs: Sequence[np.ndarray],
    effects: Effects,
    rng: Generator,
) -> np.ndarray:
    """Paint the word on a background, with the effects that ``rng`` selects by their probabilities.

    Args:
        across: how many letters stand side by side.
        palette: (n, 3), colors to choose from.
        photographs: uint8 (h, w, 3), backgrounds to choose from.
        effects: probability of each effect.
    """
    fill, outline = word.fill, word.outline
    height, width = fill.shape
    if word.ground is None:
        background = _paint_background(height, width, palette, photographs, effects, rng)
        mean, deviation = (values[:, 0].astype(np.float32) for values in cv2.meanStdDev(background))
    else:
        background, mean = word.ground, _mean_below(word.ground, outline)
        deviation = np.zeros(3, np.float32)
    contrast = rng.uniform(22, 70) if rng.random() < effects.low_contrast else rng.uniform(80, 250)
    clutter = np.float32(deviation.mean() / (contrast / 5))
    if clutter > 1:  # a busy background would hide the ink: reduce its contrast
        calm = pixels.solid_color(mean, height, width)
        background = calm + (background - calm) / clutter
    color = colors.pick_contrasting_color(rng, palette, mean, contrast)
    if rng.random() < effects.black_or_white and contrast > 70:
        color = colors.pick_black_or_white(rng, mean)
    if word.ink is not None:
        color = word.ink.astype(np.float32)
    if word.board is not None:
        surroundings = _paint_background(height, width, palette, photographs, effects, rng)
        border = (
            color if rng.random() < 0.5 else colors.pick_contrasting_color(rng, palette, mean, rng.uniform(60, 200))
        )
        background = draw_sign_board(background, surroundings, border, word.board, rng)
    ink = pixels.solid_color(color, height, width)
    if rng.random() < effects.gradient:
        other = colors.pick_contrasting_color(rng, palette, mean, contrast)
        ink = pixels.blend(ink, other, rng.uniform(0.3, 1) * pixels.linear_gradient(rng, height, width))
    if rng.random() < effects.texture:
        cells = int(rng.integers(4, 20))
        ink = ink + pixels.to_rgb(rng.uniform(10, 50) * pixels.smooth_noise(rng, height, width, cells))
    if rng.random() < effects.shadow:
        background = _add_shadow(background, color, outline, rng)
    if effects.extrusion and rng.random() < effects.extrusion:
        max_shift = 0.35 * width / across  # the sides of a letter must not cover much of the next letter
        background = _add_extrusion(background, color, outline, max_shift, palette, rng)
    if outline is not fill:
        background = _add_contour(background, color, word, palette, effects, rng)
    if rng.random() < effects.wear:
        worn = pixels.smooth_noise(rng, height, width, int(rng.integers(6, 20)))
        fill = fill * np.clip(1.1 - rng.uniform(1, 4) * np.maximum(worn - rng.uniform(0.2, 0.6), 0), 0, 1)
    if effects.ink_styles and (apply_style := ink_styles.choose_ink_style(effects.ink_styles, rng.random())):
        background, ink, fill = apply_style(background, ink, fill, rng)
    return pixels.blend(background, ink, fill)


def _mean_below(ground: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean color (3,) of the ground below the ink, or of the whole ground if there is no ink."""
    ink = (mask > 0.1).astype(np.uint8)
    return np.array(cv2.mean(ground, ink if ink.any() else None)[:3], np.float32)


def extrude(background: np.ndarray, sides: np.ndarray, mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Paint the sides of block letters, which get a third darker towards the back.

    Args:
        background: float32 (h, w, 3).
        sides: color (3,) of the sides at the front.
        mask: (h, w), the faces of the letters, which are painted later.
        shift: (2,), x and y in pixels from the faces to the back of the letters.
    """
    steps = max(1, math.ceil(np.abs(shift).max()))
    for step in range(steps, 0, -1):  # from the back to the front, a pixel at a time
        share = step / steps
        background = pixels.blend(background, (1 - share / 3) * sides, _translate(mask, share * shift))
    return background


def _paint_background(
    height: int,
    width: int,
    palette: np.ndarray,
    photographs: Sequence[np.ndarray],
    effects: Effects,
    rng: Generator,
) -> np.ndarray:
    base, other, contour = palette[rng.integers(len(palette), size=3)]
    if effects.paper and rng.random() < effects.paper:
        base[:] = 255 - np.abs(rng.normal(0, 18)) - np.abs(rng.normal(0, 5, 3))
    background = pixels.solid_color(base, height, width)
    if photographs and rng.random() < effects.photograph:
        piece = backgrounds.crop_photograph(rng, photographs, height, width)
        if rng.random() < 0.35:
            background = piece
        else:  # the wall is painted; its light and grain remain visible
            calm = pixels.solid_color(colors.mean_color(piece), height, width)
            background = background + rng.uniform(0.1, 0.6) * (piece - calm)
    if rng.random() < effects.gradient:
        background = pixels.blend(background, other, rng.uniform(0, 0.7) * pixels.linear_gradient(rng, height, width))
    if rng.random() < effects.texture:
        cells = int(rng.integers(3, 24))
        background = background + pixels.to_rgb(rng.uniform(5, 40) * pixels.smooth_noise(rng, height, width, cells))
    if rng.random() < effects.panel:
        background = backgrounds.add_panel(rng, background, contour)
    return background


def _add_extrusion(
    background: np.ndarray,
    color: np.ndarray,
    outline: np.ndarray,
    max_shift: float,
    palette: np.ndarray,
    rng: Generator,
) -> np.ndarray:
    """Paint the sides of block letters with faces of ``color``: darker than these, or of a contrasting color.

    The sides reach at most ``max_shift`` pixels to the left or the right.
    """
    dim = rng.uniform(0.3, 0.6) if color @ colors.LUMA > 80 else 0.0  # 0: nothing is darker than black letters
    if dim == 0 or rng.random() < 0.5:
        sides = colors.pick_contrasting_color(rng, palette, color, rng.uniform(70, 180))
    else:
        sides = dim * color
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.22) * outline.shape[0]
    shift = np.array((np.clip(depth * np.cos(angle), -max_shift, max_shift), depth * np.sin(angle)))
    return extrude(background, sides, outline, shift)


def _add_contour(
    background: np.ndarray, color: np.ndarray, word: WordMask, palette: np.ndarray, effects: Effects, rng: Generator
) -> np.ndarray:
    """Paint the contour of letters of ``color``, perhaps with a second contour around it."""
    edge = colors.pick_contrasting_color(rng, palette, color, rng.uniform(60, 220))
    if effects.double_outline and rng.random() < effects.double_outline:
        outer = colors.pick_contrasting_color(rng, palette, edge, rng.uniform(80, 220))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(3, 8)), 5))
        background = pixels.blend(background, outer, cv2.dilate(word.outline, kernel))
    return pixels.blend(background, edge, np.maximum(word.outline - word.fill, 0))


def _add_shadow(background: np.ndarray, color: np.ndarray, mask: np.ndarray, rng: Generator) -> np.ndarray:
    """Paint a soft or hard shadow beside the ink, a halo around it, or the depth of the letters."""
    height = mask.shape[0]
    kind = rng.random()
    shift = rng.uniform(-0.1, 0.1, 2) * height
    if kind < 0.3:  # depth: the union of the mask at several shifts
        depth = mask
        for part in (0.25, 0.5, 0.75, 1.0):
            depth = np.maximum(depth, _translate(mask, shift * part))
        return pixels.blend(background, rng.uniform(0.2, 0.7) * color, depth)
    if kind < 0.85:
        soft = cv2.GaussianBlur(_translate(mask, shift), (0, 0), rng.uniform(0.3, 3))
        return background * pixels.to_rgb(1 - rng.uniform(0.5, 1) * soft)
    halo = cv2.GaussianBlur(mask, (0, 0), rng.uniform(2, 5))
    return pixels.blend(background, 255 - color, np.minimum(1.5 * halo, 0.9))


def _translate(mask: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return cv2.warpAffine(mask, matrix, mask.shape[1::-1])
