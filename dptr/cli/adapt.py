"""``dptr adapt``: the words of a domain, learned from a word list that is rendered."""

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
