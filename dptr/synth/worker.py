"""A supply of rendered crops from a recipe, and what a process that renders for others holds of it."""

from __future__ import annotations

import signal
from functools import lru_cache

from dptr.config.train import SynthRecipe
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus

_RECIPE: list[SynthRecipe] = []


def make_source(recipe: SynthRecipe) -> RenderedWords:
    """The supply of crops that packs and data sets are cut from."""
    corpus = Corpus(recipe.corpus, resolve_charset(recipe.charset), recipe.max_length, recipe.seed)
    return RenderedWords(corpus, Renderer(recipe.render, recipe.seed, size=recipe.size))


def start_worker(recipe: SynthRecipe) -> None:
    """Initializer of a pool's processes: Ctrl-C is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _RECIPE.append(recipe)


@lru_cache(maxsize=1)
def worker_source() -> RenderedWords:
    """In such a process its own supply: fonts and photographs, sent to it, would keep the next one from starting."""
    return make_source(_RECIPE[0])
