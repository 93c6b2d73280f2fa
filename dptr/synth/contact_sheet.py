"""Contact sheets: many crops in one picture, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dptr.synth.fonts import Font, FontIndex
from dptr.synth.layout import line_direction
from dptr.synth.renderer import Renderer

_LINE_HEIGHT = 20  # pixels; height of a line of text below a crop


def draw_contact_sheet(renderer: Renderer, words: Sequence[str], columns: int = 6, start: int = 0) -> Image.Image:
    """Render each word at twice its size, row by row with white gaps; crops are numbered from ``start``.

    Raises:
        UserError: no font draws one of the words.
    """
    gap = 3
    height, width = (max(sides) for sides in zip(*renderer.size.every, strict=True))
    rows = -(-len(words) // columns)
    sheet = np.full((rows * (height + gap), columns * (width + gap), 3), 255, np.uint8)
    for i, word in enumerate(words):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        crop = renderer.render(word, start + i)
        sheet[y : y + len(crop), x : x + crop.shape[1]] = crop
    return Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.BICUBIC)


def draw_labeled_sheet(
    samples: Sequence[tuple[np.ndarray, str]], fonts: FontIndex, columns: int = 6, misread: Sequence[str] = ()
) -> Image.Image:
    """Show crops at twice their size, row by row, each with its word below.

    Args:
        samples: crops, uint8 (h, w, 3), with their words.
        misread: for each crop, a wrong reading, shown in red above the word, or "" if there is none; an empty sequence
            shows no readings.

    Raises:
        UserError: no font draws one of the words.
    """
    height, width = (2 * max(crop.shape[axis] for crop, _ in samples) for axis in (0, 1))
    text_height = 2 * _LINE_HEIGHT if misread else _LINE_HEIGHT
    rows = -(-len(samples) // columns)
    sheet = Image.new("RGB", (columns * (width + 6), rows * (height + text_height + 6)), "white")
    canvas = ImageDraw.Draw(sheet)
    for number, (crop, word) in enumerate(samples):
        y, x = number // columns * (height + text_height + 6), number % columns * (width + 6)
        doubled = Image.fromarray(crop).resize((2 * crop.shape[1], 2 * len(crop)), Image.Resampling.BICUBIC)
        sheet.paste(doubled, (x, y + height - doubled.height))
        reading = misread[number] if misread else ""
        for text, color, top in ((reading, "red", 1), (word, "black", 1 + _LINE_HEIGHT * bool(reading))):
            if text:
                face = _plain_face(fonts, text, width)
                canvas.text((x, y + height + top), text, fill=color, font=face, direction=line_direction(face, text))
    return sheet


def _plain_face(fonts: FontIndex, word: str, width: int) -> ImageFont.FreeTypeFont:
    """The most ordinary font that draws ``word``, at a size at which the word is at most ``width`` pixels wide.

    Ordinary fonts are sans-serif, upright, of regular weight, and have many characters. The size is at least 4 pixels,
    even if the word is then wider.
    """

    def oddity(font: Font) -> tuple[bool, int, int]:
        characters = sum(last - first + 1 for first, last in font.coverage)
        return font.traits != ("sans",), abs(font.weight - 400), -characters

    covering = [fonts.fonts[row] for row in np.flatnonzero(fonts.covering(word))] or [fonts.choose(word, 0.5)]
    font = min(covering, key=oddity)
    size = _LINE_HEIGHT - 6
    while size > 4 and ImageFont.truetype(font.path, size, font.number).getlength(word) > width:
        size -= 1
    return ImageFont.truetype(font.path, size, font.number)
