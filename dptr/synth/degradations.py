"""Degradations of a painted word: effects of light and of cameras.

Images are float32 (height, width, 3), RGB in [0, 255], unless a function says otherwise. The strengths were chosen by
eye, by comparison with crops of photographs.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth.colors import LUMA
from dptr.synth.pixels import blend, linear_gradient, smooth_noise, solid_color, to_rgb


def light(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Change the exposure, the haze and the color of the light.

    In four of five crops the light is also uneven: a gradient, a cast shadow, a bright spot, or smooth noise.
    """
    height, width = image.shape[:2]
    gain = min(1.6, float(np.exp(rng.normal(-0.2, 0.3))))
    cast = np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    haze = abs(rng.normal(0, 20))
    image = image * solid_color(gain * (1 - haze / 255) * cast, height, width) + solid_color(haze * cast, height, width)
    kind = rng.random()
    if kind < 0.35:
        image = image * to_rgb(1 - rng.uniform(0.1, 0.6) * linear_gradient(rng, height, width))
    elif kind < 0.5:
        edge = (linear_gradient(rng, height, width) - rng.uniform(0.25, 0.75)) * rng.uniform(3, 30)
        image = image * to_rgb(1 - rng.uniform(0.15, 0.5) * np.clip(edge + 0.5, 0, 1))
    elif kind < 0.62:
        spot = np.clip(smooth_noise(rng, height, width, 3) - 0.1, 0, 1)
        image = image + to_rgb(rng.uniform(40, 200) * spot)
    elif kind < 0.8:
        cells = int(rng.integers(2, 5))
        image = image * to_rgb(1 + rng.uniform(0.05, 0.3) * smooth_noise(rng, height, width, cells))
    return image


def cast_shadow(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Darken a part of the scene by the shadow of a wall, of poles, or of leaves; the sky makes shadows bluish."""
    height, width = image.shape[:2]
    kind = rng.random()
    along = linear_gradient(rng, height, width)
    if kind < 0.4:
        shade = (along - rng.uniform(0.25, 0.75)) * rng.uniform(4, 40) + 0.5
    elif kind < 0.7:
        poles = np.sin(2 * np.pi * (rng.uniform(1, 4) * along + rng.random()))
        shade = (poles - rng.uniform(0, 0.6)) * rng.uniform(2, 8)
    else:
        leaves = smooth_noise(rng, height, width, int(rng.integers(3, 9)))
        shade = (leaves - rng.uniform(-0.2, 0.3)) * rng.uniform(3, 10) + 0.5
    depth = rng.uniform(0.25, 0.65) * np.clip(shade, 0, 1)
    blue = rng.uniform(0, 0.12)
    return image * cv2.merge([1 - (1 + tint) * depth for tint in (blue, 0.0, -blue)])


def glare(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Reflect a lamp or a window in a glossy sign: a soft white spot or band."""
    height, width = image.shape[:2]
    if rng.random() < 0.6:
        y, x = (np.arange(side, dtype=np.float32) - rng.uniform(0, side) for side in (height, width))
        radius_x, radius_y = rng.uniform(0.3, 2.0) * height, rng.uniform(0.15, 0.6) * height
        lean = rng.normal(0, 0.5)
        distance = ((x + lean * y[:, None]) / radius_x) ** 2 + (y[:, None] / radius_y) ** 2
        spot = np.exp(-(distance ** rng.uniform(1, 3)))
    else:
        offset = np.abs(linear_gradient(rng, height, width) - rng.uniform(0.2, 0.8)) / rng.uniform(0.04, 0.15)
        spot = np.clip((1 - offset) * rng.uniform(0.7, 2.5) + 0.5, 0, 1)
    return blend(image, np.full(3, 255, np.float32), rng.uniform(0.3, 0.7) * spot.astype(np.float32))


def expose(image: np.ndarray, steps: float) -> np.ndarray:
    """Overexpose by ``steps`` f-stops, or underexpose if negative, and clip at 255.

    An f-stop doubles the light. Pixel values are light ** (1 / 2.2), a gamma close to sRGB (IEC 61966-2-1), so an
    f-stop multiplies them by 1.37.
    """
    return np.minimum(image * np.float32(2 ** (steps / 2.2)), 255)


def vary_exposure(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Overexpose by 0.5 to 2 f-stops, or underexpose by 0.7 to 4."""
    return expose(image, rng.uniform(0.5, 2) if rng.random() < 0.5 else -rng.uniform(0.7, 4))


def color_cast(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Change the white balance: red against blue by a factor of up to 2.2, and green; grays keep their luma."""
    warm, green = rng.uniform(-0.4, 0.4), rng.normal(0, 0.06)
    gains = np.exp(np.array([warm, green, -warm], np.float32))
    return image * solid_color(gains / (gains @ LUMA), *image.shape[:2])


def bloom(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Let bright parts shine beyond their edges, as lit signs do."""
    bright = np.maximum(image - rng.uniform(110, 190), 0)
    sigma = rng.uniform(1.0, 4.0)
    return image + rng.uniform(0.6, 2.5) * cv2.GaussianBlur(bright, (0, 0), sigma * 1.5, sigmaY=sigma)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a standard deviation of ``sigma`` pixels, as small lenses do."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def disc_kernel(radius: float) -> np.ndarray:
    """A disc of ``radius`` pixels with a smooth edge, whose values sum to 1: float32 (n, n), n odd."""
    reach = int(np.ceil(radius))
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    kernel = np.clip(radius + 0.5 - np.hypot(offset[:, None], offset), 0, 1)
    return kernel / kernel.sum()


def defocus(image: np.ndarray, radius: float) -> np.ndarray:
    """Defocus: every point becomes a disc of ``radius`` pixels, the image of the lens aperture."""
    return cv2.filter2D(image, -1, disc_kernel(radius), borderType=cv2.BORDER_REPLICATE)


def motion_blur(image: np.ndarray, rng: Generator, length: float) -> np.ndarray:
    """Blur along a line of ``length`` pixels in a random direction."""
    size = 2 * int(np.ceil(length / 2)) + 1
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    middle = size // 2
    kernel = np.zeros((size, size), np.float32)
    shift = 4  # bits of fraction for sub-pixel ends
    start, end = (np.round((middle + sign * reach) * 2**shift).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, shift)
    kernel[middle, middle] = max(kernel[middle, middle], 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def sharpen(image: np.ndarray, amount: float) -> np.ndarray:
    """Sharpen by unsharp masking, which leaves halos along edges, as cameras do."""
    return image + amount * (image - cv2.GaussianBlur(image, (0, 0), 1.2))


def chromatic_aberration(image: np.ndarray, rng: Generator) -> np.ndarray:
    """Shift red and blue in opposite directions against green: by up to 0.8 pixels across, 0.4 down."""
    height, width = image.shape[:2]
    shift = rng.uniform(-0.8, 0.8, 2)
    shifted = []
    for channel, sign in ((0, 1), (2, -1)):
        matrix = np.array([[1, 0, sign * shift[0]], [0, 1, sign * shift[1] / 2]], np.float32)
        shifted.append(cv2.warpAffine(image[..., channel], matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))
    return np.dstack((shifted[0], image[..., 1], shifted[1]))


def sensor_noise(image: np.ndarray, rng: Generator, most: float) -> np.ndarray:
    """Add noise to brightness and color; about a third is blurred, as by the noise reduction of cameras.

    The standard deviation of the brightness noise is 1.5 to 12, but at most ``most``.
    """
    grain: np.ndarray = rng.standard_normal(image.shape[:2], dtype=np.float32)
    tint: np.ndarray = rng.standard_normal(image.shape, dtype=np.float32)
    strength = min(most, float(np.exp(rng.uniform(np.log(1.5), np.log(12)))))
    if rng.random() < 0.35:
        grain, tint = (2 * cv2.GaussianBlur(noise, (0, 0), 0.8) for noise in (grain, tint))
    return image + to_rgb(strength * grain) + strength * rng.uniform(0, 0.7) * tint


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress as JPEG and decode again: uint8 (h, w, 3), RGB, in and out; ``quality`` is from 0 to 100."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
