"""The picture with what was read: boxes around words, and their texts."""

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
PAPER = 255, 255, 255, 215  # under the text, so that it can be read over anything

_FONT = "synth/embedded/OpenSans.ttf"  # of the renderer, which is not imported: it needs other packages
_TEXT_HEIGHT = 0.5  # of the word's, in a label above it
_SIZES = 9, 48  # pixels: the smallest and the largest text
_ASKED = 60  # characters of a script that fontconfig is asked for at once
_PATIENCE = 10.0  # seconds for its answer


class Placed(Protocol):
    """What is drawn: a text and the points around it, x and y in pixels, along its top and back along its bottom."""

    @property
    def text(self) -> str: ...

    @property
    def polygon(self) -> Sequence[tuple[float, float]]: ...


def draw_overlay(words: Sequence[Placed], picture: Image.Image) -> Image.Image:
    """A copy of the picture with a line around each word and its text above it.

    The embedded font has Latin letters. For others a font of this system is asked for (``fc-match`` of fontconfig);
    what neither has a glyph for is left out, or drawn as an empty box.

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
    fonts = _choose_files("".join(word.text for word in words))
    for word in words:
        height = math.dist(word.polygon[0], word.polygon[-1])
        file = next((fonts[character] for character in word.text if character in fonts), "")
        font = _font(file, min(max(round(_TEXT_HEIGHT * height), _SIZES[0]), _SIZES[1]))
        left, top, right, bottom = font.getbbox(word.text)
        x = min(max(min(x for x, _ in word.polygon), 0), max(shown.width - right, 0))
        y = max(min(y for _, y in word.polygon) - bottom - width - 2, 0)
        draw.rectangle((x + left - 1, y + top - 1, x + right + 1, y + bottom + 1), PAPER)
        draw.text((x, y), word.text, TEXT_COLOR, font)
    return Image.alpha_composite(shown, layer).convert("RGB")


def _choose_files(text: str) -> dict[str, str]:
    """Fonts of this system for the characters that the embedded font lacks, one for all of a script."""
    lacking: dict[str, set[str]] = {}
    for character in missing_glyphs(_font("", _SIZES[1]), text):
        lacking.setdefault(script(character), set()).add(character)
    found = {name: find_system_font("".join(sorted(letters)[:_ASKED])) for name, letters in lacking.items()}
    return {character: found[name] for name, letters in lacking.items() for character in letters if found[name]}


def missing_glyphs(font: ImageFont.FreeTypeFont, text: Iterable[str]) -> set[str]:
    """Characters that a font draws as it draws what no font has."""

    def drawn(character: str) -> tuple[tuple[int, int], bytes]:
        glyph = font.getmask(character)
        return glyph.size, bytes(glyph)

    unknown = drawn("\uffff")
    return {character for character in set(text) if not character.isspace() and drawn(character) == unknown}


@lru_cache(maxsize=64)
def find_system_font(characters: str) -> str:
    """The file of a font of this system that has all these characters; empty without one, or without fontconfig."""
    program = shutil.which("fc-match")
    if program is None:
        return ""
    asked = ":charset=" + " ".join(f"{ord(character):x}" for character in characters)
    try:
        answer = subprocess.run(
            [program, "--format", "%{file}", asked], capture_output=True, text=True, check=True, timeout=_PATIENCE
        ).stdout
        return "" if missing_glyphs(ImageFont.truetype(answer, _SIZES[1]), characters) else answer
    except (OSError, subprocess.SubprocessError):
        return ""


@lru_cache(maxsize=64)
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    """A font of the system, or without a file the embedded one."""
    if file:
        return ImageFont.truetype(file, size)
    return ImageFont.truetype(BytesIO(files("dptr").joinpath(_FONT).read_bytes()), size)
