"""trdg 1.8.0 as a worker: ``trdg_worker.py '{"fonts": [FILE, ...], "varied": false}'``; no fonts = its own.

Plain: the example of its README (32 pixels high, Gaussian noise behind, a random blur up to 2). ``varied``: beside it
the other effects that the README shows, drawn anew for each word: skew up to 5 degrees, sine, cosine and random
distortion, all four grounds with its own photographs, and its whole range of text colors, at 64 pixels.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

import numpy as np
import trdg
from PIL import Image
from serve import serve
from trdg.generators import GeneratorFromStrings
from trdg.utils import load_fonts

PHOTOGRAPHS = os.path.join(os.path.dirname(trdg.__file__), "images")  # 1.8.0 looks in the wrong folder for them
VARIED: dict[str, Any] = {"size": 64, "skewing_angle": 5, "random_skew": True, "text_color": "#000000,#FFFFFF"}


def main() -> None:
    options = json.loads(sys.argv[1])
    fonts = options["fonts"] or load_fonts("en")

    def draw(word: str, seed: int) -> Image.Image | None:
        random.seed(seed)
        np.random.seed(seed)
        more: dict[str, Any] = {}
        if options["varied"]:
            more = {
                **VARIED,
                "image_dir": PHOTOGRAPHS,
                "background_type": random.randrange(4),
                "distorsion_type": random.randrange(4),
            }
        generator = GeneratorFromStrings([word], fonts=[random.choice(fonts)], blur=2, random_blur=True, **more)
        return next(generator)[0]

    serve(draw)


if __name__ == "__main__":
    main()
