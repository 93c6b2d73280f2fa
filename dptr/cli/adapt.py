"""``dptr adapt``: teach a recognizer the words of a domain."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dptr.cli.command import command
from dptr.cli.options import config_options, join_settings, model_option, out_option, resume_option
from dptr.weights import START_MODEL


@command("adapt", "train")
@click.option(
    "-t", "--text", metavar="FILE", multiple=True, type=click.Path(),
    help="A file with words of the domain, one on each line; repeatable. A line with spaces is one text if the "
    "recognizer writes spaces, and several words if not.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["rendered", "slots"]),
    help="rendered: render the words; slots: compose them of what the recognizer sees in pictures of other words. "
    "Default: rendered.",
)  # fmt: skip
@model_option(f"The recognizer to adapt. Default: {START_MODEL}.", "NAME|DIR", default=None)
@out_option("The folder for checkpoints and logs.")
@config_options()
@resume_option()
def adapt(
    text: tuple[str, ...],
    method: str | None,
    model: str | None,
    out: Path,
    config: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
) -> None:
    """Teach a recognizer the words of a domain from a word list.

    Trains the decoder on the words, rendered or composed; the image encoder and the Feature Merge Unit (FMU) are
    frozen. Rendered words of the recognizer's language are mixed in so that it does not forget them. No labeled crops
    are needed. Prints the folder of the adapted recognizer.
    """
    from dptr.config.load import load_recipe
    from dptr.config.train import AdaptRecipe
    from dptr.training.adapt import adapt

    options: dict[str, str] = {}
    if text:
        options[f"--text {' '.join(text)}"] = f"text={json.dumps(text, ensure_ascii=False)}"
    if method:
        options[f"--method {method}"] = f"method={method}"
    if model:
        options[f"--model {model}"] = f"init.model={json.dumps(model, ensure_ascii=False)}"
    print(adapt(load_recipe(AdaptRecipe, config, join_settings(overrides, options)), out, resume))
