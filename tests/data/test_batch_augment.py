"""Augmentation of whole batches: each operation against ``transforms`` (OpenCV, NumPy), draws by statistics."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from dptr.data import augment as transforms
from dptr.data.batch_augment import Draws, apply_draws, augment_batch, draw, identity_draws
from dptr.utils.resize import to_pixels

HEIGHT, WIDTH = 32, 128


def smooth_crops(count: int = 4) -> np.ndarray:
    """Blurred noise, so that interpolation's rounding does not show."""
    rng = np.random.default_rng(5)
    crops = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3)).astype(np.uint8)
    return np.stack([cv2.normalize(cv2.GaussianBlur(crop, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX) for crop in crops])


def run(crops: np.ndarray, **changed: torch.Tensor) -> np.ndarray:
    draws = dataclasses.replace(identity_draws(len(crops)), **{key: value.float() for key, value in changed.items()})
    return apply_draws(torch.from_numpy(crops), draws, torch.Generator().manual_seed(0)).permute(0, 2, 3, 1).numpy()


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)


class Fixed:
    """A generator whose uniform draws are the upper end times ``share``: the operations' magnitudes become known."""

    def __init__(self, share: float):
        self.share = share

    def uniform(self, low: float, high: float, size: object = None) -> float:
        return low + (high - low) * self.share


def test_nothing_changes_nothing() -> None:
    crops = smooth_crops()
    np.testing.assert_array_equal(run(crops), crops)
    strength = torch.zeros(len(crops))
    pixels = augment_batch(torch.from_numpy(crops), strength, *generators(1))
    np.testing.assert_array_equal(pixels.numpy(), to_pixels(crops))


def test_pixels_stay_within_range_whatever_is_drawn_together() -> None:
    """Stretched and inverted, a crop fell below 0 by a rounding, of which gamma made no number at all."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        top = torch.randint(20, 256, (4096, 1, 1, 1), generator=generator)
        crops = (torch.rand(4096, 8, 16, 3, generator=generator) * top).byte()
        pixels = augment_batch(crops, torch.ones(len(crops)), generator, generator)
        assert pixels.min() >= -1 and pixels.max() <= 1


TONES = {  # magnitude drawn at 80 % of the interval, strength 0.7; uint8 rounding between steps: within 1 of 255
    "autocontrast": (transforms._autocontrast, {"autocontrast": True}),
    "invert": (transforms._invert, {"invert": True}),
    "posterize": (transforms._posterize, {"bits": round(4 * 0.7 * 0.8)}),
    "solarize": (transforms._solarize, {"threshold": 256 - 256 * 0.7 * 0.8}),
    "solarize_add": (transforms._solarize_add, {"added": int(110 * 0.7 * 0.8)}),
    "color": (transforms._color, {"color": 1 + 0.9 * 0.7 * 0.6}),
    "contrast": (transforms._contrast, {"contrast": 1 + 0.9 * 0.7 * 0.6}),
    "brightness": (transforms._brightness, {"brightness": 1 + 0.6 * 0.7 * 0.6}),
    "sharpness": (transforms._sharpness, {"sharpness": 1 + 0.9 * 0.7 * 0.6}),
    "gamma": (transforms._gamma, {"exponent": 2.5 ** (0.7 * 0.6)}),
    "gaussian_blur": (transforms._gaussian_blur, {"sigma": 0.04 * 0.7 * 0.8 * HEIGHT}),
}


@pytest.mark.parametrize("name", TONES)
def test_each_tone_is_that_of_transforms(name: str) -> None:
    crops = smooth_crops()
    operation, changed = TONES[name]
    given = {key: torch.full((len(crops), 1), value) for key, value in changed.items()}
    got = run(crops, **given)
    wanted = np.stack([operation(crop, Fixed(0.8), 0.7) for crop in crops])  # type: ignore[arg-type]
    assert np.abs(wanted.astype(int) - crops).max() > 2, "the operation does something"
    inside = slice(1, -1) if name == "sharpness" else slice(None)  # OpenCV's border there is another
    assert np.abs(got - wanted)[:, inside, inside].max() <= 1


def test_turning_and_moving_are_opencvs_warp() -> None:
    crops = smooth_crops()
    matrix = np.array([[0.98, -0.17], [0.17, 0.98]])
    shift = np.array([5.0, -3.0])
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    whole = np.concatenate([matrix, (middle + shift - matrix @ middle)[:, None]], 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    wanted = [
        cv2.warpAffine(crop, whole, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REPLICATE) for crop in crops
    ]
    got = run(
        crops,
        matrix=torch.tensor(matrix, dtype=torch.float32).flatten().expand(len(crops), 4),
        shift=torch.tensor(shift, dtype=torch.float32).expand(len(crops), 2),
    )
    assert np.abs(got - np.stack(wanted)).max() <= 3, "OpenCV places pixels to a 32nd"


def test_moved_corners_are_met_exactly() -> None:
    """A ramp over x shows from where each pixel was taken; between corners it is bilinear, by hand."""
    ramp = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, WIDTH, 3))[None].copy()
    corners = torch.tensor([[10.0, 0, -20, 0, 4, 0, -6, 0]])
    got = run(ramp, corners=corners)[0, :, :, 0]
    assert got[0, 0] == 10 and got[0, -1] == WIDTH - 1 - 20 and got[-1, 0] == 4 and got[-1, -1] == WIDTH - 1 - 6
    v, u = 8 / (HEIGHT - 1), 50 / (WIDTH - 1)
    moved = (1 - v) * ((1 - u) * 10 - u * 20) + v * ((1 - u) * 4 - u * 6)
    assert abs(got[8, 50] - (50 + moved)) <= 0.51


def test_motion_is_the_mean_over_its_line() -> None:
    dot = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    dot[0, 16, 60] = 250
    got = run(dot, motion=torch.tensor([[8.0, 0]]))[0, :, :, 0]
    np.testing.assert_array_equal(np.flatnonzero(got[16]), [56, 58, 60, 62, 64])
    assert set(got[16, 56:65:2]) == {50} and got.sum() == 250


def test_noise_has_the_deviation_and_mean_asked_for() -> None:
    gray = np.full((2, HEIGHT, WIDTH, 3), 128, np.uint8)
    got = run(gray, gaussian=torch.tensor([[12.0], [0]]), poisson=torch.tensor([[0.0], [9]]))
    assert abs((got[0] - 128).std() - 12) < 0.4 and abs(got[0].mean() - 128) < 0.4
    assert np.ptp(got[1], axis=-1).max() == 0, "alike in all channels"
    assert abs(np.abs(got[1] - 128).mean() - 9) < 0.2 and abs((got[1] - 128).mean()) < 0.5


def test_as_many_operations_as_asked_for_and_no_stronger() -> None:
    """Three of twenty operations a crop, each with probability ``strength``, at magnitudes up to the maxima."""
    count, strength = 20_000, 0.5
    draws = draw(torch.full((count,), strength), HEIGHT, WIDTH, torch.Generator().manual_seed(3))
    none = identity_draws(count)
    for name in ("invert", "autocontrast"):
        assert abs(getattr(draws, name).float().mean() - 3 / 20 * strength) < 0.01
    touched = [
        (getattr(draws, field.name) != getattr(none, field.name)).any(1)
        for field in dataclasses.fields(Draws)
        if field.name not in ("matrix", "shift")
    ]
    assert abs(torch.stack(touched).float().sum(0).mean() - 3 * strength * 15 / 20) < 0.04, (
        "15 of 20 have fields of their own"
    )
    most = {"color": 0.9, "contrast": 0.9, "brightness": 0.6, "sharpness": 0.9}
    for name, limit in most.items():
        reach = (getattr(draws, name) - 1).abs().max()
        assert 0.9 * limit * strength < reach <= limit * strength + 1e-6
    assert (
        draws.shift[:, 0].abs().max() <= 0.1 * WIDTH * strength
        and draws.shift[:, 1].abs().max() <= 0.3 * HEIGHT * strength
    )
    assert draws.corners[:, ::2].abs().max() <= 0.1 * WIDTH * strength
    assert (
        draws.sigma.max() <= 0.04 * strength * HEIGHT
        and draws.motion.norm(dim=1).max() <= 0.08 * strength * WIDTH + 1e-4
    )
    assert draws.gaussian.max() <= 25.5 * strength and draws.poisson.max() <= 40 * strength


def test_same_generator_same_crops_and_strength_is_each_crops_own() -> None:
    crops = torch.from_numpy(smooth_crops(64))
    strength = torch.cat([torch.zeros(32), torch.ones(32)])
    once, again = (augment_batch(crops, strength, *generators(9)) for _ in range(2))
    assert torch.equal(once, again)
    plain = torch.from_numpy(to_pixels(crops.numpy()))
    assert torch.equal(once[:32], plain[:32])
    assert (once[32:] != plain[32:]).flatten(1).any(1).float().mean() > 0.9


def test_operations_drawn_for_a_batch_come_as_often_for_each_crop() -> None:
    """Of five operations a step all twenty come over many steps, three a crop, each as often as without the limit."""
    generator = torch.Generator().manual_seed(6)
    still = identity_draws(8)
    fields = [field.name for field in dataclasses.fields(Draws)]
    counts: list[dict[str, float]] = []
    for among in (0, 5):
        changed = dict.fromkeys(fields, 0)
        for _ in range(600):
            draws = draw(torch.ones(8), HEIGHT, WIDTH, generator, among)
            for name in fields:
                changed[name] += int((getattr(draws, name) != getattr(still, name)).any(1).sum())
        counts.append({name: count / 4800 for name, count in changed.items()})
    assert counts[1] == pytest.approx(counts[0], abs=0.05)
    some = draw(torch.ones(500), HEIGHT, WIDTH, generator, 5)
    still = identity_draws(500)
    assert sum(bool((getattr(some, name) != getattr(still, name)).any()) for name in fields) <= 5
