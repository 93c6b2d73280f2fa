"""Rendered words from a recipe, in this process or in the processes of a pool."""

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
    """The rendered words of a recipe; a pack or a data set holds the first of them."""
    corpus = Corpus(recipe.corpus, resolve_charset(recipe.charset), recipe.max_length, recipe.seed)
    return RenderedWords(corpus, Renderer(recipe.render, recipe.seed, size=recipe.size))


def start_worker(recipe: SynthRecipe) -> None:
    """Initialize a process of a pool. It ignores Ctrl-C, which the main process handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _RECIPE.append(recipe)


@lru_cache(maxsize=1)
def worker_source() -> RenderedWords:
    """The rendered words in a process of a pool.

    The process makes them itself, because sending it fonts and photographs would take longer.
    """
    return make_source(_RECIPE[0])
