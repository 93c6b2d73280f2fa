"""``dptr.data.augment.augment`` for a whole batch, on the device of the crops.

The operations (without ``_equalize``), magnitudes, and frequencies are the same. Differences: the order is fixed
(geometry, blur, tone, noise), and values are rounded only after the blur and at the end. Parameters are drawn on the
CPU, so that each operation is computed only for its crops, without waiting for the GPU.
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
    """Parameters of the augmentation of each crop in a batch, on the CPU; ``identity_draws`` changes nothing.

    Attributes:
        matrix: 2x2, by rows, from a position in the new crop to that in the old one, relative to the middle.
        shift: added to the old position, in pixels.
        corners: offsets (x, y) in pixels of the old positions of the four corners (upper left, upper right, lower left,
            lower right); bilinear in between.
        motion: direction and length (x, y) of the motion blur, in pixels.
        sigma: of the Gaussian blur, in pixels.
        autocontrast, invert: 1 = on.
        bits: number of low bits to drop.
        threshold: values from here on are inverted; 0 to 256.
        added: to values below 128.
        color, contrast, brightness, sharpness: factors.
        exponent: of gamma.
        gaussian: standard deviation of the noise, in values of 0..255.
        poisson: mean of the noise, in values of 0..255.
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
    """Draw ``LAYERS`` operations per crop, each with probability ``strength`` and magnitudes up to ``strength``.

    Args:
        strength: of each crop, 0..1, on the CPU.
        among: at least ``LAYERS``: the crops' operations are chosen from this many, drawn for the whole batch; 0 = from
            all. The probability of each operation is the same, but a small batch has fewer different ones to compute.
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
    applied = chosen & (uniform(len(_OPERATIONS)) < strength)
    on = dict(zip(_OPERATIONS, applied.float().split(1, dim=1), strict=True))

    def signed(name: str, limit: float, values: int = 1) -> Tensor:
        return (2 * uniform(values) - 1) * limit * strength * on[name]

    def up_to(name: str, limit: float) -> Tensor:
        return uniform() * limit * strength * on[name]

    slope_factor = slope_share(height, width)
    angle = signed("rotate", slope_factor * torch.pi / 12)
    slant, slope = signed("shear_x", 0.9), signed("shear_y", slope_factor * 0.2)
    rotation = torch.cat([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    one = torch.ones_like(angle)
    shear = torch.cat([one, slant, slope, one + slant * slope], 1).view(-1, 2, 2)
    direction = torch.pi * uniform()
    length = on["motion_blur"] * (uniform() * MOTION * strength * blur_side(height, width)).clamp(min=3)
    return Draws(
        matrix=(rotation @ shear).flatten(1),
        shift=torch.cat([signed("translate_x", 0.1 * width), signed("translate_y", 0.3 * height)], 1),
        corners=signed("perspective", 1.0, 8) * torch.tensor([0.1 * width, 0.25 * height]).repeat(4),
        motion=length * torch.cat([direction.cos(), direction.sin()], 1),
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
    """Augment crops: round to integers in 0..255, then scale to [-1, 1].

    Args:
        strength: of each crop, 0 (no change) to 1, on the CPU.
        generator: on the CPU, for the parameters.
        noise: on the crops' device, for the noise.
        among: see ``draw``.
    """
    draws = draw(strength, crops.shape[1], crops.shape[2], generator, among)
    return apply_draws(crops, draws, noise).div_(resize.HALF_RANGE).sub_(1)


def apply_draws(crops: UInt8[Tensor, "b h w 3"], draws: Draws, noise: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """Augment crops with given parameters; the result has integers in 0..255. ``noise`` is on the crops' device."""
    pixels = crops.permute(0, 3, 1, 2).contiguous().float()
    identity = identity_draws(len(crops))

    def apply(operation: Callable[..., Tensor], *names: str) -> None:
        """Apply ``operation`` to the crops for which one of these parameters is not the identity's."""
        values = torch.cat([getattr(draws, name) for name in names], 1)
        rows = (values != torch.cat([getattr(identity, name) for name in names], 1)).any(1).nonzero()[:, 0]
        if len(rows):
            widths = [getattr(draws, name).shape[1] for name in names]
            rows_there = _to_device(rows, pixels.device)
            pixels[rows_there] = operation(
                pixels[rows_there], *_to_device(values[rows], pixels.device).split(widths, dim=1)
            )

    apply(_warp, "matrix", "shift", "corners")
    apply(_blur_motion, "motion")
    apply(_blur_gaussian, "sigma")
    pixels.round_()  # the thresholds below are for integers
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
    """Copy to the device, without waiting for its queue."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def _each(values: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1 1 1"]:
    return values[:, :, None, None]


def _places(pixels: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """For all pixels, row by row: x and y (h w, 2), and weights of the four corners (h w, 4); and the middle (2,)."""
    height, width = pixels.shape[2:]
    rows, columns = torch.arange(height, device=pixels.device), torch.arange(width, device=pixels.device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    v, u = y / (height - 1), x / (width - 1)
    weights = torch.stack([(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u], -1)
    places = torch.stack([x, y], -1).float()
    return places.view(-1, 2), weights.view(-1, 4), places[-1, -1] / 2


def _sample_pixels(pixels: Float[Tensor, "b 3 h w"], source: Float[Tensor, "b n 2"]) -> Float[Tensor, "b 3 h w"]:
    """Bilinear interpolation at the positions ``source`` (x, y); beyond the border, edge pixels."""
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
    """The mean over points on a line: one for each 2 pixels of the longest line, 5 at 32x128."""
    places, _, _ = _places(pixels)
    taps = max(5, round(MOTION * blur_side(*pixels.shape[2:]) / 2))
    along = torch.linspace(-0.5, 0.5, taps).tolist()
    return (
        sum((_sample_pixels(pixels, places + part * motion[:, None]) for part in along), torch.zeros_like(pixels))
        / taps
    )


def _blur_gaussian(pixels: Float[Tensor, "b 3 h w"], sigma: Float[Tensor, "b 1"]) -> Float[Tensor, "b 3 h w"]:
    """Gaussian blur with a sigma per crop; the kernel is cut at 3 sigma of the strongest blur."""
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
    """Pillow's ``SMOOTH``: a 3x3 mean with weight 5 of 13 in the middle."""
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
