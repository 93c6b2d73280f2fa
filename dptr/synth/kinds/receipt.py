"""Lines of receipts, as thermal and dot matrix printers print them and as they fade."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.random import Generator

from dptr.synth import layout
from dptr.synth.fonts import Font, needs_shaping
from dptr.synth.kinds import dot_matrix
from dptr.synth.kinds.kind import NO_SIGN, Kind, Materials, stretch
from dptr.synth.layout import Line

_MIN_INK = 0.42  # least share of the ink that remains; less would be invisible on gray paper


def draw_receipt(text: str, font: Font | None, materials: Materials, rng: Generator) -> Line | None:
    """Draw a printed line."""
    if font is None:
        return None
    dotted = dot_matrix.can_draw(text) and rng.random() < 0.2
    if dotted:
        line = dot_matrix.draw_dots(text, rng.uniform(0.42, 0.75), rng.uniform(0.8, 1.2))
    else:
        spacing = 0.0 if rng.random() < 0.7 or needs_shaping(text) else rng.uniform(0, 0.15)
        line = layout.draw_word(font, text, spacing)
    line = stretch(line, float(np.exp(rng.uniform(np.log(0.7), np.log(1.4)))))
    if not dotted and rng.random() < 0.75:
        line = replace(line, mask=_print_dots(line.mask, rng))
    if rng.random() < 0.12 and len(text) > 2:
        line = layout.wave(line, rng.uniform(0.03, 0.12) * layout.SIZE, rng.uniform(0.8, 3) * line.mask.shape[1], 0.0)
    if rng.random() < 0.15:
        line = layout.add_neighbors(line, font, text, rng)
    return replace(line, mask=_fade(line.mask, rng))


def _print_dots(mask: np.ndarray, rng: Generator) -> np.ndarray:
    """Reduce a mask to the dots of a print head, 16 to 30 per em, each of them black or white."""
    height, width = mask.shape
    dot = max(1.0, layout.SIZE / rng.uniform(16, 30))
    rows, columns = max(3, round(height / dot)), max(3, round(width / (dot * rng.uniform(0.7, 1.2))))
    small = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
    threshold = np.quantile(small, 1 - min(0.9, rng.uniform(0.85, 1.4) * float(small.mean()) / 255))
    black = (small > max(20.0, threshold - 1)).astype(np.uint8) * 255
    return cv2.resize(black, (width, height), interpolation=cv2.INTER_NEAREST)


def _fade(mask: np.ndarray, rng: Generator) -> np.ndarray:
    """Fade a mask: everywhere, towards a side, in columns and rows of a worn print head, and in specks."""
    height, width = mask.shape
    ink = np.full((height, width), rng.uniform(0.35, 0.8) if rng.random() < 0.35 else 1.0, np.float32)
    if rng.random() < 0.3:
        first, last = rng.uniform(0.35, 1, 2).tolist()
        ink *= np.linspace(first, last, width, dtype=np.float32)
    if rng.random() < 0.25:
        columns: np.ndarray = rng.random(max(2, width // int(rng.integers(4, 20))), dtype=np.float32)
        ink *= 1 - rng.uniform(0.2, 0.7) * cv2.resize(columns[None], (width, 1))
    if rng.random() < 0.15:
        rows: np.ndarray = rng.random(max(2, height // int(rng.integers(3, 7))), dtype=np.float32)
        ink *= 1 - rng.uniform(0.3, 0.8) * np.maximum(cv2.resize(rows[:, None], (1, height)).reshape(-1, 1), 0.5)
    if rng.random() < 0.35:
        specks: np.ndarray = rng.random((height // 2 + 1, width // 2 + 1), dtype=np.float32)
        specks = cv2.resize(specks, (width, height), interpolation=cv2.INTER_LINEAR)
        ink *= np.clip(1.3 - rng.uniform(0.6, 1.6) * specks, 0.15, 1)
    remaining = float((mask * ink).sum()) / max(1.0, float(mask.sum()))
    return np.minimum(mask * ink * max(1.0, _MIN_INK / remaining), 255).astype(np.uint8)


RECEIPT = Kind(
    draw_receipt,
    texts=("phrase", "phrase", "phrase", "phrase", "price", "price", "number", "word", "date", "time", "phone"),
    fonts="printer",
    effects={
        **NO_SIGN, **dict.fromkeys(("photograph", "shadow", "bloom", "slant"), 0.0),
        "paper": 0.99, "black_or_white": 0.97, "low_contrast": 0.0, "gradient": 0.05, "texture": 0.08, "panel": 0.01,
        "perspective": 0.06, "rotation": 0.12, "wear": 0.04, "grayscale": 0.4, "color_cast": 0.03, "cut": 0.06,
        "lighting": 0.25, "low_resolution": 0.25, "exposure": 0.02,
    },
)  # fmt: skip
