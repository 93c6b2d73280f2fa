"""``dptr adapt``: a recognizer learns the words of a domain."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dptr.cli.command import command
from dptr.cli.options import config_options, model_option, out_option, resume_option
from dptr.weights import START_MODEL


@command("adapt", "train")
@click.option(
    "-t", "--text", metavar="FILE", multiple=True, type=click.Path(),
    help="Words of the domain, a word a line; repeatable.",
)  # fmt: skip
@model_option(f"The recognizer to adapt. Default: {START_MODEL}.", "NAME|DIR", default=None)
@out_option("Where checkpoints and logs go.")
@config_options()
@resume_option()
def adapt(
    text: tuple[str, ...], model: str | None, out: Path, config: Path | None, overrides: tuple[str, ...], resume: bool
) -> None:
    """Teach a recognizer the words of a domain from a word list.

    The words are rendered, and the decoder trains on them; image encoder and FMU are frozen. Rendered words of its
    language are mixed in, so that they are not forgotten. No labeled crop of the domain is needed. Prints the folder of
    the adapted recognizer.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import AdaptRecipe
    from dptr.training.adapt import adapt

    settings = [*overrides]
    if text:
        settings.append(f"text={json.dumps(text, ensure_ascii=False)}")
    if model:
        settings.append(f"init.model={json.dumps(model, ensure_ascii=False)}")
    print(adapt(load_recipe(AdaptRecipe, config, settings), out, resume))
