"""The commands that train, ``dptr align``, ``pretrain``, ``finetune`` and ``adapt``, and ``dptr bank``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dptr.cli.options import Out, Overrides, Recipe, Resume
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say
from dptr.weights import DEFAULT_MODEL


def align(out: Out, config: Recipe = None, overrides: Overrides = None, resume: Resume = False) -> None:
    """Train the glyph dual encoder on rendered words; prints the folder of the best."""
    from dptr.config.load import load_recipe
    from dptr.config.train import AlignRecipe
    from dptr.training.align import align

    print(align(load_recipe(AlignRecipe, config, overrides), out, resume))


def bank(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The bank to write.")],
    images: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder of photographs; repeatable.")
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Instead: rendered crops (dptr synth); what their tokens lie off their text."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many crops of the pack.")] = 4000,
    dual: Annotated[str, typer.Option(metavar="KIND", help="Which dual encoder: glyph, clip, siglip ...")] = "glyph",
    dual_model: Annotated[
        str, typer.Option(metavar="NAME|DIR", help="Its weights; the default is what ships with it.")
    ] = "",
) -> None:
    """Embed photographs, or rendered words, into a bank for Offline Randomized Perturbation."""
    from dptr.config.model import DualConfig
    from dptr.dual.base import load_dual
    from dptr.dual.orp.bank import build_bank
    from dptr.dual.orp.residuals import build_residual_bank
    from dptr.utils.images import list_images

    if bool(images) == bool(pack):
        raise UserError("pass either --images, a folder of photographs, or --pack, a folder of rendered crops")
    if dual != "glyph" and not dual_model:
        raise UserError(f"--dual {dual}: no weights ship with it; pass --dual-model, a folder or a hub id")
    encoder = load_dual(DualConfig.of(kind=dual, **({"model": dual_model} if dual_model else {})))
    if pack:
        from dptr.dual.glyph.model import GlyphDual
        from dptr.training.sources import packed_batches

        if not isinstance(encoder, GlyphDual):
            raise UserError(f"--pack with --dual {dual}: its tokens are no letters' slots; use glyph, or --images")
        built = build_residual_bank(encoder, packed_batches(pack, encoder, count), out)
    else:
        paths = [path for folder in images or [] for path in list_images(folder)]
        with progress_bars() as bars:
            built = build_bank(encoder, paths, out, progress=lambda done: bars("images", done, len(paths)))
    for name, reason in built.provenance["dropped"]:
        print(f"dropped {name}: {reason}", file=sys.stderr)
    count, tokens, width = built.tokens.shape
    print(f"{out}\t{count} images\t{tokens} tokens of {width}")


def pretrain(out: Out, config: Recipe = None, overrides: Overrides = None, resume: Resume = False) -> None:
    """Stage 1: teach a decoder to spell from a dual encoder's text tokens.

    Its only image features are those of the ORP bank.

    Prints the folder of the best decoder.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import PretrainRecipe
    from dptr.training.pretrain import pretrain

    print(pretrain(load_recipe(PretrainRecipe, config, overrides), out, resume))


def finetune(
    out: Out,
    config: Recipe = None,
    overrides: Overrides = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Labeled crops (data.train); repeatable.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|DIR", help="A recognizer to go on with (init.model).")
    ] = None,
    resume: Resume = False,
) -> None:
    """Stage 2: train encoder, FMU and decoder on labeled crops; prints the folder of the best recognizer.

    Without --config goes on with --model, in a way that suits 100 to 2,000 crops; with the one that ships where no
    setting names a part to begin with (init.decoder, init.glyph) or another network (model.encoder and so on).
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import FinetuneRecipe
    from dptr.training.finetune import finetune
    from dptr.training.finetune_defaults import goes_on, own_crops_recipe

    overrides = list(overrides or [])
    if data:
        overrides.append(f"data.train={json.dumps(data, ensure_ascii=False)}")
    if model:
        overrides.append(f"init.model={json.dumps(model, ensure_ascii=False)}")
    recipe = load_recipe(FinetuneRecipe, config, overrides)
    if config is None and goes_on(recipe):
        recipe, notes = own_crops_recipe(
            overrides if recipe.init.model else [*overrides, f"init.model={DEFAULT_MODEL}"]
        )
        for line in notes:
            say(line)
    print(finetune(recipe, out, resume))


def adapt(
    out: Out,
    text: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Words of the domain, a word a line (text); repeatable.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|DIR", help="The recognizer to adapt (init.model); the default is what ships."),
    ] = None,
    config: Recipe = None,
    overrides: Overrides = None,
    resume: Resume = False,
) -> None:
    """Teach a recognizer the words of a domain from a word list; prints the folder of the adapted one.

    The words are rendered, and the decoder trains on what the frozen image side makes of them. Rendered words of its
    language are rehearsed, so that it does not forget them. No labeled crop of the domain is needed.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import AdaptRecipe
    from dptr.training.adapt import adapt

    overrides = list(overrides or [])
    if text:
        overrides.append(f"text={json.dumps(text, ensure_ascii=False)}")
    if model:
        overrides.append(f"init.model={json.dumps(model, ensure_ascii=False)}")
    print(adapt(load_recipe(AdaptRecipe, config, overrides), out, resume))
