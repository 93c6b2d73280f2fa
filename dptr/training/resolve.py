"""Parts that come from a checkpoint bring their settings along; what a recipe sets itself stands above them."""

from __future__ import annotations

from typing import Any

from dptr.config.model import DualConfig, EncoderConfig, GlyphConfig, ModelConfig
from dptr.config.train import AlignRecipe, FinetuneRecipe, PretrainRecipe, SynthRecipe
from dptr.data.labeled import open_labelled
from dptr.dual.base import DualEncoder
from dptr.dual.clip.vision_tower import tower_settings
from dptr.dual.glyph.model import load_glyph
from dptr.models.checkpoint import open_checkpoint
from dptr.text.charset import Charset, grown, resolve_charset
from dptr.text.corpus import in_language
from dptr.utils.errors import UserError


def settle_synth(recipe: SynthRecipe) -> SynthRecipe:
    """The recipe with the words of its charset's language, unless it names sources itself."""
    return recipe.model_copy(update={"corpus": in_language(recipe.corpus, resolve_charset(recipe.charset))})


def settle_align(recipe: AlignRecipe) -> AlignRecipe:
    """The same for alignment, with the settings of the encoder that it starts from, where the recipe sets no others.

    One that starts from an encoder reads already: without a ``ramp`` of its own it meets the full renderer at once.

    Raises:
        UserError: an image encoder that is another dual encoder's; see ``load_glyph``.
    """
    if recipe.start:
        settings = load_glyph(DualConfig(kind="glyph", model=recipe.start)).config.model_dump()
        glyph = GlyphConfig.model_validate(_over(settings, recipe.glyph.model_dump(exclude_unset=True)))
        ramp = recipe.ramp if "ramp" in recipe.model_fields_set else 0.0
        recipe = recipe.model_copy(update={"glyph": glyph, "ramp": ramp})
    if recipe.glyph.encoder.kind == "clip-vision":
        raise UserError(
            "glyph.encoder.kind = 'clip-vision': alignment trains an image encoder of its own; set it to vit or svtr"
        )
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
    charset's language. An image encoder ``clip-vision`` gets the settings of its tower. Keys that the recipe sets win;
    where it sets the maximal length and no queries, queries that were one a character and one for the end become as
    many of the new length. With ``data.grow`` the charset gets the characters of the labels to train on.

    Raises:
        UserError: a checkpoint that cannot be opened, an unknown charset, with ``data.grow`` a data set that cannot be
            opened; see ``tower_settings``.
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
    own = recipe.model.model_dump(exclude_unset=True)
    if "max_length" in own and base["fmu"]["queries"] == base["max_length"] + 1:
        base = _over(base, {"fmu": {"queries": recipe.model.max_length + 1}})
    model = _with_tower(ModelConfig.model_validate(_over(base, own)), recipe)
    if charset is None or "charset" in recipe.model.model_fields_set:
        charset = resolve_charset(model.charset)
    if recipe.data.grow:
        sets = [open_labelled(path) for path in recipe.data.train]
        labels = (labelled.label(index) for labelled in sets for index in range(len(labelled)))
        charset = grown(charset, labels, recipe.data.grow)
    corpus = in_language(recipe.corpus, charset)
    return recipe.model_copy(update={"model": model, "corpus": corpus}), charset


def _with_tower(model: ModelConfig, recipe: FinetuneRecipe) -> ModelConfig:
    """The same with the settings of ``clip-vision``'s tower, which a whole recogniser (``init.model``) has itself."""
    own = recipe.model.encoder.model_fields_set
    if model.encoder.kind != "clip-vision":
        left = {key: EncoderConfig.model_fields[key].default for key in {"model", "frozen", "tower"} - own}
        return model.model_copy(update={"encoder": model.encoder.model_copy(update=left)})
    if recipe.init.glyph or (recipe.init.model and "model" in own):
        raise UserError(
            f"model.encoder.model = '{model.encoder.model}' together with init.glyph or init.model: each brings an "
            "image encoder; set one or the other"
        )
    if recipe.init.model:
        return model
    encoder = model.encoder.model_copy(update={"tower": tower_settings(model.encoder.model)})
    return model.model_copy(update={"encoder": encoder})


def _over(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    nested = {key: _over(base.get(key) or {}, value) for key, value in above.items() if isinstance(value, dict)}
    return {**base, **above, **nested}
