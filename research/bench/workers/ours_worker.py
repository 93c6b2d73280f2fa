"""Our renderer as a worker: ``ours_worker.py '{"recipe": FILE, "overrides": ["a.b=c", ...]}'``."""

from __future__ import annotations

import json
import sys

from PIL import Image
from serve import serve

from dptr.config.load import load_recipe
from dptr.config.train import SynthRecipe
from dptr.synth import Renderer


def main() -> None:
    options = json.loads(sys.argv[1])
    recipe = load_recipe(SynthRecipe, options["recipe"], options["overrides"])
    renderer = Renderer(recipe.render, recipe.seed, size=recipe.size)
    serve(lambda word, seed: Image.fromarray(renderer.render(word, seed)))


if __name__ == "__main__":
    main()
