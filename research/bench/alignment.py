"""Crops a second of alignment, all characters of a charset told apart in each step, and a draw of them (``negatives``).

    python research/bench/alignment.py

Steps of ``dptr align``'s loss with gradient and AdamW on 64 random pictures of words of each language, letters evenly
placed, svtr nano as in research/recipes/evidence/language.toml; rendering is left out. Both ways take turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from steps import Way, take_turns

from dptr.config.model import GlyphConfig, SVTRConfig
from dptr.config.train import AlignRecipe
from dptr.data.loader import text_batch
from dptr.dual.glyph.losses import alignment_loss
from dptr.dual.glyph.model import build_glyph, slot_symbols
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus, in_language
from dptr.training.trainer import best_precision

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", nargs="+", default=["en", "ar", "ko", "ja", "zh"], metavar="CODE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| language | characters | all told apart, crops/s | a draw of 1,024, crops/s | times as fast |")
    print("|---|---:|---:|---:|---:|")
    for code in options.languages:
        ways = [Way("all", stepper(code, 0)), Way("drawn", stepper(code, 1024))]
        take_turns(ways, options.rounds)
        whole, drawn = (way.per_second(way.clock) for way in ways)
        characters = len(resolve_charset(code))
        print(f"| {code} | {characters:,} | {whole:.0f} | {drawn:.0f} | {drawn / whole:.2f} |", flush=True)


def stepper(code: str, negatives: int) -> Callable[[int], int]:
    """A step of one model of its own."""
    torch.manual_seed(0)
    eyes = SVTRConfig(size="nano")
    model, charset = build_glyph(GlyphConfig(charset=code, encoder=eyes))
    recipe = AlignRecipe(negatives=negatives)
    length = recipe.glyph.max_length
    index = {character: place + 1 for place, character in enumerate(charset.characters)}
    corpus = Corpus(in_language(recipe.corpus, charset), charset, length, 0)
    optimizer = torch.optim.AdamW(model.parameters())
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(BATCH, 3, eyes.height, eyes.width, generator=generator) * 2 - 1

    def step(number: int) -> int:
        words = text_batch(corpus, BATCH, number)
        stops = torch.full((BATCH, length, 2), torch.nan)
        for row, word in enumerate(words):
            edges = torch.linspace(0, 1, len(word) + 1)
            stops[row, : len(word)] = torch.stack([edges[:-1], edges[1:]], dim=1)
        with torch.autocast("cpu", torch.bfloat16, enabled=best_precision("cpu") == "bf16"):
            loss, _, _ = alignment_loss(model, pixels, slot_symbols(words, index, length), stops, recipe, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return BATCH

    return step


if __name__ == "__main__":
    main()
