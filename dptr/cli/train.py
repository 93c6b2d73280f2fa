"""The two stages of training, ``dptr pretrain`` and ``dptr finetune``.

``dptr align`` and ``dptr bank`` prepare stage 1.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from dptr.cli.command import command
from dptr.cli.options import (
    config_options,
    data_option,
    join_data,
    join_settings,
    model_option,
    out_option,
    resume_option,
)
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say
from dptr.weights import DEFAULT_MODEL


@command("finetune", "train")
@data_option("Labeled crops, labels.tsv, LMDB, or shards (data.train); repeatable.", as_arguments=True)
@model_option(f"The recognizer to start from (init.model). Default: {DEFAULT_MODEL}.", "NAME|DIR", default=None)
@out_option("The folder for checkpoints and logs.")
@config_options()
@resume_option()
def finetune(
    data: tuple[str, ...], more: tuple[str, ...], model: str | None, out: Path, config: Path | None,
    overrides: tuple[str, ...], resume: bool,
) -> None:  # fmt: skip
    """Train a recognizer on your labeled crops (stage 2).

    Trains the image encoder, the Feature Merge Unit (FMU: learned queries that gather the characters from the image),
    and the decoder together. Without --config, training continues from --model, with defaults for 100 to 2,000 crops.
    Settings that name other parts to start from (init.decoder, init.glyph) or another network (model.encoder and so on)
    replace --model. Prints the folder of the best recognizer.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import FinetuneRecipe
    from dptr.training.finetune import finetune
    from dptr.training.finetune_defaults import continues_model, finetune_defaults

    options: dict[str, str] = {}
    if data or more:
        folders = [str(path) for path in join_data(data, more)]
        options[f"--data {' '.join(folders)}"] = f"data.train={json.dumps(folders, ensure_ascii=False)}"
    if model:
        options[f"--model {model}"] = f"init.model={json.dumps(model, ensure_ascii=False)}"
    settings = join_settings(overrides, options)
    recipe = load_recipe(FinetuneRecipe, config, settings)
    if config is None and continues_model(recipe):
        recipe, notes = finetune_defaults(settings if recipe.init.model else [*settings, f"init.model={DEFAULT_MODEL}"])
        for line in notes:
            say(line)
    print(finetune(recipe, out, resume))


@command("align", "train")
@out_option("The folder for checkpoints and logs.")
@config_options()
@resume_option()
def align(out: Path, config: Path | None, overrides: tuple[str, ...], resume: bool) -> None:
    """Train glyph, the dual encoder of stage 1.

    A dual encoder maps a word and a picture of the word to the same tokens. glyph learns this from rendered words.
    Prints the folder of the best dual encoder.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import AlignRecipe
    from dptr.training.align import align

    print(align(load_recipe(AlignRecipe, config, overrides), out, resume))


@command("bank", "train", renamed={"--dual-model": "--model"})
@out_option("The output file.", "FILE")
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Photographs; repeatable.",
)
@click.option(
    "--pack",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Rendered crops (dptr synth) instead of photographs; the bank then holds the differences between the image "
    "tokens and the text tokens of each word.",
)
@click.option(
    "--count", metavar="N", type=click.IntRange(min=1), default=4000, help="Number of crops of the pack. Default: 4000."
)
@click.option(
    "--center-crop",
    is_flag=True,
    help="Resize the short side of photographs and crop the center, as CLIP does. Default: stretch them.",
)
@click.option(
    "--dual", metavar="KIND", default="glyph", help="The dual encoder: glyph, clip, siglip, ... Default: glyph."
)
@model_option("Weights of the dual encoder. Default: glyph-en for glyph.", "NAME|DIR", default=None)
def bank(
    out: Path, images: tuple[Path, ...], pack: Path | None, count: int, center_crop: bool, dual: str,
    model: str | None,
) -> None:  # fmt: skip
    """Embed pictures in a bank for Offline Randomized Perturbation (ORP).

    In stage 1, the decoder learns to spell from text tokens. ORP adds tokens of a random picture of the bank to them,
    so that the decoder does not rely on clean tokens. The pictures are photographs or rendered words.
    """
    from dptr.config.model import DualConfig
    from dptr.dual.base import load_dual
    from dptr.dual.orp.bank import build_bank
    from dptr.dual.orp.residuals import build_residual_bank
    from dptr.utils.inputs import list_images

    if bool(images) == bool(pack):
        raise UserError("pass either --images, a folder of photographs, or --pack, a folder of rendered crops")
    if pack and center_crop:
        raise UserError("--center-crop with --pack: rendered crops have the encoder's size; leave it out")
    if dual != "glyph" and not model:
        raise UserError(f"--dual {dual}: no weights ship with it; pass --model, a folder or a hub id")
    encoder = load_dual(DualConfig.of(kind=dual, **({"model": model} if model else {})))
    if pack:
        from dptr.dual.glyph.model import GlyphDual
        from dptr.training.sources import packed_batches

        if not isinstance(encoder, GlyphDual):
            raise UserError(
                f"--pack with --dual {dual}: only tokens of glyph belong to single letters; use glyph, or --images"
            )
        built = build_residual_bank(encoder, packed_batches(pack, encoder, count), out)
    else:
        paths = [path for folder in images for path in list_images(folder)]
        with progress_bars() as bars:
            bars("images", 0, len(paths))
            built = build_bank(
                encoder, paths, out, progress=lambda done: bars("images", done, len(paths)), center_crop=center_crop
            )
    for name, reason in built.provenance["dropped"]:
        say(f"dropped {name}: {reason}", level=-1)
    pictures, tokens, width = built.tokens.shape
    print(f"{out}\t{pictures} images\t{tokens} tokens of {width}")


@command("pretrain", "train")
@out_option("The folder for checkpoints and logs.")
@config_options()
@resume_option()
def pretrain(out: Path, config: Path | None, overrides: tuple[str, ...], resume: bool) -> None:
    """Train a decoder to spell from text tokens (stage 1).

    The decoder attends to the text tokens of a dual encoder. It sees image features only from the bank (dptr bank), for
    Offline Randomized Perturbation (ORP). Prints the folder of the best decoder.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import PretrainRecipe
    from dptr.training.pretrain import pretrain

    print(pretrain(load_recipe(PretrainRecipe, config, overrides), out, resume))
