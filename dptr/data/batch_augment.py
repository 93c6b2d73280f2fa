"""``dptr.data.augment.augment`` for a whole batch at once, on the device that the crops lie on.

The same operations, at the same magnitudes and as often, but for ``_equalize``; in one order (geometry, blur, tone,
noise) instead of a drawn one, and rounded to whole values only after the blur and at the end. What is drawn is drawn on
the CPU, so that each operation is computed for the crops alone that it was drawn for, and a GPU never waited for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from dptr.data.augment import LAYERS, MOTION, SIGMA, blur_side, slope_share
from dptr.utils import resize

_OPERATIONS = (
    "rotate", "shear_x", "shear_y", "translate_x", "translate_y", "perspective", "gaussian_blur", "motion_blur",
    "gaussian_noise", "poisson_noise", "autocontrast", "invert", "posterize", "solarize", "solarize_add", "color",
    "contrast", "brightness", "sharpness", "gamma",
)  # fmt: skip


@dataclass(frozen=True)
class Draws:
    """What happens to each crop of a batch, on the CPU; ``identity_draws`` has the values that change nothing.

    Attributes:
        matrix: of the map from a pixel's place in the new crop to the old, about the middle, by rows.
        shift: added to it, in pixels.
        corners: where the four corners (upper left, upper right, lower left, lower right) are taken from, x and y in
            pixels from where they were; in between bilinear.
        motion: the line (x, y) over which a pixel is smeared, in pixels.
        sigma: of a Gaussian blur, in pixels.
        autocontrast, invert: 1 = yes.
        bits: how many of the lowest bits are dropped.
        threshold: from which value up a pixel is inverted.
        added: to values below 128.
        color, contrast, brightness, sharpness: factors.
        exponent: of gamma.
        gaussian: deviation of the noise, of 255.
        poisson: mean of the noise, of 255.
    """

    matrix: Float[Tensor, "b 4"]
    shift: Float[Tensor, "b 2"]
    corners: Float[Tensor, "b 8"]
    motion: Float[Tensor, "b 2"]
    sigma: Float[Tensor, "b 1"]
    autocontrast: Float[Tensor, "b 1"]
    invert: Float[Tensor, "b 1"]
    bits: Float[Tensor, "b 1"]
    threshold: Float[Tensor, "b 1"]
    added: Float[Tensor, "b 1"]
    color: Float[Tensor, "b 1"]
    contrast: Float[Tensor, "b 1"]
    brightness: Float[Tensor, "b 1"]
    sharpness: Float[Tensor, "b 1"]
    exponent: Float[Tensor, "b 1"]
    gaussian: Float[Tensor, "b 1"]
    poisson: Float[Tensor, "b 1"]


def identity_draws(count: int) -> Draws:
    """Draws that change nothing."""
    zero, one = torch.zeros(count, 1), torch.ones(count, 1)
    still, corners = torch.zeros(count, 2), torch.zeros(count, 8)
    same = torch.tensor([1.0, 0, 0, 1]).expand(count, 4)
    return Draws(
        same, still, corners, still, zero, zero, zero, zero, 256 * one, zero, one, one, one, one, one, zero, zero
    )


def draw(strength: Float[Tensor, " b"], height: int, width: int, generator: torch.Generator, among: int = 0) -> Draws:
    """``LAYERS`` operations a crop, each with probability ``strength`` and at magnitudes up to it.

    Args:
        strength: of each crop, 0..1, on the CPU.
        among: how many operations, drawn for the whole batch, each crop's are chosen of, at least ``LAYERS``; 0 = all.
            A crop's are the same ones as often, but fewer are to be computed for a small batch.
    """
    strength = strength[:, None]
    count = len(strength)

    def uniform(values: int = 1) -> Tensor:
        return torch.rand(count, values, generator=generator)

    chosen = torch.zeros(count, len(_OPERATIONS), dtype=torch.bool)
    keys = uniform(len(_OPERATIONS))
    if among:
        keys[:, torch.randperm(len(_OPERATIONS), generator=generator)[among:]] = -1
    chosen.scatter_(1, keys.topk(LAYERS, dim=1).indices, True)
    drawn = chosen & (uniform(len(_OPERATIONS)) < strength)
    on = dict(zip(_OPERATIONS, drawn.float().split(1, dim=1), strict=True))

    def signed(name: str, most: float, values: int = 1) -> Tensor:
        return (2 * uniform(values) - 1) * most * strength * on[name]

    def up_to(name: str, most: float) -> Tensor:
        return uniform() * most * strength * on[name]

    flat = slope_share(height, width)
    angle = signed("rotate", flat * torch.pi / 12)
    slant, slope = signed("shear_x", 0.9), signed("shear_y", flat * 0.2)
    turned = torch.cat([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    one = torch.ones_like(angle)
    sheared = torch.cat([one, slant, slope, one + slant * slope], 1).view(-1, 2, 2)
    way = torch.pi * uniform()
    line = on["motion_blur"] * (uniform() * MOTION * strength * blur_side(height, width)).clamp(min=3)
    return Draws(
        matrix=(turned @ sheared).flatten(1),
        shift=torch.cat([signed("translate_x", 0.1 * width), signed("translate_y", 0.3 * height)], 1),
        corners=signed("perspective", 1.0, 8) * torch.tensor([0.1 * width, 0.25 * height]).repeat(4),
        motion=line * torch.cat([way.cos(), way.sin()], 1),
        sigma=on["gaussian_blur"] * (uniform() * SIGMA * strength * height).clamp(min=0.3),
        autocontrast=on["autocontrast"],
        invert=on["invert"],
        bits=up_to("posterize", 4).round(),
        threshold=256 - up_to("solarize", 256),
        added=up_to("solarize_add", 110).floor(),
        color=1 + signed("color", 0.9),
        contrast=1 + signed("contrast", 0.9),
        brightness=1 + signed("brightness", 0.6),
        sharpness=1 + signed("sharpness", 0.9),
        exponent=2.5 ** signed("gamma", 1),
        gaussian=up_to("gaussian_noise", 25.5),
        poisson=up_to("poisson_noise", 40),
    )


def augment_batch(
    crops: UInt8[Tensor, "b h w 3"],
    strength: Float[Tensor, " b"],
    generator: torch.Generator,
    noise: torch.Generator,
    among: int = 0,
) -> Float[Tensor, "b 3 h w"]:
    """Crops, augmented, as a model eats them: rounded to whole values of 0..255, then scaled to [-1, 1].

    Args:
        strength: of each crop, 0 (as it is) to 1, on the CPU.
        generator: on the CPU, of what is drawn.
        noise: on the crops' device, of the noise.
        among: as ``draw`` takes it.
    """
    draws = draw(strength, crops.shape[1], crops.shape[2], generator, among)
    return apply_draws(crops, draws, noise).div_(resize.HALF_RANGE).sub_(1)


def apply_draws(crops: UInt8[Tensor, "b h w 3"], draws: Draws, noise: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """What ``draws`` makes of crops, in whole values of 0..255. ``noise`` draws on their device."""
    pixels = crops.permute(0, 3, 1, 2).contiguous().float()
    still = identity_draws(len(crops))

    def apply(operation: Callable[..., Tensor], *names: str) -> None:
        """Put ``operation`` of the crops that some of these draws change in their place."""
        values = torch.cat([getattr(draws, name) for name in names], 1)
        rows = (values != torch.cat([getattr(still, name) for name in names], 1)).any(1).nonzero()[:, 0]
        if len(rows):
            widths = [getattr(draws, name).shape[1] for name in names]
            there = _to_device(rows, pixels.device)
            pixels[there] = operation(pixels[there], *_to_device(values[rows], pixels.device).split(widths, dim=1))

    apply(_warp, "matrix", "shift", "corners")
    apply(_blur_motion, "motion")
    apply(_blur_gaussian, "sigma")
    pixels.round_()  # thresholds below are of whole values
    apply(lambda x, _: _stretch_contrast(x), "autocontrast")
    apply(lambda x, _: 255 - x, "invert")
    apply(lambda x, bits: (x / _each(2**bits)).floor() * _each(2**bits), "bits")
    apply(lambda x, threshold: torch.where(x >= _each(threshold), 255 - x, x), "threshold")
    apply(lambda x, added: torch.where(x < 128, x + _each(added), x), "added")
    apply(lambda x, factor: _extrapolate(x, _gray(x), factor), "color")
    apply(lambda x, factor: _extrapolate(x, x.mean((1, 2, 3), keepdim=True), factor), "contrast")
    apply(lambda x, factor: (x * _each(factor)).clamp(0, 255), "brightness")
    apply(lambda x, factor: _extrapolate(x, _smooth(x), factor), "sharpness")
    apply(lambda x, exponent: 255 * (x.clamp(0, 255) / 255) ** _each(exponent), "exponent")
    apply(lambda x, deviation: _add_gaussian_noise(x, deviation, noise), "gaussian")
    apply(lambda x, mean: _add_poisson_noise(x, mean, noise), "poisson")
    return pixels.round_()


def _to_device(values: Tensor, device: torch.device) -> Tensor:
    """On the device, without waiting for what it does."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def _each(values: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1 1 1"]:
    return values[:, :, None, None]


def _places(pixels: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """Of all pixels, row by row: x and y (h w, 2), and the weights of the four corners (h w, 4); and the middle."""
    height, width = pixels.shape[2:]
    down, across = torch.arange(height, device=pixels.device), torch.arange(width, device=pixels.device)
    y, x = torch.meshgrid(down, across, indexing="ij")
    v, u = y / (height - 1), x / (width - 1)
    weights = torch.stack([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u], -1)
    places = torch.stack([x, y], -1).float()
    return places.view(-1, 2), weights.view(-1, 4), places[-1, -1] / 2


def _sample_pixels(pixels: Float[Tensor, "b 3 h w"], source: Float[Tensor, "b n 2"]) -> Float[Tensor, "b 3 h w"]:
    """Pixels from ``source``, bilinear; borders repeat the edge pixels."""
    height, width = pixels.shape[2:]
    grid = (source / _places(pixels)[2] - 1).view(-1, height, width, 2)
    return F.grid_sample(pixels, grid, "bilinear", "border", align_corners=True)


def _warp(
    pixels: Float[Tensor, "b 3 h w"],
    matrix: Float[Tensor, "b 4"],
    shift: Float[Tensor, "b 2"],
    corners: Float[Tensor, "b 8"],
) -> Float[Tensor, "b 3 h w"]:
    places, weights, middle = _places(pixels)
    source = (places - middle) @ matrix.view(-1, 2, 2).mT + middle + shift[:, None] + weights @ corners.view(-1, 4, 2)
    return _sample_pixels(pixels, source)


def _blur_motion(pixels: Float[Tensor, "b 3 h w"], motion: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3 h w"]:
    """The mean over the line of what lies there, a point for each 2 pixels of the longest line: 5 at 32x128."""
    places, _, _ = _places(pixels)
    taps = max(5, round(MOTION * blur_side(*pixels.shape[2:]) / 2))
    along = torch.linspace(-0.5, 0.5, taps).tolist()
    return (
        sum((_sample_pixels(pixels, places + part * motion[:, None]) for part in along), torch.zeros_like(pixels))
        / taps
    )


def _blur_gaussian(pixels: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, "b 1"]) -> Float[Tensor, "b 3 h w"]:
    """Each crop by its own Gaussian, cut at 3 sigma of the strongest."""
    height, width = pixels.shape[2:]
    reach = math.ceil(3 * SIGMA * height)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=pixels.device) / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).T[:, :, None, None, None]
    padded = F.pad(pixels, (reach, reach, 0, 0), mode="replicate")
    pixels = sum((weight * padded[..., at : at + width] for at, weight in enumerate(kernel)), torch.zeros_like(pixels))
    padded = F.pad(pixels, (0, 0, reach, reach), mode="replicate")
    return sum(
        (weight * padded[..., at : at + height, :] for at, weight in enumerate(kernel)), torch.zeros_like(pixels)
    )


def _stretch_contrast(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return ((pixels - low) * (255 / (high - low).clamp(min=1))).clamp(0, 255)


def _extrapolate(x: Float[Tensor, "b 3 h w"], base: Tensor, factor: Float[Tensor, "b 1"]) -> Float[Tensor, "b 3 h w"]:
    return (base + (x - base) * _each(factor)).clamp(0, 255)


def _gray(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """ITU-R BT.601, as OpenCV's ``COLOR_RGB2GRAY``."""
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def _smooth(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Pillow's ``SMOOTH``: the middle counts 5 of 13."""
    return (9 * F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1) + 4 * x) / 13


def _add_gaussian_noise(
    x: Float[Tensor, "b 3 h w"], deviation: Float[Tensor, "b 1"], noise: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    drawn = torch.randn(x.shape, device=x.device, generator=noise)
    return (x + drawn * _each(deviation)).clamp(0, 255)


def _add_poisson_noise(
    x: Float[Tensor, "b 3 h w"], mean: Float[Tensor, "b 1"], noise: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    counts = torch.poisson(_each(mean).expand(-1, 1, *x.shape[2:]).contiguous(), generator=noise)
    sign = torch.rand(counts.shape, device=x.device, generator=noise) < 0.5
    return (x + torch.where(sign, counts, -counts)).clamp(0, 255)
