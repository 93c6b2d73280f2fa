"""What a resident training starts from: models, recipes, labeled crops with their weights (resident.py)."""

from __future__ import annotations

import argparse
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dptr.config.data import DataConfig, InitConfig
from dptr.config.load import load_recipe
from dptr.config.model import ModelConfig, PARSeqConfig
from dptr.config.render import SourceConfig
from dptr.config.train import CropRunConfig, FinetuneRecipe, OptimConfig, SynthRecipe
from dptr.data.crops import LabeledCrops, load_crops
from dptr.models.checkpoint import Loaded, load_recognizer
from dptr.models.decoders.parseq import PARSeq
from dptr.text.charset import Charset, resolve_charset
from dptr.utils.errors import UserError

SETS = ("iiit5k", "ic15", "mlt-latin", "receipts", "displays", "wire-markers", "plates-us")
"""Labeled sets; inputs have a folder each, with crops to train on in ``train`` and to validate on in ``val``."""
RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "synth"


def open_models(named: Sequence[str]) -> dict[str, tuple[str, Loaded]]:
    """Recognizers by name, with the folder of each; they share a step's crops, targets and orders.

    Raises:
        UserError: not NAME=FOLDER, a name given twice, another decoder than parseq, or models of unlike sizes of crops,
            lengths, orders or charsets.
    """
    opened: dict[str, tuple[str, Loaded]] = {}
    for model in named:
        name, _, folder = model.partition("=")
        if not folder or name in opened:
            raise UserError(f"--model {model}: not NAME=FOLDER, or a name given twice; name each model once")
        opened[name] = folder, load_recognizer(folder)
    first_name, (first_folder, first) = next(iter(opened.items()))
    if not isinstance(first.model.decoder, PARSeq):
        raise UserError(
            f"--model {first_name}={first_folder}: decoder {first.config.decoder.kind}, parseq is wanted; name another"
        )
    for name, (folder, loaded) in opened.items():
        ours, theirs = settings(loaded), settings(first)
        if ours != theirs:
            differing = ", ".join(f"{key} {ours[key]} ({theirs[key]})" for key in ours if ours[key] != theirs[key])
            raise UserError(
                f"--model {name}={folder}: other than the first one ({first_name}): {differing}; they must be alike in "
                "these; name others, or make them alike by dptr finetune"
            )
    return opened


def settings(loaded: Loaded) -> dict[str, object]:
    """What the models of a step share, for they share its crops, targets and orders."""
    decoder, sizes = loaded.config.decoder, loaded.config.encoder.crop_size
    return {
        "crops": str(sizes),
        "charset": "".join(loaded.tokenizer.charset.characters),
        "max_length": loaded.config.max_length,
        "decoder": decoder.kind,
        "permutations": decoder.permutations if isinstance(decoder, PARSeqConfig) else 0,
    }


def synth_recipe(options: argparse.Namespace, model: ModelConfig, charset: Charset) -> SynthRecipe:
    """Of rendered words: the kinds of ``--recipe``, as large and as long as the model reads; unpacks the fonts.

    Raises:
        UserError: a charset that its name does not say, or a setting that the recipe does not have.
    """
    if resolve_charset(charset.name).characters != charset.characters:
        raise UserError(
            f"charset '{charset.name}': the models have other characters than those of that name, which rendering "
            "cannot be told; train with one that is named, such as 94+space"
        )
    fonts = options.work / "scratch/fonts"  # as research/gpu/train-en.sh
    if not fonts.exists():
        fonts.mkdir(parents=True)
        with tarfile.open(options.inputs / "fonts.tar.xz") as archive:
            archive.extractall(fonts, filter="data")
    photographs = json.dumps(str(options.inputs / "photographs"))
    own = ["render.font_split=train", f"render.backgrounds={photographs}", *options.set]
    recipe = load_recipe(SynthRecipe, RECIPES / f"{options.recipe}.toml", own)
    words = SourceConfig(kind="file", path=str(options.inputs / "words.gz"), weight=0.75)
    sources = (words, SourceConfig(kind="pattern", weight=0.25))
    changed = {
        "corpus": recipe.corpus.model_copy(update={"sources": sources}),
        "render": recipe.render.model_copy(update={"fonts": (str(fonts),)}),
        "charset": charset.name,
        "max_length": model.max_length,
        "size": model.encoder.crop_size,
        "seed": options.seed,
    }
    return recipe.model_copy(update=changed)


def trainer_recipe(
    options: argparse.Namespace, config: ModelConfig, synth: SynthRecipe, weights: Mapping[str, float]
) -> FinetuneRecipe:
    """The recipe of ``dptr finetune`` that comes closest: there the rendered crops are not augmented."""
    run = CropRunConfig(
        seed=options.seed, seconds=options.seconds, steps=10_000_000, batch_size=options.batch, device=options.device,
        precision="no",  # the objective computes in bfloat16 itself, without autocast's cache
        cuda_graph=True, validate_every=options.validate, save_every=options.save, log_every=100, tensorboard=False,
    )  # fmt: skip
    data = DataConfig(
        train=tuple(f"{name}/train" for name in SETS), validation=tuple(f"{name}/val" for name in SETS),
        weights=tuple(weights[name] for name in SETS), rendered=1 - options.labeled, augment=options.strength[1],
    )  # fmt: skip
    return FinetuneRecipe(
        run=run, optim=OptimConfig(lr=options.lr, grad_clip=5.0, warmup=0.05), model=config,
        init=InitConfig(model=options.model[0].partition("=")[2]), data=data, corpus=synth.corpus, render=synth.render,
    )  # fmt: skip


@dataclass(frozen=True)
class Labeled:
    """Labeled crops.

    Attributes:
        crops: to train on; their ``sources`` are places in ``SETS``.
        validation: likewise.
        weights: of each set, its part of all labeled crops that are drawn; they sum to 1.
        notes: for the log.
    """

    crops: LabeledCrops
    validation: LabeledCrops
    weights: dict[str, float]
    notes: list[str]


def load_labeled(inputs: Path, named: Sequence[str], config: ModelConfig, charset: Charset) -> Labeled:
    """The sets below ``inputs``.

    A set weighs the square root of how many crops it has, so that the smallest is not drowned, unless ``named`` says
    NAME=WEIGHT, in the same unit.

    Raises:
        UserError: a set that is missing, of which no crop is left, or that ``named`` does not know; see ``load_crops``.
    """
    size, longest = config.encoder.crop_size, config.max_length
    crops, validation = (
        load_crops([inputs / name / part for name in SETS], charset, longest, size) for part in ("train", "val")
    )
    counts = np.bincount(crops.sources, minlength=len(SETS))
    weights = {name: float(np.sqrt(count)) for name, count in zip(SETS, counts.tolist(), strict=True)}
    for entry in named:
        name, _, value = entry.partition("=")
        weight = _number(value)
        if name not in weights or not weight > 0:
            raise UserError(f"--set-weights {entry}: not NAME=WEIGHT above 0; NAME is one of {', '.join(SETS)}")
        weights[name] = weight
    for part, some in (("train", crops), ("val", validation)):
        if empty := [f"{name}/{part}" for number, name in enumerate(SETS) if number not in some.sources]:
            raise UserError(f"{inputs}: no crop left of {', '.join(empty)}; make the inputs anew")
    weights = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    shares = ", ".join(f"{name} {weights[name]:.1%} ({count:,})" for name, count in zip(SETS, counts, strict=True))
    notes = [f"labeled crops are drawn of {shares}", *crops.drops.lines(), *validation.drops.lines()]
    return Labeled(crops, validation, weights, notes)


def crop_weights(crops: LabeledCrops, weights: Mapping[str, float]) -> Float[np.ndarray, " n"]:
    """How often each crop is drawn, as a share of all draws: within a set all alike."""
    sources = np.array(crops.sources)
    counts = np.bincount(sources, minlength=len(SETS))
    return (np.array([weights[name] for name in SETS]) / np.maximum(counts, 1))[sources]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
