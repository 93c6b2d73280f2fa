"""Completion of recipes: open the models that training starts from, take over their settings, refuse contradictions.

Settings of the recipe override those of the models. All this happens before fonts, packs, and crops are opened, so that
an impossible run ends at once.
"""

from __future__ import annotations

from typing import TypeVar

import torch

from dptr.config.base import Config
from dptr.config.data import InitConfig
from dptr.config.model import (
    ClipDualConfig,
    ClipVisionConfig,
    DecoderConfig,
    DecoderModelConfig,
    GlyphConfig,
    GlyphDualConfig,
    ModelConfig,
)
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe, RunConfig, SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.dual.base import DualEncoder, load_dual
from dptr.dual.glyph.model import GlyphDual, load_glyph
from dptr.models.checkpoint import Checkpoint, build_loaded, open_checkpoint
from dptr.models.encoders.ppocr_weights import find_installed_head
from dptr.models.recognizer import build_decoder, build_recognizer
from dptr.shards.shard_set import is_shards
from dptr.text.charset import Charset, extend_charset, resolve_charset
from dptr.text.corpus import in_language
from dptr.training.co_training import has_co_training
from dptr.training.distillation import open_teacher
from dptr.training.merge import explicit_settings, merge_model, open_encoder, overlay, overlay_part
from dptr.training.parts import AdaptParts, AlignParts, FinetuneParts, Opener, PretrainParts, Resolved
from dptr.utils.errors import UserError

R = TypeVar("R", bound=Config)
P = TypeVar("P")


def resolve_synth(recipe: SynthRecipe) -> SynthRecipe:
    """The recipe with words of its charset's language, unless it names sources."""
    return recipe.model_copy(update={"corpus": in_language(recipe.corpus, resolve_charset(recipe.charset))})


def resolve_align(recipe: AlignRecipe) -> Resolved[AlignRecipe, AlignParts]:
    """The recipe of ``dptr align`` with the settings of the initial encoder and decoder, and these models.

    Rendered words are of the charset's language. With an initial encoder, which can read already, ``ramp`` is 0 unless
    the recipe sets it.

    Raises:
        UserError: nothing to train; gradient accumulation; an image encoder of kind ``clip-vision``; an initial decoder
            without co-training, or one of another width, charset, or ``max_length``; see ``load_glyph``,
            ``open_checkpoint``.
    """
    _refuse_align(recipe)
    init = recipe.init
    glyph = load_glyph(GlyphDualConfig(model=init.glyph)) if init.glyph else None
    own_charset = glyph is None or "charset" in recipe.glyph.model_fields_set
    if glyph is not None:
        settings = GlyphConfig.model_validate(overlay(glyph.config.model_dump(), explicit_settings(recipe.glyph)))
        ramp = recipe.ramp if "ramp" in recipe.model_fields_set else 0.0
        recipe = recipe.model_copy(update={"glyph": settings, "ramp": ramp})
    if recipe.glyph.encoder.kind == "clip-vision":
        raise UserError(
            "glyph.encoder.kind = 'clip-vision': alignment trains an image encoder of its own; set it to vit or svtr"
        )
    charset = resolve_charset(recipe.glyph.charset) if own_charset else glyph.charset  # type: ignore[union-attr]
    decoder = open_checkpoint(init.decoder) if init.decoder else None
    decoder_config = _merge_co_trained_decoder(recipe, charset, decoder)
    corpus = in_language(recipe.corpus, charset)
    co_training = recipe.co_training.model_copy(update={"decoder": decoder_config})
    recipe = recipe.model_copy(update={"corpus": corpus, "co_training": co_training})
    return Resolved(recipe, charset, AlignParts(glyph, decoder))


def _refuse_align(recipe: AlignRecipe) -> None:
    """What can be refused before any model is opened."""
    init, run = recipe.init, recipe.run
    _refuse_epochs(run, "rendered words have no end")
    if run.gradient_accumulation_steps > 1:
        raise UserError(
            f"run.gradient_accumulation_steps = {run.gradient_accumulation_steps}: this command takes batches "
            "whole; set it to 1"
        )
    co_trained = has_co_training(recipe.co_training)
    losses = ("spell", "ctc", "cosine", "columns", "attention", "counting")
    if not co_trained and not any(getattr(recipe, name) for name in losses):
        raise UserError(f"{', '.join(losses)} are all 0: nothing would be trained; raise one of them")
    if init.decoder and not co_trained:
        raise UserError(
            f"init.decoder = '{init.decoder}': alignment trains no decoder without co-training; set co_training.text "
            "or co_training.images above 0, or leave init.decoder out"
        )


def _merge_co_trained_decoder(recipe: AlignRecipe, charset: Charset, initial: Checkpoint | None) -> DecoderConfig:
    """Settings from the recipe, the initial decoder, and the defaults, as wide as the glyph encoder."""
    dim = recipe.glyph.dim
    explicit = explicit_settings(recipe.co_training).get("decoder", {})
    if explicit.get("dim", dim) != dim:
        raise UserError(
            f"co_training.decoder.dim = {explicit['dim']}, glyph.dim = {dim}: the decoder attends to the "
            "glyph encoder's slots; leave co_training.decoder.dim out"
        )
    if initial is not None:
        _check_initial_decoder(initial, recipe, charset)
    base = initial.config.decoder if initial is not None else DecoderModelConfig().decoder
    merged = overlay_part(DecoderConfig, base.model_dump(), {**explicit, "dim": dim})
    decoder = DecoderConfig.model_validate(merged)
    _refuse_direction(decoder, "co_training.decoder")
    return decoder


def _refuse_direction(decoder: DecoderConfig, name: str) -> None:
    if decoder.direction:
        raise UserError(
            f"{name}.direction = '{decoder.direction}': text tokens follow each other in the order of reading; leave "
            "it out, or set it in stage 2"
        )


def _check_initial_decoder(decoder: Checkpoint, recipe: AlignRecipe, charset: Charset) -> None:
    name, glyph = recipe.init.decoder, recipe.glyph
    if decoder.config.decoder.dim != glyph.dim:
        raise UserError(
            f"init.decoder = '{name}': {decoder.config.decoder.dim} wide, glyph.dim = {glyph.dim}; they must be equal: "
            "set glyph.dim, or pre-train a decoder with this encoder"
        )
    if lacking := [character for character in charset.characters if character not in decoder.charset]:
        raise UserError(
            f"init.decoder = '{name}': its charset lacks {''.join(lacking)!r}; pre-train a decoder with the charset of "
            "glyph.charset"
        )
    if decoder.config.max_length != glyph.max_length:
        raise UserError(
            f"init.decoder = '{name}': its max_length is {decoder.config.max_length}, not glyph.max_length = "
            f"{glyph.max_length}; set that, or pre-train a decoder with this one"
        )


def resolve_pretrain(
    recipe: PretrainRecipe, dual: DualEncoder | None = None
) -> Resolved[PretrainRecipe, PretrainParts]:
    """The recipe of stage 1 with the dual encoder's width and words of the charset's language, and the dual encoder.

    Args:
        dual: a loaded dual encoder; None = load the one that the recipe names.

    Raises:
        UserError: the decoder's width differs from the dual encoder's; ORP by slots with a dual encoder without slots;
            see ``load_dual``, ``build_decoder``.
    """
    _refuse_run(recipe.run)
    if recipe.run.epochs and recipe.corpus.replacement:
        raise UserError(
            f"run.epochs = {recipe.run.epochs:g}: words are drawn with replacement, so that there are no epochs; set "
            "corpus.replacement=false, or run.steps in place of run.epochs"
        )
    charset = resolve_charset(recipe.model.charset)
    if (
        recipe.orp.strength
        and recipe.orp.positions in ("aligned", "symbols")
        and isinstance(recipe.dual, ClipDualConfig)
    ):
        raise UserError(
            f"orp.positions = '{recipe.orp.positions}' with dual.kind = '{recipe.dual.kind}': its tokens are no "
            "letters' slots; set orp.positions to shared or per-sample, or dual.kind=glyph"
        )
    if recipe.orp.positions == "symbols" and not recipe.orp.replacement:
        raise UserError(
            "orp.replacement = false with orp.positions = 'symbols': each token draws a residual of its own; set "
            "orp.replacement=true, or orp.positions to shared, per-sample or aligned"
        )
    _refuse_direction(recipe.model.decoder, "model.decoder")
    dual = dual or load_dual(recipe.dual)
    decoder = recipe.model.decoder
    if "dim" not in decoder.model_fields_set:
        decoder = decoder.model_copy(update={"dim": dual.dim})
    if decoder.dim != dual.dim:
        raise UserError(
            f"decoder width {decoder.dim}, tokens of dual encoder '{dual.name}' {dual.dim}: they must be equal; set "
            f"model.decoder.dim={dual.dim}"
        )
    model = recipe.model.model_copy(update={"decoder": decoder})
    with torch.device("meta"):
        build_decoder(model, len(charset))
    recipe = recipe.model_copy(update={"model": model, "corpus": in_language(recipe.corpus, charset)})
    return Resolved(recipe, charset, PretrainParts(dual))


def resolve_finetune(recipe: FinetuneRecipe) -> Resolved[FinetuneRecipe, FinetuneParts]:
    """The recipe of stage 2 with the settings of the parts that ``init`` names, and these parts.

    - ``init.model``, a whole recognizer, determines all model settings.
    - ``init.decoder`` determines the decoder, the charset, and ``max_length``.
    - ``init.glyph`` determines the image encoder, the FMU, ``max_length``, and the decoder's width.
    - ``init.encoder`` determines the image encoder.

    Explicit settings of the recipe override them. If it sets ``max_length`` and the FMU had ``max_length`` + 1 queries,
    the number of queries follows. An image encoder ``clip-vision`` gets the settings of its tower. Rendered words are
    of the charset's language. With ``data.extend_charset`` the charset gets the characters of the training labels.

    Raises:
        UserError: contradictory settings; parts that do not fit each other (``build_recognizer``); a checkpoint that
            cannot be opened; an unknown charset; with ``data.extend_charset``, a data set that cannot be opened; see
            ``tower_settings``, ``open_teacher``.
    """
    _refuse_run(recipe.run)
    _refuse_data(recipe)
    opened = Opener()
    start, decoder, glyph = _open_init(recipe.init, opened)
    origin = start or decoder
    model, encoder, head = open_encoder(merge_model(recipe, origin, glyph), recipe)
    own_charset = origin is None or "charset" in recipe.model.model_fields_set
    charset = resolve_charset(model.charset) if own_charset else origin.charset  # type: ignore[union-attr]
    _refuse_model(recipe, model)
    with torch.device("meta"):  # no weights: do the parts fit?
        build_recognizer(model, len(charset))
    if recipe.data.extend_charset:
        sets = [open_labeled(path) for path in recipe.data.train]
        labels = (labeled.label(index) for labeled in sets for index in range(len(labeled)))
        charset = extend_charset(charset, labels, recipe.data.extend_charset)
    if start is not None and model.encoder.kind == "ppocr" and {*charset.characters} - {*start.charset.characters}:
        head = find_installed_head()
    taught_by = opened(recipe.distillation.model)
    teacher = open_teacher(recipe.distillation, taught_by, model, charset) if taught_by else None
    recipe = recipe.model_copy(update={"model": model, "corpus": in_language(recipe.corpus, charset)})
    return Resolved(recipe, charset, FinetuneParts(start, decoder, glyph, encoder, head, teacher))


def _open_init(init: InitConfig, opened: Opener) -> tuple[Checkpoint | None, Checkpoint | None, GlyphDual | None]:
    """The whole recognizer, the checkpoint of the decoder, and the glyph encoder that ``init`` names."""
    if init.model and (init.decoder or init.glyph):
        raise UserError(
            f"init.model = '{init.model}' together with init.decoder or init.glyph; a whole model leaves no part to "
            "start elsewhere; set one or the other"
        )
    start, decoder = opened(init.model), opened(init.decoder)
    if start is not None and start.kind != "recognizer":
        raise UserError(f"init.model = '{init.model}': a stage 1 decoder; pass it as init.decoder")
    glyph = load_glyph(GlyphDualConfig(model=init.glyph)) if init.glyph else None
    if init.encoder and (init.model or init.glyph):
        raise UserError(
            f"init.encoder = '{init.encoder}' together with init.model or init.glyph: each brings an image encoder; "
            "set one or the other"
        )
    return start, decoder, glyph


def resolve_adapt(recipe: AdaptRecipe) -> Resolved[AdaptRecipe, AdaptParts]:
    """The recipe of ``dptr adapt``, and the recognizer that it starts from.

    Raises:
        UserError: no text; kinds of pictures with texts of their own; slots of a recognizer without an FMU; see
            ``open_checkpoint``, ``build_loaded``.
    """
    _refuse_run(recipe.run)
    _refuse_epochs(recipe.run, "words of the text and of the language are mixed by shares")
    if not recipe.text:
        raise UserError("no words; pass --text FILE, a word a line")
    if kinds := recipe.render.probabilities().kinds:
        raise UserError(
            f"render: {', '.join(kinds)} show texts of their own, and dptr adapt renders the words of --text; choose "
            "a preset without them, such as render.preset=signs"
        )
    checkpoint = open_checkpoint(recipe.init.model)
    loaded = build_loaded(checkpoint)
    if recipe.method == "slots" and loaded.model.fmu is None:
        raise UserError(
            f"method = 'slots' with {recipe.init.model}: it has no FMU, so no slot holds one character; set "
            "method=rendered, or choose a recognizer with an FMU, such as dptr-en"
        )
    return Resolved(recipe, checkpoint.charset, AdaptParts(loaded, checkpoint.dual))


def _refuse_run(run: RunConfig) -> None:
    if run.gradient_accumulation_steps > run.batch_size:
        raise UserError(
            f"run.gradient_accumulation_steps = {run.gradient_accumulation_steps}: more parts than run.batch_size = "
            f"{run.batch_size} has samples; lower it, or raise run.batch_size"
        )


def _refuse_epochs(run: RunConfig, reason: str) -> None:
    if run.epochs:
        raise UserError(f"run.epochs = {run.epochs:g}: {reason}; set run.steps in place of run.epochs")


def _refuse_data(recipe: FinetuneRecipe) -> None:
    data = recipe.data
    if data.rendered == 1 or not data.train:
        _refuse_epochs(recipe.run, "without labeled crops, rendered words have no end")
    if data.rendered < 1 and not data.train:
        raise UserError("no labeled crops; pass --data DIR, or set data.rendered=1 to train on rendered words alone")
    if data.weights and len(data.weights) != len(data.train):
        raise UserError(
            f"data.weights: {len(data.weights)} for {len(data.train)} data sets in data.train; give each set one weight"
        )
    if data.train and not data.validation and not data.validation_share:
        raise UserError(
            "data.validation_share = 0 and no data.validation: nothing to validate on; raise it, or pass a data set"
        )


def _refuse_model(recipe: FinetuneRecipe, model: ModelConfig) -> None:
    """Settings of training that ``model`` does not support."""
    data = recipe.data
    listed = [path for path in (*data.train, *data.validation) if not is_shards(path)]
    if data.cache and listed and len(model.encoder.crop_size.every) > 1:
        raise UserError(
            f"data.cache = '{data.cache}' holds crops of one size, the encoder reads {model.encoder.crop_size}; "
            "leave data.cache out, or set model.encoder.max_width=0 and model.encoder.sizes=[]"
        )
    _refuse_frozen(recipe, model)
    if recipe.counting and not (model.fmu.queries and model.fmu.count):
        raise UserError(
            f"counting = {recipe.counting:g}: the FMU of this model counts no characters; set counting=0, or "
            "model.fmu.count=true and model.fmu.queries"
        )


def _refuse_frozen(recipe: FinetuneRecipe, model: ModelConfig) -> None:
    frozen = isinstance(model.encoder, ClipVisionConfig) and model.encoder.frozen
    rates = {
        "encoder_lr_scale": 0.0 if frozen else recipe.encoder_lr_scale,
        "decoder_lr_scale": recipe.decoder_lr_scale,
    }
    if model.fmu.queries:
        rates["fmu_lr_scale"] = recipe.fmu_lr_scale
    if not any(rates.values()):
        also = " (model.encoder.frozen is on)" if frozen else ""
        raise UserError(f"{', '.join(rates)} are all 0{also}: nothing would be trained; raise one of them")
