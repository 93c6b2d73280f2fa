"""Draw what was read on a picture: boxes around words, and their texts."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from dptr.text.unicode import script

BOX_COLOR = 0, 110, 230
TEXT_COLOR = 200, 0, 60
PAPER = 255, 255, 255, 215  # background of the text, so that it is legible on any picture

_FONT = "synth/embedded/OpenSans.ttf"  # the renderer's font; the renderer is not imported, since it needs more packages
_TEXT_HEIGHT = 0.5  # height of a label, relative to its word
_SIZES = 9, 48  # pixels; the smallest and the largest text
_QUERY_CHARACTERS = 60  # most characters of a script in one query to fontconfig
_QUERY_TIMEOUT = 10.0  # seconds; timeout of a query


class Placed(Protocol):
    """A text with its outline: points x, y in pixels, along its top and back along its bottom."""

    @property
    def text(self) -> str: ...

    @property
    def polygon(self) -> Sequence[tuple[float, float]]: ...


def draw_overlay(words: Sequence[Placed], picture: Image.Image) -> Image.Image:
    """Draw a line around each word, and its text above it, on a copy of the picture.

    The embedded font has Latin letters. For other letters, a system font is searched with fontconfig (``fc-match``).
    Characters without a glyph in either font are omitted, or drawn as an empty box.

    Args:
        words: read in the picture, such as ``Page.words``.
        picture: RGB.
    """
    canvas = picture.convert("RGBA")
    layer = Image.new("RGBA", canvas.size, (255, 255, 255, 0))
    draw = ImageDraw.Draw(layer)
    width = max(1, round(min(canvas.size) / 700))
    for word in words:
        draw.line([*word.polygon, word.polygon[0]], BOX_COLOR, width, joint="curve")
    fonts = _choose_fonts("".join(word.text for word in words))
    for word in words:
        height = math.dist(word.polygon[0], word.polygon[-1])
        file = next((fonts[character] for character in word.text if character in fonts), "")
        font = _load_font(file, min(max(round(_TEXT_HEIGHT * height), _SIZES[0]), _SIZES[1]))
        left, top, right, bottom = font.getbbox(word.text)
        x = min(max(min(x for x, _ in word.polygon), 0), max(canvas.width - right, 0))
        y = max(min(y for _, y in word.polygon) - bottom - width - 2, 0)
        draw.rectangle((x + left - 1, y + top - 1, x + right + 1, y + bottom + 1), PAPER)
        draw.text((x, y), word.text, TEXT_COLOR, font)
    return Image.alpha_composite(canvas, layer).convert("RGB")


def _choose_fonts(text: str) -> dict[str, str]:
    """System fonts for the characters that the embedded font lacks; one font for all characters of a script."""
    missing: dict[str, set[str]] = {}
    for character in missing_glyphs(_load_font("", _SIZES[1]), text):
        missing.setdefault(script(character), set()).add(character)
    fonts = {name: find_system_font("".join(sorted(letters)[:_QUERY_CHARACTERS])) for name, letters in missing.items()}
    return {character: fonts[name] for name, letters in missing.items() for character in letters if fonts[name]}


def missing_glyphs(font: ImageFont.FreeTypeFont, text: Iterable[str]) -> set[str]:
    """The characters that a font draws like an undefined character."""

    def draw(character: str) -> tuple[tuple[int, int], bytes]:
        glyph = font.getmask(character)
        return glyph.size, bytes(glyph)

    undefined = draw("\uffff")
    return {character for character in set(text) if not character.isspace() and draw(character) == undefined}


@lru_cache(maxsize=64)
def find_system_font(characters: str) -> str:
    """The file of a system font with all these characters; "" if there is none, or no fontconfig."""
    program = shutil.which("fc-match")
    if program is None:
        return ""
    query = ":charset=" + " ".join(f"{ord(character):x}" for character in characters)
    try:
        file = subprocess.run(
            [program, "--format", "%{file}", query], capture_output=True, text=True, check=True, timeout=_QUERY_TIMEOUT
        ).stdout
        return "" if missing_glyphs(ImageFont.truetype(file, _SIZES[1]), characters) else file
    except (OSError, subprocess.SubprocessError):
        return ""


@lru_cache(maxsize=64)
def _load_font(file: str, size: int) -> ImageFont.FreeTypeFont:
    """The system font of a file, or the embedded font if ``file`` is empty."""
    if file:
        return ImageFont.truetype(file, size)
    return ImageFont.truetype(BytesIO(files("dptr").joinpath(_FONT).read_bytes()), size)
