"""Light on the painted word, and the camera that takes it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import Effects
from dptr.synth import colors, degradations, pixels


def light_scene(
    image: np.ndarray, fill: np.ndarray, outline: np.ndarray, effects: Effects, rng: Generator
) -> tuple[np.ndarray, float]:
    """Light on the scene, less what would drown the ink: the image, and the ink's contrast in it.

    ``fill`` and ``outline`` are those of ``dptr.synth.warp.WordMask``.
    """
    lit = image
    if rng.random() < effects.lighting:
        lit = degradations.light(lit, rng)
    if rng.random() < effects.bloom:
        lit = degradations.bloom(lit, rng)
    contrast = ink_contrast(lit, fill, outline)
    if lit is not image and contrast < 15 and contrast < (before := ink_contrast(image, fill, outline)):
        lit, contrast = image, before
    for share, effect in (
        (effects.cast_shadow, degradations.cast_shadow),
        (effects.glare, degradations.glare),
        (effects.color_cast, degradations.color_cast),
        (effects.exposure, degradations.vary_exposure),
    ):
        if share and rng.random() < share:
            changed = effect(lit, rng)
            after = ink_contrast(changed, fill, outline)
            if after >= min(25, contrast):
                lit, contrast = changed, after
    if lit is not image:
        lit = np.clip(lit, 0, 255)  # as ``ink_contrast`` saw it: averaged first, thin ink would drown in shining paper
    return lit, contrast


def ink_contrast(image: np.ndarray, fill: np.ndarray, outline: np.ndarray) -> float:
    """How far the ink's mean color is from the background's, as pixels will hold it (0 to 255)."""
    seen = np.clip(image, 0, 255).reshape(-1, 3)
    ink, background = fill.reshape(-1), 1 - outline.reshape(-1)
    return float(np.abs(ink @ seen / (ink.sum() + 1e-3) - background @ seen / (background.sum() + 1e-3)).mean())


def capture(
    image: np.ndarray,
    aspect: float,
    across: float,
    rows: float,
    contrast: float,
    shape: tuple[int, int],
    effects: Effects,
    rng: Generator,
) -> np.ndarray:
    """The camera: uint8 (height, width, 3).

    Args:
        aspect: width over height of the crop as the camera saw it, before it is stretched.
        across, rows: how many letters stand beside each other and one below the other; they keep at least 4.5 pixels
            each along the word, and 8 where there are rows of them, or there would be nothing to read.
        contrast: of the ink to its background (0 to 255); bounds the noise.
        shape: height and width of the finished crop.
    """
    few, many = (9, 26) if rng.random() < effects.low_resolution else (24, 110)
    side = np.exp(rng.uniform(np.log(few), np.log(many)))  # pixels of the crop's shorter side
    side = max(side, 4.5 * across / max(aspect, 1 / aspect), 8 * rows / max(1, 1 / aspect))
    height = min(side * max(1, 1 / aspect), image.shape[0] if rows == 1 else shape[0])
    columns = min(side * max(1, aspect), image.shape[1])
    image = cv2.resize(image, (round(columns), round(height)), interpolation=cv2.INTER_AREA)
    most = min(2.0 * height / 32 / rows, 0.25 * columns / across)  # pixels; two letters must not melt into one,
    most *= min(1, contrast / 60)  # nor faint ones into the background
    if effects.defocus and rng.random() < effects.defocus:
        image = degradations.defocus(image, max(0.7, 2 * most * np.exp(rng.uniform(np.log(0.4), 0))))
    elif rng.random() < effects.blur:
        if rng.random() < 0.75:
            image = degradations.gaussian_blur(image, max(0.3, most * np.exp(rng.uniform(np.log(0.25), 0))))
        else:
            image = degradations.motion_blur(image, rng, max(1.5, most * rng.uniform(1, 3)))
    if rng.random() < effects.sharpen:
        image = degradations.sharpen(image, rng.uniform(0.5, 2))
    if rng.random() < effects.chromatic_aberration:
        image = degradations.chromatic_aberration(image, rng)
    if rng.random() < effects.noise:
        image = degradations.sensor_noise(image, rng, contrast / 4)
    if rng.random() < effects.grayscale:
        luma = image @ colors.LUMA
        if luma.std() > 0.25 * image.std(axis=(0, 1)).max():  # or ink and background differ by hue alone
            image = pixels.to_rgb(luma)
    photo = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < effects.jpeg:
        coded = degradations.jpeg(photo, int(rng.integers(20, 90)))
        if _range(coded) > 0.5 * _range(photo):  # or faint ink is rounded away
            photo = coded
    smaller = photo.shape[0] > shape[0]
    return cv2.resize(photo, shape[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _range(photo: np.ndarray) -> int:
    return max(int(np.ptp(channel)) for channel in cv2.split(photo))
