"""Settings of ``dptr finetune`` without a recipe: a finished recognizer continues on some hundreds of crops.

The run is short, and its learning rate is below that of ``recipes/finetune-en.toml``. Half of each batch is rendered
words, so that the model forgets less; its loss on other kinds of rendered crops is measured and bounded. The learning
rate falls to zero, so stopping early (``patience``) was worse: 34.3 instead of 36.0 % on plates (docs/LOG.md).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from dptr.config.load import load_recipe
from dptr.config.model import ModelConfig
from dptr.config.train import FinetuneRecipe
from dptr.models.checkpoint import card_of, open_checkpoint
from dptr.training.merge import explicit_settings
from dptr.utils.files import read_json
from dptr.weights import model_file

FINETUNE_DEFAULTS = (
    "run.steps=500",
    "run.batch_size=64",
    "run.validate_every=100",
    "run.save_every=50",
    "run.tensorboard=false",
    "optim.lr=5e-4",
    "optim.grad_clip=5",
    "data.rendered=0.5",
    "data.augment=0.4",
    "data.validation_share=0.15",
    "data.extend_charset=3",
    "forgetting.rendered=200",
    "render.preset=mixed",
)


PPOCR_DEFAULTS = ("run.steps=300", "optim.lr=1e-3", "encoder_lr_scale=0.1")
"""Override ``FINETUNE_DEFAULTS`` for a model with PP-OCRv6's encoder. With the encoder at 5e-4, accuracy on rendered
words fell from 79 to 65 % in 100 steps; with the head at 1e-4 too, the model did not learn letters that were new to it
(docs/evidence/crops.md)."""


def continues_model(recipe: FinetuneRecipe) -> bool:
    """Whether ``recipe`` continues a whole recognizer: it names one, or names neither initial parts nor a network."""
    init, model = recipe.init, explicit_settings(recipe.model)
    other_network = model.keys() & {"encoder", "fmu"} or model.get("decoder", {}).keys() - {"direction"}
    return bool(init.model) or not (init.decoder or init.glyph or init.encoder or other_network)


def finetune_defaults(overrides: Sequence[str]) -> tuple[FinetuneRecipe, list[str]]:
    """The recipe of ``FINETUNE_DEFAULTS``, the initial model's defaults, and ``overrides``; and messages for the user.

    Raises:
        UserError: see ``load_recipe``; the model's ``config.json`` is damaged.
    """
    model = load_recipe(FinetuneRecipe, None, overrides).init.model
    model_defaults = PPOCR_DEFAULTS if encoder_kind(model) == "ppocr" else ()
    sets_epochs = any(override.split("=")[0].strip() == "run.epochs" for override in overrides)
    defaults = [
        setting
        for setting in (*FINETUNE_DEFAULTS, *model_defaults)
        if not (sets_epochs and setting.startswith("run.steps="))
    ]
    recipe = load_recipe(FinetuneRecipe, None, [*defaults, *overrides])
    length = f"{recipe.run.epochs:g} epochs" if recipe.run.epochs else f"{recipe.run.steps} steps"
    if recipe.run.seconds:
        length = f"{recipe.run.seconds:g} seconds, {length} at most"
    messages = [
        f"no recipe: continuing from {recipe.init.model} for {length}; the state kept is the one that reads most "
        "held-out crops among those that forget little; change settings with --set or --config"
    ]
    lists = word_files(model)
    if lists and "sources" not in recipe.corpus.model_fields_set:
        sources = "".join(f'{{kind="{kind}", path={json.dumps(path, ensure_ascii=False)}}}, ' for kind, path in lists)
        setting = f'corpus.sources=[{sources}{{kind="pattern", weight=0.25}}]'
        messages.append(
            f"{model} learned words of {', '.join(path for _, path in lists)}; to render these beside your crops too, "
            f"pass --set {shlex.quote(setting)}"
        )
    return recipe, messages


def word_files(model: str) -> list[tuple[str, str]]:
    """Kind and path of the text files that a recognizer's card names as sources of its training."""
    listed = _get_nested(card_of(model) if model else None, "recipe", "corpus", "sources")
    sources = [source for source in listed if isinstance(source, dict)] if isinstance(listed, list) else []
    return [
        (source["kind"], str(source["path"]))
        for source in sources
        if source.get("kind") in ("file", "lines") and source.get("path")
    ]


def encoder_kind(model: str) -> str:
    """The kind of a recognizer's image encoder; empty if ``model`` is empty or its folder holds no recognizer."""
    if not model:
        return ""
    path = model_file(model, "config.json")
    kind = _get_nested(read_json(path, "model") if path.is_file() else None, "model", "encoder", "kind")
    return kind if isinstance(kind, str) else ""


def _get_nested(value: Any, *keys: str) -> Any:
    """The value below ``keys`` in nested dicts; None if one of them is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def reads_several_sizes(model: str) -> bool:
    """Whether a recognizer reads crops of several sizes.

    Raises:
        UserError: see ``open_checkpoint``.
    """
    config = open_checkpoint(model).config
    return isinstance(config, ModelConfig) and len(config.encoder.crop_size.every) > 1
