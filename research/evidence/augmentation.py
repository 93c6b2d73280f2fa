"""Draw docs/assets/augmentation.png: the effect of ``dptr.data.augment.augment`` on rendered words.

    python research/evidence/augmentation.py docs/assets/augmentation.png

The upper part shows each operation alone: the crop, three increasing magnitudes, and, for operations with a sign, the
largest negative magnitude. The lower part shows complete augmentations at three strengths. Words are held out of the
corpus, and are chosen by number, not by appearance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dptr.config.render import CorpusConfig, RenderConfig
from dptr.data.augment import OPERATIONS, augment
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.files import atomic_file

MAGNITUDES = (0.25, 0.5, 1.0)
SIGNED = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y", "color", "contrast", "brightness", "sharpness",
          "gamma")  # fmt: skip
BLOCKS = 2  # operations side by side
STRENGTHS = (0.2, 0.5, 0.8)
COLUMNS, ROWS = 4, 3  # crops of each strength
WIDTH, HEIGHT, GAP, NAME, LINE = 128, 32, 4, 112, 26  # pixels
OFF = (
    "low_resolution", "blur", "noise", "jpeg", "lighting", "neighbors", "low_contrast", "quarter_turn", "curve",
    "rotation", "perspective",
)  # fmt: skip
CLEAN = RenderConfig(effects=dict.fromkeys(OFF, 0.0))


class Fixed(np.random.Generator):
    """A generator whose scalar uniform draws are all ``low + share * (high - low)``; other draws are seeded."""

    def __init__(self, share: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.share = share

    def uniform(self, low=0.0, high=1.0, size=None):  # type: ignore[no-untyped-def, override]
        return low + self.share * (high - low) if size is None else super().uniform(low, high, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    words = Corpus(CorpusConfig(), resolve_charset("94"), 12, seed=7, split="heldout")
    sheet = draw(RenderedWords(words, Renderer(CLEAN, 7)))
    with atomic_file(out) as aside:
        sheet.quantize(dither=Image.Dither.NONE).save(aside, "PNG", optimize=True)


def draw(source: RenderedWords) -> Image.Image:
    """Draw the operations in ``BLOCKS`` columns, and below them a grid for each strength."""
    font = ImageFont.load_default(14)
    rows = -(-len(OPERATIONS) // BLOCKS)
    block = NAME + (len(MAGNITUDES) + 2) * (WIDTH + GAP) + 5 * GAP
    grid = COLUMNS * (WIDTH + GAP) + 4 * GAP
    top = LINE + rows * (HEIGHT + GAP) + 4 * GAP
    size = (max(BLOCKS * block, len(STRENGTHS) * grid), top + LINE + ROWS * (HEIGHT + GAP))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    heads = ["crop", *map(str, MAGNITUDES), "-1.0"]
    for number in range(BLOCKS):
        for column, head in enumerate(heads):
            pen.text((number * block + NAME + column * (WIDTH + GAP), 4), head, "black", font)
    for number, operation in enumerate(OPERATIONS):
        name = operation.__name__.removeprefix("_")
        x, y = number // rows * block, LINE + number % rows * (HEIGHT + GAP)
        pen.text((x + GAP, y + 8), name.replace("_", " "), "black", font)
        crop = source.sample(number)[0]
        shown = [crop, *(operation(crop, Fixed(1), magnitude) for magnitude in MAGNITUDES)]
        if name in SIGNED:
            shown.append(operation(crop, Fixed(0), 1))
        for column, picture in enumerate(shown):
            sheet.paste(Image.fromarray(picture), (x + NAME + column * (WIDTH + GAP), y))
    for number, strength in enumerate(STRENGTHS):
        pen.text((number * grid + GAP, top + 4), f"strength {strength}", "black", font)
        for place in range(COLUMNS * ROWS):
            picture = augment(source.sample(100 + place)[0], np.random.default_rng(place), strength)
            column, row = place % COLUMNS, place // COLUMNS
            at = (number * grid + GAP + column * (WIDTH + GAP), top + LINE + row * (HEIGHT + GAP))
            sheet.paste(Image.fromarray(picture), at)
    return sheet


if __name__ == "__main__":
    main()
