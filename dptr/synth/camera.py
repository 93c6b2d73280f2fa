"""The last steps of rendering: light falls on the painted word, and a camera takes its picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import Effects
from dptr.synth import colors, degradations, pixels


def light_scene(
    image: np.ndarray, fill: np.ndarray, outline: np.ndarray, effects: Effects, rng: Generator
) -> tuple[np.ndarray, float]:
    """Add effects of light to the scene, except those that would make the ink unreadable.

    Args:
        image: the painted word, float32 (h, w, 3), RGB in [0, 255].
        fill, outline: masks (h, w) of the word, see ``dptr.synth.warp.WordMask``.

    Returns:
        The lit image, and the contrast of the ink in it (``ink_contrast``).
    """
    lit = image
    if rng.random() < effects.lighting:
        lit = degradations.light(lit, rng)
    if rng.random() < effects.bloom:
        lit = degradations.bloom(lit, rng)
    contrast = ink_contrast(lit, fill, outline)
    if lit is not image and contrast < 15 and contrast < (before := ink_contrast(image, fill, outline)):
        lit, contrast = image, before
    for probability, effect in (
        (effects.cast_shadow, degradations.cast_shadow),
        (effects.glare, degradations.glare),
        (effects.color_cast, degradations.color_cast),
        (effects.exposure, degradations.vary_exposure),
    ):
        if probability and rng.random() < probability:
            candidate = effect(lit, rng)
            candidate_contrast = ink_contrast(candidate, fill, outline)
            if candidate_contrast >= min(25, contrast):
                lit, contrast = candidate, candidate_contrast
    if lit is not image:
        lit = np.clip(lit, 0, 255)  # ``capture`` averages pixels: values above 255 would drown thin ink in bright paper
    return lit, contrast


def ink_contrast(image: np.ndarray, fill: np.ndarray, outline: np.ndarray) -> float:
    """The difference between the mean colors of ink and background, clipped to [0, 255] and averaged over RGB."""
    clipped = np.clip(image, 0, 255).reshape(-1, 3)
    ink, background = fill.reshape(-1), 1 - outline.reshape(-1)
    return float(np.abs(ink @ clipped / (ink.sum() + 1e-3) - background @ clipped / (background.sum() + 1e-3)).mean())


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
    """Take the picture: reduce the resolution, blur, sharpen, add noise, compress, and stretch to ``shape``.

    Args:
        image: float32 (h, w, 3), RGB.
        aspect: width / height of the crop as the camera sees it, before it is stretched to ``shape``.
        across, rows: how many letters stand side by side, and how many one below the other. To stay readable, a letter
            keeps at least 4.5 pixels along the word, and a row of letters 8 pixels of height, unless the crop has less.
        contrast: difference of the ink from its background (0 to 255); limits blur and noise.
        shape: height and width of the finished crop in pixels.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    low, high = (9, 26) if rng.random() < effects.low_resolution else (24, 110)
    side = np.exp(rng.uniform(np.log(low), np.log(high)))  # pixels of the crop's shorter side
    side = max(side, 4.5 * across / max(aspect, 1 / aspect), 8 * rows / max(1, 1 / aspect))
    height = min(side * max(1, 1 / aspect), image.shape[0] if rows == 1 else shape[0])
    columns = min(side * max(1, aspect), image.shape[1])
    image = cv2.resize(image, (round(columns), round(height)), interpolation=cv2.INTER_AREA)
    # Pixels of blur at most: two letters must not melt into one, nor faint letters into the background.
    max_blur = min(2.0 * height / 32 / rows, 0.25 * columns / across)
    max_blur *= min(1, contrast / 60)
    if effects.defocus and rng.random() < effects.defocus:
        image = degradations.defocus(image, max(0.7, 2 * max_blur * np.exp(rng.uniform(np.log(0.4), 0))))
    elif rng.random() < effects.blur:
        if rng.random() < 0.75:
            image = degradations.gaussian_blur(image, max(0.3, max_blur * np.exp(rng.uniform(np.log(0.25), 0))))
        else:
            image = degradations.motion_blur(image, rng, max(1.5, max_blur * rng.uniform(1, 3)))
    if rng.random() < effects.sharpen:
        image = degradations.sharpen(image, rng.uniform(0.5, 2))
    if rng.random() < effects.chromatic_aberration:
        image = degradations.chromatic_aberration(image, rng)
    if rng.random() < effects.noise:
        image = degradations.sensor_noise(image, rng, contrast / 4)
    if rng.random() < effects.grayscale:
        luma = image @ colors.LUMA
        if luma.std() > 0.25 * image.std(axis=(0, 1)).max():  # else ink and background differ by hue alone
            image = pixels.to_rgb(luma)
    crop = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < effects.jpeg:
        compressed = degradations.jpeg(crop, int(rng.integers(20, 90)))
        if _value_range(compressed) > 0.5 * _value_range(crop):  # else the compression has rounded faint ink away
            crop = compressed
    smaller = crop.shape[0] > shape[0]
    return cv2.resize(crop, shape[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _value_range(crop: np.ndarray) -> int:
    """The largest difference between two values of one channel."""
    return max(int(np.ptp(channel)) for channel in cv2.split(crop))
