"""Manifests of packs and data sets: they record what made the crops, to check whether a recipe would make the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dptr.config.effects import RENAMED_EFFECTS, Effects
from dptr.config.render import CorpusConfig
from dptr.config.size import CropSize
from dptr.config.train import SynthRecipe
from dptr.synth.source import RenderedWords
from dptr.utils.errors import UserError

CHECKED = 1000  # how many of the written words are compared with those that the recipe gives now


def describe_recipe(recipe: SynthRecipe) -> dict[str, Any]:
    """The recipe, and the probabilities that its preset has now."""
    return {"recipe": recipe.model_dump(mode="json"), "effects": recipe.render.probabilities().model_dump()}


def same_crops(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two manifests describe the same crops; their other keys must be equal, too."""
    return _normalize(one) == _normalize(other)


def check_words(path: Path, words: Sequence[str], source: RenderedWords, first: int) -> None:
    """Check that ``source`` still gives the words that were written.

    The words of the same recipe may differ with other word lists, fonts, or versions of DPTR.

    Args:
        path: of the file that holds the words, for the error.
        words: of the crops from number ``first`` on; the first ``CHECKED`` are compared.

    Raises:
        UserError: a word differs.
    """
    for index, word in enumerate(words[:CHECKED], first):
        if (expected := source.word(index)) != word:
            raise UserError(
                f"{path}: crop {index} shows {word!r}, and {expected!r} would be drawn now: begun by another version "
                "of dptr, or with other words or fonts; pass another --out"
            )


def check_unstretched(size: CropSize) -> None:
    """Check that crops that are written as pictures have the shapes of pictures: whoever reads them stretches them.

    Raises:
        UserError: ``size.stretch`` is not 1.
    """
    if size.stretch != 1:
        raise UserError(
            f"size.stretch = {size.stretch:g}: pictures are stretched when they are read, so these would be stretched "
            "twice; leave it out, or write a pack (dptr synth --format pack)"
        )


def digest_words(source: RenderedWords) -> str:
    """SHA-256 of the first ``CHECKED`` words, as 16 hexadecimal digits."""
    words = "\n".join(map(source.word, range(CHECKED)))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _normalize(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest in the newest form, with probabilities in place of the preset's name.

    Manifests of older versions are brought to this form, so that manifests of any version compare.
    """
    recipe, effects = dict(manifest.get("recipe", {})), manifest.get("effects")
    render = dict(recipe.pop("render", {}))
    if effects is None and "height" in render:  # before presets, ``render`` held all probabilities and the size
        new_names = {"height": "height", "width": "width", "widest": "max_width"}
        recipe["size"] = {new: render.pop(old, 0) for old, new in new_names.items()}
        probabilities = {name: value for name, value in render.items() if isinstance(value, float)}
        render = {name: value for name, value in render.items() if name not in probabilities}
        effects = {RENAMED_EFFECTS.get(name, name): value for name, value in probabilities.items()}
        effects = Effects.model_validate(effects).model_dump()
    if effects is not None:  # effects of later versions were off
        effects = {**dict.fromkeys(Effects.model_fields, 0.0), **effects}
    corpus = {**recipe.get("corpus", {}), "cache": ""}
    recipe["corpus"] = CorpusConfig.model_validate(corpus).model_dump()
    recipe["size"] = CropSize.model_validate(recipe.get("size", {})).model_dump()  # adds keys of later versions
    for name in ("preset", "effects"):
        render.pop(name, None)
    return {**manifest, "recipe": recipe, "render": render, "effects": effects}
