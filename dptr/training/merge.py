"""Settings of a network from several sources: what the recipe sets, over what its parts bring, over the defaults."""

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
    """The recipe's keys over those of the checkpoint, over those of the glyph encoder, over the defaults."""
    base = ModelConfig().model_dump()
    if glyph is not None:
        held = glyph.config
        fmu = {"queries": held.max_length + 1, "heads": held.heads, "layers": held.layers, "count": held.count}
        brought = {"encoder": held.encoder.model_dump(), "fmu": fmu, "decoder": {"dim": held.dim}}
        base = overlay(base, {**brought, "max_length": held.max_length})
    if checkpoint is not None:
        base = overlay(base, checkpoint.config.model_dump())
    if recipe.init.encoder:
        base = {**base, "encoder": PPOCRConfig().model_dump()}
    own = set_keys(recipe.model)
    if "max_length" in own and base["fmu"]["queries"] == base["max_length"] + 1:
        base = overlay(base, {"fmu": {"queries": recipe.model.max_length + 1}})
    return ModelConfig.model_validate(overlay(base, own))


def with_encoder(
    model: ModelConfig, recipe: FinetuneRecipe
) -> tuple[ModelConfig, dict[str, Tensor] | None, Head | None]:
    """The same with the settings of ``clip-vision``'s tower, and weights of an image encoder of its own and its head.

    Raises:
        UserError: two origins of an image encoder; see ``tower_settings``, ``read_weights``.
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


def set_keys(config: Config) -> dict[str, Any]:
    """The keys that are set, and the kinds of parts that are not of the default kind."""
    own = config.model_dump(exclude_unset=True)
    for name, base in _KINDS.items():
        if name in own and (kind := getattr(config, name).kind) != base.default_kind:
            own[name]["kind"] = kind
    return own


def overlay(base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` over ``base``, key by key in nested parts too."""
    nested = {
        key: overlay_part(_KINDS[key], base.get(key) or {}, value)
        if key in _KINDS
        else overlay(base.get(key) or {}, value)
        for key, value in above.items()
        if isinstance(value, dict)
    }
    return {**base, **above, **nested}


def overlay_part(schema: type[KindConfig], base: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` over ``base``, of which another kind takes over only what all kinds have."""
    if above.get("kind", base.get("kind")) != base.get("kind"):
        base = {key: value for key, value in base.items() if key in schema.model_fields}
    return overlay(base, above)
