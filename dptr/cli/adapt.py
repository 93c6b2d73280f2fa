"""``dptr adapt``: the words of a domain, learned from text alone."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dptr.cli.options import Out, Overrides, Recipe, Resume


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
    """Teach a recogniser the words of a domain from text alone; prints the folder of the adapted one.

    The words are rendered; the image side stays as it is, and rendered words of its language are rehearsed, so that it
    does not forget them. No crop of the domain is needed.
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
