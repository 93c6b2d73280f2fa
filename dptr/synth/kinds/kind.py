"""What a kind of picture is, and what several kinds are drawn with.

A kind draws the mask of a text, and most also the ground that it stands on, as ``layout.Line``: at ``layout.SIZE``
pixels an em and in the proportions of the thing itself. The warp, the ink and the camera are those of all crops.
Grounds are float32 (h, w, 3), RGB in [0, 255], until ``on_ground`` hands them over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.random import Generator

from dptr.config.effects import INK_STYLE_NAMES
from dptr.synth import layout, pixels
from dptr.synth.fonts import Font, FontIndex
from dptr.synth.layout import Line


@dataclass(frozen=True)
class Materials:
    """What kinds draw with: a palette (n, 3), photographs uint8 (h, w, 3), fonts for what stands beside the text."""

    palette: np.ndarray
    photographs: Sequence[np.ndarray]
    fonts: FontIndex

    def color(self, rng: Generator) -> np.ndarray:
        """One of the palette: float32 (3,)."""
        return np.array(self.palette[int(rng.integers(len(self.palette)))], np.float32)


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        draw: (text, font, materials, rng) to the line; None where it cannot draw this text. The text is "" and the font
            None where nothing is written.
        texts: what is written, each as likely: names of ``dptr.text.patterns.PATTERNS``, "word" or "phrase"
            (``dptr.text.corpus.Corpus.draw``); empty = nothing.
        fonts: a key of ``dptr.synth.font_styles.FONT_STYLES``; "" = any.
        effects: probabilities in place of the recipe's.
    """

    draw: Callable[[str, Font | None, Materials, Generator], Line | None]
    texts: tuple[str, ...]
    fonts: str = ""
    effects: dict[str, float] = field(default_factory=dict)


# What a thing with a ground of its own does without.
NO_SIGN = dict.fromkeys(
    ("outline", "double_outline", "extrusion", "sign_board", "quarter_turn", "gradient", *INK_STYLE_NAMES), 0.0
)


def enlarge(line: Line, margins: tuple[float, float, float, float]) -> Line:
    """The line on a larger mask.

    Args:
        margins: left, top, right, and bottom, in heights of the line.
    """
    height = line.mask.shape[0]
    left, top, right, bottom = (round(margin * height) for margin in margins)
    mask = cv2.copyMakeBorder(line.mask, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    x0, y0, x1, y1 = line.box
    return replace(
        line, mask=mask, box=(x0 + left, y0 + top, x1 + left, y1 + top), stops=np.add(line.stops, (left, top))
    )


def on_ground(line: Line, ground: np.ndarray, ink: np.ndarray | None = None) -> Line:
    """The line with its ground, float32 and as large as the mask, and its ink."""
    return replace(line, ground=np.clip(ground, 0, 255).astype(np.uint8), ink=ink)


def turn_around(line: Line) -> Line:
    """The line upside down; its letters then have no places from left to right."""
    height, width = line.mask.shape
    x0, y0, x1, y1 = line.box
    return replace(
        line,
        mask=np.ascontiguousarray(line.mask[::-1, ::-1]),
        box=(width - x1, height - y1, width - x0, height - y0),
        stops=np.full_like(line.stops, np.nan),
        ground=None if line.ground is None else np.ascontiguousarray(line.ground[::-1, ::-1]),
    )


def stretch(line: Line, factor: float) -> Line:
    """A line that fills its mask, wider by ``factor``."""
    height, width = line.mask.shape
    wide = max(1, round(width * factor))
    how = cv2.INTER_LINEAR if factor > 1 else cv2.INTER_AREA
    mask = cv2.resize(line.mask, (wide, height), interpolation=how)
    return replace(line, mask=mask, box=(0, 0, wide, height), stops=line.stops * (wide / width, 1))


def relief(mask: np.ndarray, rng: Generator, strength: float) -> np.ndarray:
    """Light from one side on letters that stand out by ``strength`` (0 to 255): float32 (h, w, 3) to be added."""
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), rng.uniform(1.5, 3))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * cv2.Sobel(soft, -1, 1, 0) + np.sin(angle) * cv2.Sobel(soft, -1, 0, 1)
    return pixels.to_rgb(strength * slope)


def write_small(
    ground: np.ndarray, text: str, font: Font, color: np.ndarray, height: float, corner: tuple[float, float]
) -> None:
    """``text``, ``height`` pixels high, from its left upper ``corner`` on the ground, in place; it may be cut."""
    small, _ = layout.trim(layout.draw_mask(layout.load_font(font.path, font.number, False), text)[0])
    scale = height / small.shape[0]
    size = max(1, round(small.shape[1] * scale)), max(1, round(height))
    layer = np.zeros(ground.shape[:2], np.uint8)
    layout.paste(layer, cv2.resize(small, size, interpolation=cv2.INTER_AREA), round(corner[0]), round(corner[1]))
    ground[:] = pixels.blend(ground, color, layer.astype(np.float32) / 255)
