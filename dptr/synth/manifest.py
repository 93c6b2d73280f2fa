"""What a pack or a data set of rendered crops says it was made of, and whether a recipe would make the same crops."""

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

CHECKED = 1000  # words that are compared with those that a recipe draws now


def describe_recipe(recipe: SynthRecipe) -> dict[str, Any]:
    """The recipe, and the probabilities that its preset had when the crops were made."""
    return {"recipe": recipe.model_dump(mode="json"), "effects": recipe.render.probabilities().model_dump()}


def same_crops(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two manifests describe the same crops; whatever else they hold has to be the same too."""
    return _content(one) == _content(other)


def check_words(path: Path, words: Sequence[str], source: RenderedWords, first: int) -> None:
    """Check that rendering would go on with the texts that it began with: word lists, fonts, and versions differ.

    Args:
        path: of the file that holds the words.
        words: those of the crops from number ``first`` on; ``CHECKED`` of them are looked at.

    Raises:
        UserError: another word would be drawn.
    """
    for index, word in enumerate(words[:CHECKED], first):
        if (expected := source.word(index)) != word:
            raise UserError(
                f"{path}: crop {index} shows {word!r}, and {expected!r} would be drawn now: begun by another version "
                "of dptr, or with other words or fonts; pass another --out"
            )


def digest_words(source: RenderedWords) -> str:
    """Of the first ``CHECKED`` words."""
    words = "\n".join(map(source.word, range(CHECKED)))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _content(manifest: dict[str, Any]) -> dict[str, Any]:
    """What decides over the crops: probabilities and not the preset's name. Manifests of any version compare."""
    recipe, effects = dict(manifest.get("recipe", {})), manifest.get("effects")
    render = dict(recipe.pop("render", {}))
    if effects is None and "height" in render:  # before presets: all probabilities and the size lay in ``render``
        names = {"height": "height", "width": "width", "widest": "max_width"}
        recipe["size"] = {new: render.pop(old, 0) for old, new in names.items()}
        held = {name: value for name, value in render.items() if isinstance(value, float)}
        render = {name: value for name, value in render.items() if name not in held}
        effects = Effects.model_validate({RENAMED_EFFECTS.get(name, name): value for name, value in held.items()})
        effects = effects.model_dump()
    if effects is not None:  # with what came later, which was off
        effects = {**dict.fromkeys(Effects.model_fields, 0.0), **effects}
    corpus = {**recipe.get("corpus", {}), "cache": ""}
    recipe["corpus"] = CorpusConfig.model_validate(corpus).model_dump()
    recipe["size"] = CropSize.model_validate(recipe.get("size", {})).model_dump()  # with the keys that came later
    for name in ("preset", "effects"):
        render.pop(name, None)
    return {**manifest, "recipe": recipe, "render": render, "effects": effects}
