"""Settings of a network: those that the recipe sets, then those of the parts it starts from, then the defaults."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dptr.config.base import Config, KindConfig
from dptr.config.model import ClipVisionConfig, DecoderConfig, EncoderConfig, ModelConfig, PPOCRConfig
from dptr.config.train import FinetuneRecipe
from dptr.dual.clip.vision_tower import tower_settings, tower_weights
from dptr.dual.glyph.model import GlyphDual
from dptr.models.checkpoint import Checkpoint
from dptr.models.encoders.ppocr_weights import Head, find_file, read_weights
from dptr.utils.errors import UserError

_KINDS: dict[str, type[KindConfig]] = {"encoder": EncoderConfig, "decoder": DecoderConfig}


def merge_model(recipe: FinetuneRecipe, checkpoint: Checkpoint | None, glyph: GlyphDual | None) -> ModelConfig:
    """Model settings from, in order of precedence, the recipe, the checkpoint, the glyph encoder, and the defaults."""
    base = ModelConfig().model_dump()
    if glyph is not None:
        config = glyph.config
        fmu = {"queries": config.max_length + 1, "heads": config.heads, "layers": config.layers, "count": config.count}
        parts = {"encoder": config.encoder.model_dump(), "fmu": fmu, "decoder": {"dim": config.dim}}
        base = overlay(base, {**parts, "max_length": config.max_length})
    if checkpoint is not None:
        base = overlay(base, checkpoint.config.model_dump())
    if recipe.init.encoder:
        base = {**base, "encoder": PPOCRConfig().model_dump()}
    explicit = explicit_settings(recipe.model)
    if "max_length" in explicit and base["fmu"]["queries"] == base["max_length"] + 1:
        base = overlay(base, {"fmu": {"queries": recipe.model.max_length + 1}})
    return ModelConfig.model_validate(overlay(base, explicit))


def open_encoder(
    model: ModelConfig, recipe: FinetuneRecipe
) -> tuple[ModelConfig, dict[str, Tensor] | None, Head | None]:
    """Open the image encoder that ``init.encoder`` or ``model.encoder.model`` (kind ``clip-vision``) names.

    Returns:
        ``model``, for ``clip-vision`` with the settings of its tower; the encoder's weights; and its head. Weights and
        head are None where there are none.

    Raises:
        UserError: the recipe names two image encoders; see ``tower_settings``, ``read_weights``.
    """
    encoder, init = model.encoder, recipe.init
    if init.encoder:
        if not isinstance(encoder, PPOCRConfig):
            raise UserError(
                f"init.encoder = '{init.encoder}': weights of an encoder of kind 'ppocr', not of "
                f"model.encoder.kind = '{encoder.kind}'; leave that out"
            )
        return model, *read_weights(find_file(init.encoder))
    if not isinstance(encoder, ClipVisionConfig):
        return model, None, None
    if init.glyph or (init.model and "model" in recipe.model.encoder.model_fields_set):
        raise UserError(
            f"model.encoder.model = '{encoder.model}' together with init.glyph or init.model: each brings an image "
            "encoder; set one or the other"
        )
    if init.model:
        return model, None, None
    encoder = encoder.model_copy(update={"tower": tower_settings(encoder.model)})
    return model.model_copy(update={"encoder": encoder}), tower_weights(encoder.model), None


def explicit_settings(config: Config) -> dict[str, Any]:
    """The settings that were set explicitly, with the ``kind`` of encoder and decoder if it is not the default."""
    explicit = config.model_dump(exclude_unset=True)
    for name, base in _KINDS.items():
        if name in explicit and (kind := getattr(config, name).kind) != base.default_kind:
            explicit[name]["kind"] = kind
    return explicit


def overlay(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``base`` updated with ``above``, recursively."""
    nested = {
        key: overlay_part(_KINDS[key], base.get(key) or {}, value)
        if key in _KINDS
        else overlay(base.get(key) or {}, value)
        for key, value in above.items()
        if isinstance(value, dict)
    }
    return {**base, **above, **nested}


def overlay_part(schema: type[KindConfig], base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``base`` updated with ``above``; if that changes the kind, only keys that all kinds have are kept of ``base``."""
    if above.get("kind", base.get("kind")) != base.get("kind"):
        base = {key: value for key, value in base.items() if key in schema.model_fields}
    return overlay(base, above)
