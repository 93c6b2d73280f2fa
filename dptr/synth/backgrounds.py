"""Backgrounds of rendered words: pieces of photographs, and panels, frames and stripes on a plain color.

Images are float32 (height, width, 3), RGB in [0, 255], unless a function says otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from dptr.synth.pixels import blend
from dptr.utils.errors import UserError

_SHORTER_SIDE = 160  # pixels; photographs are kept in memory with this shorter side, in about 115 kB each
_MAX_PHOTOGRAPHS = 1000  # photographs in memory
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@functools.lru_cache(maxsize=2)
def load_photographs(folder: str) -> tuple[np.ndarray, ...]:
    """Load the photographs in ``folder`` and its subfolders, and shrink each to a shorter side of 160 pixels.

    Of more than 1,000 photographs, it loads every n-th in the order of their paths. All renderers of a process share
    the result.

    Returns:
        Photographs, uint8 (h, w, 3), RGB.

    Raises:
        UserError: the folder does not exist, holds no photograph, or holds one that cannot be read.
    """
    if not Path(folder).is_dir():
        raise UserError(f"render.backgrounds {folder}: no such folder; pass a folder of photographs, or '' for none")
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise UserError(f"render.backgrounds {folder}: no photograph in it; it needs .jpg, .png, .webp or .bmp files")
    photographs = []
    for path in paths[:: -(-len(paths) // _MAX_PHOTOGRAPHS)]:
        try:
            with Image.open(path) as image:
                image.draft("RGB", (2 * _SHORTER_SIDE, 2 * _SHORTER_SIDE))
                scale = _SHORTER_SIDE / min(image.size)
                size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
                photographs.append(np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR)))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"background {path}: not a readable image ({error}); remove it from the folder") from error
    return tuple(photographs)


def crop_photograph(rng: Generator, photographs: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Cut a random piece out of a random photograph and resize it to ``height`` x ``width``.

    The height of the piece is random, log-uniform from 8 pixels to the whole photograph. A small piece gives a smooth
    background, a large piece a busy one.

    Args:
        photographs: uint8 (h, w, 3).
    """
    photograph = photographs[int(rng.integers(len(photographs)))]
    h = int(np.exp(rng.uniform(np.log(8), np.log(photograph.shape[0]))))
    w = int(min(photograph.shape[1], max(8, h * rng.uniform(1, 4))))
    top, left = int(rng.integers(photograph.shape[0] - h + 1)), int(rng.integers(photograph.shape[1] - w + 1))
    piece = photograph[top : top + h, left : left + w]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    interpolation_mode = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=interpolation_mode).astype(np.float32)


def add_panel(rng: Generator, background: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Paint ``color`` (3,) on the background: beyond a straight edge near the border, as a frame, or as stripes."""
    height, width = background.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    shape = rng.random()
    tilt = rng.normal(0, 0.06) * width
    if shape < 0.55:  # the sign ends at the top, the bottom, the left, or the right
        if rng.random() < 0.7:
            y = rng.uniform(0.0, 0.2) * height
            points = [(0, 0), (width, 0), (width, y + tilt * 0.3), (0, y - tilt * 0.3)]
        else:
            x = rng.uniform(0.0, 0.08) * width
            points = [(0, 0), (x + tilt * 0.2, 0), (x - tilt * 0.2, height), (0, height)]
        if rng.random() < 0.5:
            points = [(width - x, height - y) for x, y in points]
        cv2.fillPoly(layer, [np.array(points, np.int32)], 255, cv2.LINE_AA)
    elif shape < 0.8:  # a frame
        thickness = max(1, int(rng.integers(1, max(2, height // 10))))
        inset = rng.uniform(-0.02, 0.06, 4) * (width, height, width, height)
        corners = (int(inset[0]), int(inset[1])), (int(width - inset[2]), int(height - inset[3]))
        cv2.rectangle(layer, *corners, 255, thickness, cv2.LINE_AA)
    else:  # stripes, tiles, bricks
        step = rng.uniform(0.15, 0.6) * height
        thickness = int(rng.integers(1, 3))
        for i in range(int(height / step) + 2):
            y = int((i - rng.uniform(0, 0.2)) * step)
            cv2.line(layer, (0, y), (width, int(y + tilt)), 255, thickness, cv2.LINE_AA)
    return blend(background, color, layer.astype(np.float32) / 255)
