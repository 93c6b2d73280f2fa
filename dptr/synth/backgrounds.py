"""Backgrounds: photographs, and what is drawn on a plain one.

Images are float32 (height, width, 3), RGB in [0, 255].
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

_SIDE = 160  # pixels of a photograph's shorter side in memory: about 115 kB each
_MOST = 1000  # photographs in memory
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@functools.lru_cache(maxsize=2)
def load_photographs(folder: str) -> tuple[np.ndarray, ...]:
    """The photographs in ``folder`` and below, reduced: uint8 (h, w, 3), shorter side 160 pixels.

    Of more than 1,000, every n-th in the order of names is used. Several renderers of one process share them.

    Raises:
        UserError: no such folder, no photograph in it, or one that cannot be read.
    """
    if not Path(folder).is_dir():
        raise UserError(f"render.backgrounds {folder}: no such folder; pass a folder of photographs, or '' for none")
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise UserError(f"render.backgrounds {folder}: no photograph in it; it needs .jpg, .png, .webp or .bmp files")
    photographs = []
    for path in paths[:: -(-len(paths) // _MOST)]:
        try:
            with Image.open(path) as image:
                image.draft("RGB", (2 * _SIDE, 2 * _SIDE))
                scale = _SIDE / min(image.size)
                size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
                photographs.append(np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR)))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"background {path}: not a readable image ({error}); remove it from the folder") from error
    return tuple(photographs)


def crop_photograph(rng: Generator, photographs: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """A random piece of a random photograph, from a small one enlarged (smooth) to a large one (busy)."""
    photo = photographs[int(rng.integers(len(photographs)))]
    h = int(np.exp(rng.uniform(np.log(8), np.log(photo.shape[0]))))
    w = int(min(photo.shape[1], max(8, h * rng.uniform(1, 4))))
    top, left = int(rng.integers(photo.shape[0] - h + 1)), int(rng.integers(photo.shape[1] - w + 1))
    piece = photo[top : top + h, left : left + w]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    how = cv2.INTER_AREA if h > height else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=how).astype(np.float32)


def add_panel(rng: Generator, background: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Another color beyond a straight edge near the border, or stripes of it."""
    height, width = background.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    shape = rng.random()
    tilt = rng.normal(0, 0.06) * width
    if shape < 0.55:  # the end of the sign, at the top, the bottom, the left or the right
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
