"""The picture with what was read: boxes around words, and their texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

BOX_COLOR = 0, 110, 230
TEXT_COLOR = 200, 0, 60
PAPER = 255, 255, 255, 215  # under the text, so that it can be read over anything

_FONT = "synth/embedded/OpenSans.ttf"  # of the renderer, which is not imported: it needs other packages
_TEXT_HEIGHT = 0.5  # of the word's, in a label above it
_SIZES = 9, 48  # pixels: the smallest and the largest text


class Placed(Protocol):
    """What is drawn: a text and the points around it, x and y in pixels, along its top and back along its bottom."""

    @property
    def text(self) -> str: ...

    @property
    def polygon(self) -> Sequence[tuple[float, float]]: ...


def draw_overlay(words: Sequence[Placed], picture: Image.Image) -> Image.Image:
    """A copy of the picture with a line around each word and its text above it.

    What the font has no glyph for is drawn as an empty box.

    Args:
        words: what was read in it, such as ``Page.words``.
        picture: RGB.
    """
    shown = picture.convert("RGBA")
    layer = Image.new("RGBA", shown.size, (255, 255, 255, 0))
    draw = ImageDraw.Draw(layer)
    width = max(1, round(min(shown.size) / 700))
    for word in words:
        draw.line([*word.polygon, word.polygon[0]], BOX_COLOR, width, joint="curve")
    for word in words:
        height = math.dist(word.polygon[0], word.polygon[-1])
        font = _font(min(max(round(_TEXT_HEIGHT * height), _SIZES[0]), _SIZES[1]))
        left, top, right, bottom = font.getbbox(word.text)
        x = min(max(min(x for x, _ in word.polygon), 0), max(shown.width - right, 0))
        y = max(min(y for _, y in word.polygon) - bottom - width - 2, 0)
        draw.rectangle((x + left - 1, y + top - 1, x + right + 1, y + bottom + 1), PAPER)
        draw.text((x, y), word.text, TEXT_COLOR, font)
    return Image.alpha_composite(shown, layer).convert("RGB")


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    content = files("dptr").joinpath(_FONT).read_bytes()
    return ImageFont.truetype(BytesIO(content), size)
