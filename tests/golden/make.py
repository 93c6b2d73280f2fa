"""Writes the golden values anew: only when they are meant to change, and never by a test.

``python tests/golden/make.py``: readings.json, glyph.json and losses.json, from the code and the weights as they are.
On the machine that wrote them they come out the same to the last digit, so git shows whether a change of code is none.
``python tests/golden/make.py --crops FONTS``: the pictures too; FONTS as ``scripts/web_fonts.py`` writes it.
``python tests/golden/make.py --photograph``: the photograph alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import helpers_golden as golden
import helpers_photo

from dptr.config.render import RenderConfig, plain_render
from dptr.synth import Renderer

# Name, label, font, height and width, effects, quarter turns against the clock.
PICTURES: list[tuple[str, str, str, tuple[int, int], dict[str, float], int]] = [
    ("clean", "Market", "poppins/poppins-700-normal.ttf", (48, 170), {"plain": 1}, 0),
    ("blurred", "station", "roboto-slab/roboto-slab-400-normal.ttf", (32, 110), {"blur": 1, "noise": 1}, 0),
    ("curved", "COFFEE", "bebas-neue/bebas-neue-400-normal.ttf", (64, 180), {"curve": 1}, 0),
    ("tall-down", "HOTEL", "poppins/poppins-700-normal.ttf", (40, 140), {"texture": 1}, 3),
    ("tall-up", "Library", "roboto-slab/roboto-slab-700-normal.ttf", (40, 150), {"shadow": 1}, 1),
    ("long", "Internationalization", "abel/abel-400-normal.ttf", (36, 330), {"gradient": 1}, 0),
    ("digits", "4072", "orbitron/orbitron-700-normal.ttf", (40, 120), {"outline": 1}, 0),
    ("punctuation", "$19.95!", "poppins/poppins-400-normal.ttf", (40, 150), {"lighting": 1}, 0),
    ("script", "Bakery", "dancing-script/dancing-script-700-normal.ttf", (48, 130), {"perspective": 1}, 0),
    ("tiny", "exit", "abel/abel-400-normal.ttf", (14, 36), {"jpeg": 1}, 0),
    ("faint", "garden", "roboto-slab/roboto-slab-400-normal.ttf", (40, 140), {"faint": 1, "lowres": 1}, 0),
    ("slanted", "Bridge", "abril-fatface/abril-fatface-400-normal.ttf", (56, 150), {"slant": 1, "rotation": 1}, 0),
    ("letter", "A", "poppins/poppins-700-normal.ttf", (44, 32), {"plain": 1}, 0),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", metavar="FONTS", type=Path, help="draw the pictures anew, with fonts of this folder")
    parser.add_argument("--photograph", action="store_true", help="draw the photograph anew, and nothing else")
    options = parser.parse_args()
    fonts = options.crops
    if options.photograph:
        draw_photograph()
        return
    if fonts is not None:
        draw_pictures(fonts)
    found = {name: golden.rounded(golden.readings(golden.open_reader(name, "torch"))) for name in golden.MODELS}
    name, ways = golden.TTA
    found[f"{name}, tta {ways}"] = golden.rounded(golden.readings(golden.open_reader(name, "torch", tta=ways)))
    found[golden.EIGHT_BITS] = golden.rounded(golden.readings(golden.open_reader("dptr-latin", "onnx")))
    write("readings", found)
    write("glyph", {"files": golden.digests(), **golden.glyph_values()})
    with tempfile.TemporaryDirectory() as folder:
        losses = {name: golden.train(name, Path(folder) / name) for name in golden.TRAININGS}
    write("losses", losses)


def draw_pictures(fonts: Path) -> None:
    """Words by our renderer, each with its effects alone, and one blank ground."""
    golden.CROPS.mkdir(exist_ok=True)
    for index, (name, text, font, (height, width), effects, turns) in enumerate(PICTURES):
        config = RenderConfig(fonts=(str(fonts / font),), height=height, width=width)
        renderer = Renderer(plain_render(config).model_copy(update=effects), seed=index)
        Image.fromarray(np.rot90(renderer.render(text, index), turns)).save(golden.CROPS / f"{name}.png", optimize=True)
    ramp = np.linspace(150, 170, 128)[None, :, None] + np.zeros((32, 1, 3))
    Image.fromarray(ramp.astype(np.uint8)).save(golden.CROPS / golden.BLANK, optimize=True)
    labels = "".join(f"{name}.png\t{text}\n" for name, text, *_ in PICTURES)
    (golden.CROPS / "labels.tsv").write_text(labels, encoding="utf-8")


def draw_photograph() -> None:
    """A sign seen from a little to the side, on a lit wall, with a camera's noise."""
    width, height = 960, 720
    sign = Image.new("RGB", (width, height), (96, 74, 58))
    draw = ImageDraw.Draw(sign)
    draw.rectangle((150, 170, 810, 560), fill=(238, 232, 214))
    for row, text in enumerate(helpers_photo.PHOTOGRAPHED.splitlines()):
        font = ImageFont.truetype(str(golden.FONT), 76)
        draw.text((200, 205 + 105 * row), text, font=font, fill=(52, 40, 90))
    seen = sign.transform(
        (width, height), Image.Transform.QUAD, (20, -30, -10, height + 20, width - 20, height - 30, width, 40),
        Image.Resampling.BICUBIC,
    )  # fmt: skip
    light = np.linspace(0.75, 1.1, width)[None, :, None]
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    pixels = np.clip(np.asarray(seen) * light + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(helpers_photo.PHOTOGRAPH, quality=85)


def write(name: str, values: dict[str, Any]) -> None:
    """One of the golden files; numbers of one list on one line."""
    path = golden.FOLDER / f"{name}.json"
    text = json.dumps(values, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([-+.e\d,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    path.write_text(text + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
