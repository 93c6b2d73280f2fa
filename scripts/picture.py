"""Draw the picture of the README: rendered words that no training has seen, and their readings.

    python scripts/picture.py docs/assets/reading.png [--model dptr-latin]

Words and fonts are held out of training. They are chosen by number, not by how well they are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dptr.config.render import CorpusConfig, RenderConfig
from dptr.inference.reader import Reader
from dptr.synth import FontIndex, Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.files import atomic_file

COLUMNS, ROWS, SCALE = 4, 5, 2
GAP, LINE = 16, 24  # pixels; each crop has two lines of text
BLACK, RED, GRAY = (20, 20, 20), (200, 30, 30), (120, 120, 120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="dptr-latin")
    arguments = parser.parse_args()
    words = Corpus(CorpusConfig(), resolve_charset("94"), 16, seed=2024, split="heldout")
    source = RenderedWords(words, Renderer(RenderConfig(), 2024, FontIndex(split="heldout")))
    sheet = draw(Reader(arguments.model), source)
    with atomic_file(arguments.out) as aside:
        sheet.save(aside, "PNG", optimize=True)


def draw(reader: Reader, source: RenderedWords) -> Image.Image:
    """Draw a grid of crops with the reading and its confidence below each; errors are red, with the label."""
    font = ImageFont.load_default(20)
    width, height = SCALE * 128, SCALE * 32
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, ROWS * (height + 2 * LINE + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    samples = [source.sample(index) for index in range(COLUMNS * ROWS)]
    pictures = [Image.fromarray(crop) for crop, _, _ in samples]
    for index, (picture, read) in enumerate(zip(pictures, reader.read(pictures), strict=True)):
        truth = samples[index][1]
        x = GAP + index % COLUMNS * (width + GAP)
        y = GAP + index // COLUMNS * (height + 2 * LINE + GAP)
        sheet.paste(picture.resize((width, height), Image.Resampling.BICUBIC), (x, y))
        below = y + height + 3
        pen.text((x, below), read.text[:20], BLACK if read.text == truth else RED, font)
        pen.text((x + width, below), f"{read.confidence:.2f}", GRAY, font, anchor="ra")
        if read.text != truth:
            pen.text((x, below + LINE), f"is: {truth}", GRAY, font)
    return sheet


if __name__ == "__main__":
    main()
