"""Cut patches in the shape of word crops from photographs, for a bank of scenes without text (docs/evidence/orp.md).

python research/evidence/patches.py --photographs $DPTR_DATA/natural --out runs/patches
dptr bank --images runs/patches --model glyph-en --out runs/patches.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of photographs, each above 40 pixels")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    files = sorted(options.photographs.iterdir())
    rng = np.random.default_rng(0)
    for number in range(options.count):
        photograph = Image.open(files[number % len(files)]).convert("RGB")
        height = int(np.exp(rng.uniform(np.log(24), np.log(0.6 * photograph.height))))
        width = min(photograph.width, int(height * rng.uniform(2, 5)))
        left = int(rng.integers(photograph.width - width + 1))
        top = int(rng.integers(photograph.height - height + 1))
        photograph.crop((left, top, left + width, top + height)).save(options.out / f"{number:04d}.png")


if __name__ == "__main__":
    main()
