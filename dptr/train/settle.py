"""Parts that come from a checkpoint bring their settings along; what a recipe sets itself stands above them."""

from __future__ import annotations

from typing import Any

from dptr.checkpoint import open_checkpoint
from dptr.config import AlignRecipe, DualConfig, FinetuneRecipe, ModelConfig, PretrainRecipe, SynthRecipe
from dptr.dual import DualEncoder
from dptr.dual.glyph import load_glyph
from dptr.text.charset import Charset, resolve_charset
from dptr.text.corpus import in_language


def settle_synth(recipe: SynthRecipe) -> SynthRecipe:
    """The recipe with the words of its charset's language, unless it names sources itself."""
    return recipe.model_copy(update={"corpus": in_language(recipe.corpus, resolve_charset(recipe.charset))})


def settle_align(recipe: AlignRecipe) -> AlignRecipe:
    """The same for alignment."""
    return recipe.model_copy(update={"corpus": in_language(recipe.corpus, resolve_charset(recipe.glyph.charset))})


def settle_pretrain(recipe: PretrainRecipe, dual: DualEncoder) -> PretrainRecipe:
    """The recipe with the decoder as wide as the dual encoder's tokens and the words of its charset's language.

    What it sets itself stays.
    """
    recipe = recipe.model_copy(update={"corpus": in_language(recipe.corpus, resolve_charset(recipe.model.charset))})
    if "dim" in recipe.model.decoder.model_fields_set:
        return recipe
    decoder = recipe.model.decoder.model_copy(update={"dim": dual.dim})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"decoder": decoder})})


def settle_finetune(recipe: FinetuneRecipe) -> tuple[FinetuneRecipe, Charset]:
    """The recipe with the settings of the parts named in ``init``, and the charset to write with.

    A whole recogniser (``init.model``) brings all of its settings; a decoder brings its own, its charset and its
    maximal length; a glyph encoder brings the image encoder, the queries and the width. Rendered words are of the
    charset's language. Keys that the recipe sets win.

    Raises:
        UserError: a checkpoint that cannot be opened, an unknown charset.
    """
    base = ModelConfig().model_dump()
    charset = None
    if recipe.init.glyph:
        glyph = load_glyph(DualConfig(kind="glyph", model=recipe.init.glyph)).config
        fmu = {"queries": glyph.max_length + 1, "heads": glyph.heads, "layers": glyph.layers, "count": glyph.count}
        brought = {"encoder": glyph.encoder.model_dump(), "fmu": fmu, "decoder": {"dim": glyph.dim}}
        base = _over(base, {**brought, "max_length": glyph.max_length})
    if recipe.init.model or recipe.init.decoder:
        checkpoint = open_checkpoint(recipe.init.model or recipe.init.decoder)
        settings = checkpoint.config.model_dump()
        if checkpoint.kind == "decoder":
            settings = {key: settings[key] for key in ("decoder", "charset", "max_length")}
        base, charset = _over(base, settings), checkpoint.charset
    model = ModelConfig.model_validate(_over(base, recipe.model.model_dump(exclude_unset=True)))
    if charset is None or "charset" in recipe.model.model_fields_set:
        charset = resolve_charset(model.charset)
    corpus = in_language(recipe.corpus, charset)
    return recipe.model_copy(update={"model": model, "corpus": corpus}), charset


def _over(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    nested = {key: _over(base[key], value) for key, value in above.items() if isinstance(value, dict)}
    return {**base, **above, **nested}
