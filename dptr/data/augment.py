"""Augmentation of uint8 crops, and their conversion to pixels in [-1, 1].

``augment`` is RandAugment (Cubuk et al., CVPR Workshops 2020) with the operations that PARSeq (Bautista and Atienza,
ECCV 2022; baudm/parseq ``strhub/data/augment.py``) uses for text (timm's "increasing" set, Gaussian blur, Poisson
noise), and motion blur, Gaussian noise, gamma and perspective.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dptr.utils import resize
from dptr.utils.errors import UserError
from dptr.utils.extras import import_package

LAYERS = 3  # operations drawn per crop, as in PARSeq
MOTION = 0.08  # length of the longest motion blur, as a share of ``blur_side``
SIGMA = 0.04  # of the strongest Gaussian blur, as a share of the height
LONG = 4  # width / height of the crops for which slopes and blurs were chosen: 32x128

_Crop = UInt8[np.ndarray, "h w 3"]
Operation = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]


def to_pixels(batch: UInt8[np.ndarray, "b h w 3"], device: torch.device | None = None) -> Float[Tensor, "b 3 h w"]:
    """``dptr.utils.resize.to_pixels`` as a tensor, computed on ``device``: bytes are copied there, not floats.

    CUDA divides by multiplying with the reciprocal, so its pixels may differ in the last bit.
    """
    if device is None or device.type == "cpu":
        return torch.from_numpy(resize.to_pixels(batch))
    return _scaled(torch.from_numpy(batch).to(device))


def _scaled(crops: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    return crops.permute(0, 3, 1, 2).contiguous().float().div_(resize.HALF_RANGE).sub_(1)


def augment(crop: _Crop, rng: np.random.Generator, strength: float) -> _Crop:
    """Draw ``LAYERS`` different operations; apply each with probability ``strength``, at magnitudes up to ``strength``.

    Strength 0.5 is about PARSeq's setting (each of 3 operations with probability 0.5, magnitude 5 of 10). Magnitudes
    are uniform up to ``strength`` times the maxima below; timm's are nearly fixed. Geometric operations fill the border
    with edge pixels.

    Args:
        crop: is not changed.
        rng: the only source of randomness.
        strength: 0 (no change) to 1.

    Raises:
        UserError: ``strength`` is outside 0..1, or OpenCV is missing.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"augmentation strength {strength}; it lies between 0 and 1; change it")
    chosen = rng.choice(len(OPERATIONS), LAYERS, replace=False)
    for index, draw in zip(chosen, rng.random(LAYERS), strict=True):
        if draw < strength:
            crop = OPERATIONS[index](crop, rng, strength)
    return crop


def slope_share(height: int, width: int) -> float:
    """Factor, at most 1, on slopes of a crop, so that its ends move as far as those of a crop ``LONG`` heights long."""
    return min(1.0, LONG * height / width)


def blur_side(height: int, width: int) -> int:
    """The length in pixels to which that of a motion blur is relative: the longer side, at most ``LONG`` heights."""
    return min(max(height, width), LONG * height)


def _signed(rng: np.random.Generator, limit: float) -> float:
    return float(rng.uniform(-limit, limit))


def _affine(crop: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp by ``matrix`` (2, 3): linear about the center, then a shift in pixels."""
    cv2 = _import_cv2()
    height, width = crop.shape[:2]
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] += center - matrix[:, :2] @ center
    return cv2.warpAffine(crop, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _rotate(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Up to 15 degrees, less in longer crops. PARSeq's 30 would move the ends of a long word out of the crop."""
    angle = np.deg2rad(_signed(rng, 15 * slope_share(*crop.shape[:2]) * strength))
    return _affine(crop, np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]))


def _shear_x(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Slant: up to 0.9 pixels sideways per pixel of height (PARSeq ``shear_x_pct``)."""
    return _affine(crop, np.array([[1, _signed(rng, 0.9 * strength), 0], [0, 1, 0]]))


def _shear_y(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Slope: up to 0.2 pixels upwards per pixel of width (PARSeq ``shear_y_pct``), less in longer crops."""
    return _affine(crop, np.array([[1, 0, 0], [_signed(rng, 0.2 * slope_share(*crop.shape[:2]) * strength), 1, 0]]))


def _translate_x(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Up to 10 % of the width (PARSeq ``translate_x_pct``)."""
    return _affine(crop, np.array([[1, 0, _signed(rng, 0.1 * strength) * crop.shape[1]], [0, 1, 0]]))


def _translate_y(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Up to 30 % of the height (PARSeq ``translate_y_pct``)."""
    return _affine(crop, np.array([[1, 0, 0], [0, 1, _signed(rng, 0.3 * strength) * crop.shape[0]]]))


def _perspective(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Each corner moves by up to 10 % of the width and 25 % of the height."""
    cv2 = _import_cv2()
    height, width = crop.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    shift = rng.uniform(-strength, strength, (4, 2)) * (0.1 * width, 0.25 * height)
    matrix = cv2.getPerspectiveTransform(corners, (corners + shift).astype(np.float32))
    return cv2.warpPerspective(crop, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _gaussian_blur(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Sigma up to 4 % of the height and at least 0.3 pixels."""
    sigma = max(0.3, rng.uniform(0, SIGMA * strength) * crop.shape[0])
    return _import_cv2().GaussianBlur(crop, (0, 0), sigma, borderType=_import_cv2().BORDER_REPLICATE)


def _motion_blur(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A line of 3 pixels to 8 % of ``blur_side``, in any direction (PARSeq ``motion_blur``)."""
    cv2 = _import_cv2()
    length = max(3.0, rng.uniform(0, MOTION * strength) * blur_side(*crop.shape[:2]))
    size = int(np.ceil(length)) | 1
    angle = rng.uniform(0, np.pi)
    reach = (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = np.rint(size // 2 - reach).astype(int), np.rint(size // 2 + reach).astype(int)
    kernel = cv2.line(np.zeros((size, size), np.float32), start.tolist(), end.tolist(), 1.0)
    return cv2.filter2D(crop, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _gaussian_noise(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Standard deviation up to 10 % of the range (PARSeq ``GaussianNoise``)."""
    noise = rng.standard_normal(crop.shape, np.float32)
    noise *= rng.uniform(0, 25.5 * strength)
    noise += crop
    return _to_uint8(noise)


def _poisson_noise(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Poisson noise of lambda up to 40 with random sign, equal in all channels (imgaug ``AdditivePoissonNoise``)."""
    noise = rng.poisson(rng.uniform(0, 40 * strength), crop.shape[:2])
    noise *= rng.integers(0, 2, noise.shape) * 2 - 1
    return _to_uint8(crop + noise[:, :, None])


def _autocontrast(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Stretch each channel to 0..255."""
    pixels = crop.reshape(-1, 3)
    low, high = pixels.min(0), pixels.max(0)
    return _to_uint8((crop - low) * (np.float32(255) / np.maximum(high - low, 1)))


def _equalize(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Equalize the histogram of each channel."""
    cv2 = _import_cv2()
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(crop)])


def _invert(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    return 255 - crop


def _posterize(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Keep 4 to 8 bits (timm ``PosterizeIncreasing``)."""
    bits = 8 - round(rng.uniform(0, 4 * strength))
    return crop & np.uint8(256 - (1 << (8 - bits)))


def _solarize(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Invert values from a threshold on, which is 256 or less, down to 0 (timm ``SolarizeIncreasing``)."""
    threshold = 256 - rng.uniform(0, 256 * strength)
    return np.where(crop >= threshold, 255 - crop, crop)


def _solarize_add(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Add up to 110 to values below 128 (timm ``SolarizeAdd``)."""
    amount = np.uint8(rng.uniform(0, 110 * strength))
    return np.where(crop < 128, crop + amount, crop)


def _color(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Away from or towards gray by a factor within 1 +- 0.9 (timm ``ColorIncreasing``)."""
    gray = _import_cv2().cvtColor(crop, _import_cv2().COLOR_RGB2GRAY)[:, :, None].astype(np.float32)
    return _to_uint8(gray + (crop - gray) * (1 + _signed(rng, 0.9 * strength)))


def _contrast(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Away from or towards the mean by a factor within 1 +- 0.9 (timm ``ContrastIncreasing``)."""
    mean = np.float32(crop.mean())
    return _to_uint8(mean + (crop - mean) * np.float32(1 + _signed(rng, 0.9 * strength)))


def _brightness(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A factor within 1 +- 0.6. The 0.9 of timm's ``BrightnessIncreasing`` would white out bright text."""
    return _to_uint8(crop * np.float32(1 + _signed(rng, 0.6 * strength)))


def _sharpness(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Away from or towards Pillow's ``SMOOTH`` filter by a factor within 1 +- 0.9 (timm ``SharpnessIncreasing``)."""
    cv2 = _import_cv2()
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
    smooth = cv2.filter2D(crop, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
    return _to_uint8(smooth + (crop - smooth) * np.float32(1 + _signed(rng, 0.9 * strength)))


def _gamma(crop: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A log-uniform exponent, 1/2.5 to 2.5 at full strength."""
    exponent = 2.5 ** _signed(rng, strength)
    table = _to_uint8(255 * (np.arange(256) / 255) ** exponent)
    return table[crop]


OPERATIONS: tuple[Operation, ...] = (
    _rotate,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
    _perspective,
    _gaussian_blur,
    _motion_blur,
    _gaussian_noise,
    _poisson_noise,
    _autocontrast,
    _equalize,
    _invert,
    _posterize,
    _solarize,
    _solarize_add,
    _color,
    _contrast,
    _brightness,
    _sharpness,
    _gamma,
)


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _import_cv2() -> Any:
    return import_package("cv2", "augmentation", "train")
