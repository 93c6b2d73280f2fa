import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from dptr.data import augment as transforms
from dptr.data.augment import OPERATIONS, augment, to_pixels
from dptr.utils.errors import UserError

NAMES = [operation.__name__ for operation in OPERATIONS]
BY_NAME = dict(zip(NAMES, OPERATIONS, strict=True))


def noise(height: int = 32, width: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int = 32, width: int = 128) -> np.ndarray:
    """Slowly varying, so that interpolation is nearly exact; no value at the ends of the range."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9) + np.cos(y / 7), np.cos(x / 11), np.sin(y / 8 + x / 20)]
    return (128 + 40 * np.stack(waves, -1)).astype(np.uint8)


class Fixed(np.random.Generator):
    """Every uniform draw is the same share of the way from low to high; the rest is as random as ever."""

    def __init__(self, share: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.share = share

    def uniform(self, low, high, size=None):
        value = low + (high - low) * self.share
        return value if size is None else np.full(size, value)


def apply(name: str, crop: np.ndarray, share: float, strength: float = 1.0) -> np.ndarray:
    return BY_NAME[name](crop, Fixed(share), strength)


# to_pixels


def test_pixels_have_mean_and_deviation_one_half():
    batch = np.stack([noise(seed=1), noise(seed=2)])
    result = to_pixels(batch)
    assert result.shape == (2, 3, 32, 128)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    reference = torch.from_numpy(batch).permute(0, 3, 1, 2).double().div(255).sub(0.5).div(0.5)
    assert torch.allclose(result.double(), reference, atol=1e-6)
    ends = to_pixels(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, 3))
    assert ends.flatten().tolist() == [-1, 1] * 3


def test_pixels_do_not_touch_or_share_the_batch():
    for batch in (noise()[None], np.zeros((1, 1, 1, 3), np.uint8), np.zeros((0, 32, 128, 3), np.uint8)):
        before = batch.copy()
        batch.flags.writeable = False
        to_pixels(batch).add_(1)
        assert np.array_equal(batch, before)


def test_a_device_computes_the_same_pixels() -> None:
    batch = np.arange(256, dtype=np.uint8).repeat(3).reshape(2, 8, 16, 3)
    pixels = transforms._scaled(torch.from_numpy(batch))
    assert torch.equal(pixels, to_pixels(batch)) and pixels.is_contiguous()


# augment as a whole


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5, 1.0])
def test_pure_function_of_crop_generator_and_strength(strength):
    crop = noise()
    before = crop.copy()
    crop.flags.writeable = False
    first = [augment(crop, np.random.default_rng(seed), strength) for seed in range(50)]
    np.random.seed(1)  # the global state must not matter
    second = [augment(crop, np.random.default_rng(seed), strength) for seed in range(50)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.array_equal(crop, before)
    for result in first:
        assert result.dtype == np.uint8
        assert result.shape == crop.shape
    if strength == 0:
        assert all(np.array_equal(result, crop) for result in first)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
def test_share_of_crops_left_alone(strength):
    """Three operations, each applied with probability ``strength``: (1 - strength) ** 3 stay as they are."""
    rng = np.random.default_rng(5)
    crop = noise()
    count = 800
    same = sum(augment(crop, rng, strength) is crop for _ in range(count))
    expected = (1 - strength) ** 3
    assert abs(same / count - expected) < 4 * (expected * (1 - expected) / count) ** 0.5 + 1e-9


def test_change_grows_with_strength():
    crop = smooth()
    rng = np.random.default_rng(6)
    change = [
        np.mean([np.abs(augment(crop, rng, strength).astype(int) - crop).mean() for _ in range(300)])
        for strength in (0.0, 0.2, 0.5, 1.0)
    ]
    assert change == sorted(change)
    assert change[0] == 0
    assert change[1] > 0.5


def test_every_operation_is_drawn_and_none_twice(monkeypatch):
    drawn: list[list[int]] = []

    def recorder(index: int):
        def operation(crop, rng, strength):
            drawn[-1].append(index)
            return crop

        return operation

    monkeypatch.setattr(transforms, "OPERATIONS", tuple(recorder(index) for index in range(len(NAMES))))
    rng = np.random.default_rng(0)
    for _ in range(600):
        drawn.append([])
        augment(noise(), rng, 1.0)
    assert all(len(set(indices)) == 3 for indices in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=len(NAMES))
    assert counts.min() > 0.5 * counts.mean()


@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (32, 1), (8, 8), (64, 256), (7, 301)])
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_takes_every_shape(name, shape):
    crop = noise(*shape)
    before = crop.copy()
    crop.flags.writeable = False
    for seed in range(4):
        result = BY_NAME[name](crop, np.random.default_rng(seed), (seed + 1) / 4)
        assert result.dtype == np.uint8
        assert result.shape == crop.shape
    assert np.array_equal(crop, before)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("_autocontrast", "_equalize", "_invert")])
def test_magnitudes_vanish_with_strength(name):
    crop = smooth()
    rng = np.random.default_rng(0)
    change = [np.abs(BY_NAME[name](crop, rng, 1e-3).astype(int) - crop).mean() for _ in range(5)]
    floor = {"_gaussian_blur": 0.5, "_motion_blur": 2.0}.get(name, 0.3)  # blurs have a least width
    assert max(change) < floor


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_outside_its_range(strength):
    with pytest.raises(UserError, match="between 0 and 1"):
        augment(noise(), np.random.default_rng(0), strength)


def test_opencv_missing_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"needs cv2.*pip install \./weights '\.\[train\]'"):
        for seed in range(20):
            augment(noise(), np.random.default_rng(seed), 1.0)


def test_speed():
    """The bar is 2,000 crops a second on one core at the default strength; a tenth of it, as machines are shared."""
    crop = smooth()
    rng = np.random.default_rng(0)
    augment(crop, rng, 1.0)
    start = time.process_time()
    for _ in range(300):
        augment(crop, rng, 0.5)
    assert 300 / (time.process_time() - start) > 200


# Each operation against its definition


def shifted(crop: np.ndarray, right: int, down: int) -> np.ndarray:
    height, width = crop.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return crop[rows][:, columns]


def test_translations_move_by_their_share_and_repeat_the_edge():
    crop = noise(40, 100)
    assert np.array_equal(apply("_translate_x", crop, 1.0), shifted(crop, 10, 0))
    assert np.array_equal(apply("_translate_x", crop, 0.0, 0.5), shifted(crop, -5, 0))
    assert np.array_equal(apply("_translate_y", crop, 1.0), shifted(crop, 0, 12))
    assert np.array_equal(apply("_translate_y", crop, 0.0, 0.5), shifted(crop, 0, -6))


def warped(crop: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Bilinear sampling in float at ``inverse @ (x, y)`` about the center."""
    height, width = crop.shape[:2]
    y, x = np.mgrid[:height, :width].astype(float)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    u, v = np.tensordot(inverse, np.stack([x - cx, y - cy]), 1) + np.array([cx, cy])[:, None, None]
    u, v = np.clip(u, 0, width - 1), np.clip(v, 0, height - 1)
    left, top = np.minimum(u.astype(int), width - 2), np.minimum(v.astype(int), height - 2)
    fu, fv = (u - left)[..., None], (v - top)[..., None]
    upper = crop[top, left] * (1 - fu) + crop[top, left + 1] * fu
    lower = crop[top + 1, left] * (1 - fu) + crop[top + 1, left + 1] * fu
    return upper * (1 - fv) + lower * fv


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_rotation_and_shears_against_a_plain_resampler(share):
    crop = smooth()
    signed = 2 * share - 1
    angle = np.deg2rad(15 * signed)
    matrices = {
        "_rotate": [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]],
        "_shear_x": [[1, 0.9 * signed], [0, 1]],
        "_shear_y": [[1, 0], [0.2 * signed, 1]],
    }
    for name, forward in matrices.items():
        reference = warped(crop, np.linalg.inv(forward))
        assert np.abs(apply(name, crop, share) - reference).max() <= 2, name


@pytest.mark.parametrize("name", ["_rotate", "_shear_y"])
@pytest.mark.parametrize("width", [128, 320, 640])
def test_the_ends_of_a_long_crop_stay_in_it(name: str, width: int) -> None:
    crop = np.zeros((32, width, 3), np.uint8)
    crop[12:20, :6] = crop[12:20, -6:] = 255  # strokes in the middle third of the height, at both ends
    operation = BY_NAME[name]
    for seed in range(100):
        changed = operation(crop.copy(), np.random.default_rng(seed), 1.0)
        left, right = (part.max(axis=(1, 2)).sum() for part in (changed[:, :8], changed[:, -8:]))
        assert min(left, right) > 255, f"seed {seed}: the end of the word is gone"


def test_perspective_moves_the_corners_where_it_was_told():
    """All corners moved alike is a translation."""
    crop = noise(40, 100)
    assert np.array_equal(apply("_perspective", crop, 1.0), shifted(crop, 10, 10))
    assert np.array_equal(apply("_perspective", crop, 0.5), crop)


def test_blurs_keep_the_mean_and_spread_a_point():
    point = np.zeros((65, 65, 3), np.uint8)
    point[32, 32] = 255
    blurred = apply("_gaussian_blur", point, 1.0).astype(float)[:, :, 0]  # sigma = 4 % of 65
    y, x = np.mgrid[:65, :65] - 32
    kernel = np.exp(-(x**2 + y**2) / (2 * 2.6**2))
    assert np.abs(blurred - 255 * kernel / kernel.sum()).max() <= 1
    streak = apply("_motion_blur", point, 1.0)[:, :, 0]  # 8 % of 65 = 5.2 pixels at 180 degrees
    assert np.flatnonzero(streak.any(1)).tolist() == [32]
    assert np.flatnonzero(streak.any(0)).tolist() == list(range(30, 35))
    for name in ("_gaussian_blur", "_motion_blur"):
        assert abs(apply(name, smooth(), 1.0).mean() - smooth().mean()) < 1.5


def test_noise_has_its_deviation_and_no_bias():
    gray = np.full((200, 200, 3), 128, np.uint8)

    gaussian = apply("_gaussian_noise", gray, 0.5).astype(float) - 128
    assert abs(gaussian.std() - 12.75) < 0.2
    assert abs(gaussian.mean()) < 0.2
    assert abs(np.corrcoef(gaussian[:, :, 0].ravel(), gaussian[:, :, 1].ravel())[0, 1]) < 0.03
    poisson = apply("_poisson_noise", gray, 0.5).astype(float) - 128
    assert abs((poisson**2).mean() - (20 + 20**2)) < 10  # second moment of Poisson(20), whatever the sign
    assert abs(poisson.mean()) < 0.5
    assert np.array_equal(poisson[:, :, 0], poisson[:, :, 1])


def test_tone_operations_against_their_formulas():
    crop = noise()
    values = crop.astype(float)

    def close(name: str, share: float, reference: np.ndarray) -> None:
        expected = np.clip(reference, 0, 255)
        assert np.abs(apply(name, crop, share) - expected).max() <= 1, name

    close("_invert", 0.0, 255 - values)
    close("_brightness", 1.0, values * 1.6)
    close("_brightness", 0.0, values * 0.4)
    close("_contrast", 0.0, values.mean() + 0.1 * (values - values.mean()))
    gray = values @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    close("_color", 0.0, gray[:, :, None] + 0.1 * (values - gray[:, :, None]))
    close("_gamma", 1.0, 255 * (values / 255) ** 2.5)
    close("_gamma", 0.0, 255 * (values / 255) ** 0.4)
    close("_autocontrast", 0.0, values)  # it spans 0..255 already
    assert np.array_equal(apply("_posterize", crop, 1.0), crop // 16 * 16)
    assert np.array_equal(apply("_solarize", crop, 1.0), 255 - crop)
    assert np.array_equal(apply("_solarize", crop, 0.5), np.where(crop < 128, crop, 255 - crop))
    assert np.array_equal(apply("_solarize_add", crop, 1.0), np.where(crop < 128, values + 110, values))


def test_autocontrast_and_equalize_use_the_whole_range_of_each_channel():
    crop = (noise() // 4 + np.array([10, 60, 150])).astype(np.uint8)
    for name in ("_autocontrast", "_equalize"):
        result = apply(name, crop, 0.0)
        assert result.min((0, 1)).tolist() == [0, 0, 0]
        assert result.max((0, 1)).tolist() == [255, 255, 255]
    flat = np.full((8, 8, 3), 90, np.uint8)
    assert apply("_autocontrast", flat, 0.0).shape == flat.shape


def test_sharpness_against_pillow():
    """Inside the frame, which Pillow's filter leaves as it is."""
    crop = noise()
    for share, factor in ((0.0, 0.1), (0.5, 1.0), (1.0, 1.9)):
        reference = np.asarray(ImageEnhance.Sharpness(Image.fromarray(crop)).enhance(factor)).astype(int)
        assert np.abs(apply("_sharpness", crop, share).astype(int) - reference)[1:-1, 1:-1].max() <= 2
