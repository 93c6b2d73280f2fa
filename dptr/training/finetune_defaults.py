"""``dptr finetune`` without a recipe: some hundreds of crops of one's own, from a finished recognizer.

A short run below the learning rate of ``recipes/finetune-en.toml``. Half of each batch is rendered words so that the
model keeps what it can; what it loses of rendered crops of other kinds is measured and bounded. The learning rate falls
to zero, so ending early (``patience``) gave less: 34.3 for 36.0 % on plates, docs/LOG.md.
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
from dptr.training.merge import set_keys
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
"""Over ``FINETUNE_DEFAULTS`` for a model with PP-OCRv6's encoder. With the encoder at 5e-4 rendered words fell from 79
to 65 % in 100 steps; with the head at 1e-4 too, letters that it lacked were not learned (docs/evidence/crops.md)."""


def continues_model(recipe: FinetuneRecipe) -> bool:
    """Whether ``recipe`` starts from a whole recognizer, or leaves open from what, and of what network."""
    init, model = recipe.init, set_keys(recipe.model)
    other_network = model.keys() & {"encoder", "fmu"} or model.get("decoder", {}).keys() - {"direction"}
    return bool(init.model) or not (init.decoder or init.glyph or init.encoder or other_network)


def finetune_defaults(overrides: Sequence[str]) -> tuple[FinetuneRecipe, list[str]]:
    """``FINETUNE_DEFAULTS``, and those of the model that goes on, with ``overrides`` above them; and lines to tell the
    user.

    Raises:
        UserError: see ``load_recipe``; the model's ``config.json`` is damaged.
    """
    model = load_recipe(FinetuneRecipe, None, overrides).init.model
    own = PPOCR_DEFAULTS if encoder_kind(model) == "ppocr" else ()
    epochs = any(override.split("=")[0].strip() == "run.epochs" for override in overrides)
    defaults = [each for each in (*FINETUNE_DEFAULTS, *own) if not (epochs and each.startswith("run.steps="))]
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
        sources = "".join(f'{{kind="file", path={json.dumps(path, ensure_ascii=False)}}}, ' for path in lists)
        setting = f'corpus.sources=[{sources}{{kind="pattern", weight=0.25}}]'
        messages.append(
            f"{model} learned words of {', '.join(lists)}; to render these beside your crops too, pass "
            f"--set {shlex.quote(setting)}"
        )
    return recipe, messages


def word_files(model: str) -> list[str]:
    """The files of words that a recognizer was trained on, as its card names them; none where it names none."""
    held: Any = card_of(model) if model else None
    for key in ("recipe", "corpus", "sources"):
        held = held.get(key) if isinstance(held, dict) else None
    sources = [each for each in held if isinstance(each, dict)] if isinstance(held, list) else []
    return [str(each["path"]) for each in sources if each.get("kind") == "file" and each.get("path")]


def encoder_kind(model: str) -> str:
    """Of a recognizer's image encoder; empty without a name, or where the folder holds no recognizer, which opening it
    tells."""
    if not model:
        return ""
    path = model_file(model, "config.json")
    held: Any = read_json(path, "model") if path.is_file() else None
    for key in ("model", "encoder", "kind"):
        held = held.get(key) if isinstance(held, dict) else None
    return held if isinstance(held, str) else ""


def reads_several_sizes(model: str) -> bool:
    """Whether a recognizer reads crops of several sizes.

    Raises:
        UserError: see ``open_checkpoint``.
    """
    config = open_checkpoint(model).config
    return isinstance(config, ModelConfig) and len(config.encoder.crop_size.every) > 1
