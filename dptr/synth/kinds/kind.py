"""Kinds of pictures, and functions that several kinds share.

A kind draws the mask of a text as a ``layout.Line``, at ``layout.SIZE`` pixels per em and in natural proportions. Most
kinds also draw its ground: the background on which the text stands. Warp, paint and camera are the same for all crops.
Grounds are float32 (h, w, 3), RGB in [0, 255]; ``on_ground`` converts them to uint8.
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
    """What kinds draw with.

    Attributes:
        palette: colors, float32 (n, 3), RGB in [0, 255].
        photographs: backgrounds, uint8 (h, w, 3).
        fonts: for other text in the picture, such as units and states.
    """

    palette: np.ndarray
    photographs: Sequence[np.ndarray]
    fonts: FontIndex

    def color(self, rng: Generator) -> np.ndarray:
        """A random color of the palette: float32 (3,)."""
        return np.array(self.palette[int(rng.integers(len(self.palette)))], np.float32)


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        draw: maps (text, font, materials, rng) to a line, or to None if the kind cannot draw this text. In a picture
            without text, the text is "" and the font None.
        texts: types of text, each entry equally likely: names of ``dptr.text.patterns.PATTERNS``, "word" or "phrase"
            (``dptr.text.corpus.Corpus.draw``); empty = pictures without text.
        fonts: preferred style, a key of ``dptr.synth.font_styles.FONT_STYLES``; "" = no preference.
        effects: probabilities that replace those of the recipe.
    """

    draw: Callable[[str, Font | None, Materials, Generator], Line | None]
    texts: tuple[str, ...]
    fonts: str = ""
    effects: dict[str, float] = field(default_factory=dict)


# Effects that are off for kinds that draw their ground.
NO_SIGN = dict.fromkeys(
    ("outline", "double_outline", "extrusion", "sign_board", "quarter_turn", "gradient", *INK_STYLE_NAMES), 0.0
)


def enlarge(line: Line, margins: tuple[float, float, float, float]) -> Line:
    """Add margins to the mask of a line.

    Args:
        margins: left, top, right, and bottom, in heights of the mask.
    """
    height = line.mask.shape[0]
    left, top, right, bottom = (round(margin * height) for margin in margins)
    mask = cv2.copyMakeBorder(line.mask, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    x0, y0, x1, y1 = line.box
    return replace(
        line, mask=mask, box=(x0 + left, y0 + top, x1 + left, y1 + top), stops=np.add(line.stops, (left, top))
    )


def on_ground(line: Line, ground: np.ndarray, ink: np.ndarray | None = None) -> Line:
    """Add a ground, float32 (h, w, 3) of the size of the mask, and a color of the ink (3,); None = chosen later."""
    return replace(line, ground=np.clip(ground, 0, 255).astype(np.uint8), ink=ink)


def turn_around(line: Line) -> Line:
    """Turn a line upside down; its ``stops`` become NaN, because its letters no longer run from left to right."""
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
    """Multiply the width of a line, whose box is the whole mask, by ``factor``."""
    height, width = line.mask.shape
    new_width = max(1, round(width * factor))
    interpolation_mode = cv2.INTER_LINEAR if factor > 1 else cv2.INTER_AREA
    mask = cv2.resize(line.mask, (new_width, height), interpolation=interpolation_mode)
    return replace(line, mask=mask, box=(0, 0, new_width, height), stops=line.stops * (new_width / width, 1))


def relief(mask: np.ndarray, rng: Generator, strength: float) -> np.ndarray:
    """Light from a random side on raised letters: float32 (h, w, 3), to be added to the ground.

    Args:
        mask: uint8 (h, w).
        strength: factor of the slope of the blurred mask, in units of pixel values.
    """
    blurred = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), rng.uniform(1.5, 3))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * cv2.Sobel(blurred, -1, 1, 0) + np.sin(angle) * cv2.Sobel(blurred, -1, 0, 1)
    return pixels.to_rgb(strength * slope)


def write_small(
    ground: np.ndarray, text: str, font: Font, color: np.ndarray, height: float, corner: tuple[float, float]
) -> None:
    """Write ``text`` on the ground, in place; parts outside the ground are cut off.

    Args:
        height: of the ink in pixels.
        corner: x and y of the upper left corner.
    """
    small, _ = layout.trim(layout.draw_mask(layout.load_font(font.path, font.number, False), text)[0])
    scale = height / small.shape[0]
    size = max(1, round(small.shape[1] * scale)), max(1, round(height))
    layer = np.zeros(ground.shape[:2], np.uint8)
    layout.paste(layer, cv2.resize(small, size, interpolation=cv2.INTER_AREA), round(corner[0]), round(corner[1]))
    ground[:] = pixels.blend(ground, color, layer.astype(np.float32) / 255)
