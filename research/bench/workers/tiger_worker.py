"""synthtiger 1.2.1 as a worker: ``tiger_worker.py '{"clone": DIR, "fonts": DIR, "colors": FILE, ...}'``.

The package on PyPI holds the components; the example (template, settings, fonts, textures, colors) is only in its
repository. With ``clone``, a checkout of github.com/clovaai/synthtiger, its own ``examples/synthtiger/template.py``
runs with ``config_horizontal.yaml``; without, ``tiger_template.py`` beside this file does. ``fonts`` (a folder, each
font with a text file of its characters), ``colors`` (a color map) and ``textures`` (a folder) take the place of the
example's. Empty strings leave what a clone has; without a clone fonts and colors are needed, and textures are left
out where none are given.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import synthtiger
from PIL import Image
from serve import serve

HERE = os.path.dirname(os.path.abspath(__file__))


class Given:
    """A corpus that gives the word which is set, then, for what stands behind it, words given before."""

    def __init__(self) -> None:
        self.word = ""
        self.before = ["Text"]
        self.fresh = False

    def set(self, word: str) -> None:
        self.word, self.fresh = word, True
        self.before = [*self.before[-99:], word]

    def sample(self, meta: Any = None) -> str:
        if self.fresh:
            self.fresh = False
            return self.word
        return str(self.before[np.random.randint(len(self.before))])

    def data(self, meta: str) -> str:
        return meta


def main() -> None:
    options = json.loads(sys.argv[1])
    if options["clone"]:
        os.chdir(options["clone"])  # paths in its settings are relative
        script, name = "examples/synthtiger/template.py", "SynthTiger"
        config = synthtiger.read_config("examples/synthtiger/config_horizontal.yaml")
    else:
        from tiger_template import CONFIG

        script, name, config = os.path.join(HERE, "tiger_template.py"), "Words", CONFIG
    config["corpus"] = {}  # ``Given`` below
    replace(config, options)
    template = synthtiger.read_template(script, name, config)
    template.corpus = corpus = Given()

    def draw(word: str, seed: int) -> Image.Image | None:
        synthtiger.set_global_random_seed(seed)
        corpus.set(word)
        try:
            image = template.generate()["image"]
        except (
            RuntimeError,
            ValueError,
            IndexError,
            ZeroDivisionError,
        ) as error:  # as its own generator, which retries
            print(f"{word!r}: {error}", file=sys.stderr)
            return None
        return Image.fromarray(image[..., :3].astype(np.uint8))

    serve(draw)


def replace(config: dict[str, Any], options: dict[str, str]) -> None:
    """Put fonts, colors and textures into the example's settings."""
    if options["fonts"]:
        config["font"] |= {"paths": [options["fonts"]], "weights": [1]}
    if options["colors"]:
        for part in ("colormap2", "colormap3"):
            config[part] |= {"paths": [options["colors"]], "weights": [1]}
    if options["textures"]:
        config["texture"]["args"] |= {"paths": [options["textures"]], "weights": [1]}
    elif not options["clone"]:
        config["texture"]["prob"] = 0


if __name__ == "__main__":
    main()
