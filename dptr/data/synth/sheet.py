"""Contact sheets: many rendered crops in one picture, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from dptr.data.synth.render import Renderer


def contact_sheet(renderer: Renderer, words: Sequence[str], columns: int = 6, start: int = 0) -> Image.Image:
    """One crop a word, numbered ``start``, ``start + 1``, ..., twice as large, row by row with a white gap.

    Raises:
        UserError: no font draws one of the words.
    """
    height, width, gap = renderer.config.height, renderer.config.width, 3
    rows = -(-len(words) // columns)
    sheet = np.full((rows * (height + gap), columns * (width + gap), 3), 255, np.uint8)
    for i, word in enumerate(words):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = renderer.render(word, start + i)
    return Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.BICUBIC)
