"""How long a model takes for a crop of each of its sizes: one crop at a time, in onnxruntime.

``python research/bench/sizes.py MODEL.onnx [--threads N] [--rounds N] [--json FILE]``. Texts are drawn in Pillow's own
font, words beside each other until a picture has the shape of the size; so wider crops also hold more characters, which
take a decoding step each. Sizes take turns round by round, so that a busy minute hits all alike. ``CPU`` is the
processor time of all threads: it says how much work a crop is where other programs want the cores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dptr.inference.onnx_backend import OnnxModel
from dptr.utils.resize import fit
from dptr.utils.sizes import Size
from dptr.utils.terminal import align_columns

WORDS = ("TOTAL", "12.50", "Coffee", "and", "tea", "x2", "GST", "6%", "Thank", "you", "for", "your", "visit")
PICTURES = 8  # of each size, read in turn
WARM_UP = 3


def draw(size: Size, number: int) -> Image.Image:
    """Text in a picture of the shape of ``size``: as many words as fit in one line, or the beginning of one."""
    height, width = size[0] * 2, size[1] * 2
    font = ImageFont.load_default(int(0.7 * min(height, 64)))
    words = [WORDS[(number + place) % len(WORDS)] for place in range(40)]
    text = words[0][: max(2, width // 40)]
    for word in words[1:]:
        if font.getlength(f"{text} {word}") > width - 8:
            break
        text = f"{text} {word}"
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((4, height // 2), text, "black", font, anchor="lm")
    return image


def measure(model: OnnxModel, rounds: int) -> list[dict[str, float | str]]:
    """A row a size: median milliseconds by the clock and of the processor, and the mean of characters read."""
    crops = {size: [fit(draw(size, number), model.size) for number in range(PICTURES)] for size in model.size.every}
    clock: dict[Size, list[float]] = {size: [] for size in crops}
    cpu: dict[Size, list[float]] = {size: [] for size in crops}
    lengths: dict[Size, list[int]] = {size: [] for size in crops}
    for turn in range(WARM_UP + rounds):
        for size, held in crops.items():
            crop = held[turn % PICTURES]
            assert crop.shape[:2] == size
            begin, busy = time.perf_counter(), time.process_time()
            (word,) = model.tokenizer.decode(model.probabilities(crop[None]))
            clock[size].append(1000 * (time.perf_counter() - begin))
            cpu[size].append(1000 * (time.process_time() - busy))
            lengths[size].append(len(word.text))
    return [
        {
            "size": f"{height}x{width}",
            "ms": round(float(np.median(clock[height, width][WARM_UP:])), 2),
            "fastest quarter": round(float(np.percentile(clock[height, width][WARM_UP:], 25)), 2),
            "CPU ms": round(float(np.median(cpu[height, width][WARM_UP:])), 2),
            "characters": round(float(np.mean(lengths[height, width])), 1),
        }
        for height, width in crops
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a file that dptr export wrote")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path, help="a file for the numbers")
    options = parser.parse_args()
    rows = measure(OnnxModel(options.model, threads=options.threads), options.rounds)
    print(align_columns([tuple(rows[0]), *(tuple(map(str, row.values())) for row in rows)]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
