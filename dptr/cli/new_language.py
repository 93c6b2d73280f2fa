"""``dptr new-language``: make a recognizer from a language code or a word list."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from dptr.cli.command import command
from dptr.cli.options import data_option, model_option, out_option, resume_option
from dptr.new_language.plan import LONG, choose_start
from dptr.weights import DEFAULT_MODEL, START_MODEL


@command("new-language", "train", "export")
@click.argument("code", required=False, default="", metavar="[CODE]")
@out_option("The folder for all files.")
@click.option(
    "--words",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The words of the language: UTF-8 text or gzip, with or without counts, or a hunspell .dic file.",
)
@click.option(
    "--charset", metavar="FILE|CODE", default="", type=click.Path(),
    help="The characters of the language. Default: those of CODE, or those in the words.",
)  # fmt: skip
@click.option(
    "--fonts", metavar="DIR", type=click.Path(path_type=Path), multiple=True,
    help="A font file or a folder of fonts; repeatable. Default: the fonts of the system.",
)  # fmt: skip
@click.option(
    "--photographs", metavar="DIR", type=click.Path(path_type=Path), help="Photographs without text, for backgrounds."
)
@data_option("Labeled crops to train on as well, labels.tsv or LMDB; repeatable.")
@click.option(
    "--minutes",
    metavar="N",
    type=float,
    default=60.0,
    help="Time for the whole run; more time reads more. Default: 60.",
)
@click.option(
    "--method",
    type=click.Choice(["rendered", "text"]),
    default="rendered",
    help="rendered: train --model on rendered words; text: DPTR's two stages. Default: rendered.",
)
@model_option(
    f"The recognizer that 'rendered' starts from. Default: {DEFAULT_MODEL} with {LONG:g} minutes and more, else "
    f"{START_MODEL}.",
    "NAME|DIR", default=None,
)  # fmt: skip
@click.option("--seed", metavar="N", type=click.IntRange(min=0), default=0, help="The random seed. Default: 0.")
@resume_option()
def new_language(
    code: str, out: Path, words: Path | None, charset: str, fonts: tuple[Path, ...], photographs: Path | None,
    data: tuple[str, ...], minutes: float, method: Literal["rendered", "text"], model: str | None, seed: int,
    resume: bool,
) -> None:  # fmt: skip
    """Make a recognizer for a language from its words and fonts.

    CODE is a listed language (docs/languages.md), such as ka; for any other language, pass --words. Trains a recognizer
    on rendered words, tests it on other words and fonts, and writes it as one ONNX file. No labeled crops are needed.
    Prints the path of the file; report.html beside it shows the errors.
    """
    from dptr.new_language.chain import Settings, new_language
    from dptr.new_language.survey import Request

    request = Request(code, words, charset, fonts)
    crops = tuple(map(Path, data))
    start = str(model) if model else choose_start(minutes)
    print(new_language(Settings(request, photographs, crops, minutes, method, start, seed), out, resume))
