"""Stage 1 at its bar: words held out are spelled >= 99 %, random strings >= 95 %, from glyph's text tokens and from a
tiny random-weight CLIP's (a frozen random tower is still a code that a decoder can learn).

With ORP of photographs. Residuals are errors to be doubted, so that a decoder spells clean tokens later (docs/LOG.md).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_clip import make_tiny_clip

from dptr.config.load import load_recipe
from dptr.config.train import PretrainRecipe
from dptr.training.pretrain import pretrain

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ["orp.bank=photographs", "orp.positions=per-sample", "orp.strength=0.1"]


def _scores(recipe: str, overrides: list[str], out: Path) -> dict[str, float]:
    model = pretrain(load_recipe(PretrainRecipe, ROOT / recipe, overrides), out)
    results = json.loads((model / "card.json").read_text(encoding="utf-8"))["results"]
    return {result["data"]: result["word_accuracy"] for result in results}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_held_out_words_are_spelled_from_a_random_clip(tmp_path):
    clip = make_tiny_clip(tmp_path / "clip", width=128, merged=())
    scores = _scores("research/recipes/spell-clip-tiny.toml", [f"dual.model={clip}"], tmp_path / "run")
    assert scores["held_out_words"] >= 0.99
    assert scores["random_strings"] >= 0.95


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_held_out_words_are_spelled_from_glyph(tmp_path):
    scores = _scores("recipes/pretrain-en.toml", ["run.steps=1500", *PHOTOGRAPHS], tmp_path / "run")
    assert scores["held_out_words"] >= 0.99
    assert scores["random_strings"] >= 0.95
