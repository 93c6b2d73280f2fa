"""``dptr data``: check data sets of labeled crops, and convert them to the formats of this project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dptr.cli.command import HELP, command
from dptr.cli.options import data_option, join_data, model_option, out_option, resume_option
from dptr.cli.outputs import check_outputs, html_option, report_options, write_report
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say, write_text

if TYPE_CHECKING:
    from dptr.data.check.checks import Check


LONGEST = 25  # characters; the longest label of most published recognizers


@click.group("data", context_settings=HELP, invoke_without_command=True)
@click.pass_context
def app(context: click.Context) -> None:
    """Build and check data sets of labeled crops."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@command("data check")
@data_option("Labeled crops, labels.tsv, LMDB, or shards; repeatable.", as_arguments=True)
@click.option(
    "--against",
    metavar="DIR",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A set that must not share pictures with the data, such as a test set; repeatable.",
)
@model_option(
    "The recognizer to train: check labels against its charset and longest word.", "NAME|DIR|FILE.onnx", default=None
)
@click.option(
    "--charset", metavar="NAME|FILE", default="", type=click.Path(), help="Report characters outside this charset."
)
@click.option(
    "--max-length",
    metavar="N",
    type=click.IntRange(min=1),
    help="Report labels with more than N characters. Default: the limit of --model, or 25.",
)
@report_options("text", "json")
@html_option("Also write an HTML page with pictures.")
def check(
    data: tuple[str, ...], more: tuple[str, ...], against: tuple[Path, ...], model: str | None, charset: str,
    max_length: int | None, style: str, out: str, html: Path | None,
) -> None:  # fmt: skip
    """Find problems in data sets.

    Counts unreadable or tiny pictures, damaged labels, duplicates, and crops of a test set, and shows examples. The
    exit code is 1 if there is any problem.
    """
    paths = join_data(data, more)
    check_outputs(out, style, [*paths, *against], html=html)
    result = _check(paths, [*against], model, charset, max_length)
    _report(result, paths, [*against], style, out, html)
    if result.problems.total:
        raise click.exceptions.Exit(1)


@command("data build")
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@out_option("The data set to write.", "DIR|NAME.lmdb")
@click.option("--kind", metavar="KIND", required=True, help="The format of SOURCE: table, icdar-words, textocr, ...")
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The folder of the pictures, if they are not beside the annotations.",
)
@click.option("--split", metavar="train|val|test", help="The part to take from a set with several.")
@click.option("--columns", metavar="PATH,LABEL", help="The two columns of a table, by name or by number from 1.")
@click.option("--language", metavar="NAME", multiple=True, help="Keep only this language or script; repeatable.")
@click.option(
    "--quality", metavar="Q", type=click.IntRange(1, 95), help="Write JPEG of this quality, 1 to 95, instead of PNG."
)
@resume_option()
@click.option("--overwrite", is_flag=True, help="Replace a data set that this command wrote earlier.")
def build(
    source: Path, out: Path, kind: str, images: Path | None, split: str | None, columns: str | None,
    language: tuple[str, ...], quality: int | None, resume: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Convert labeled words from other formats to a data set.

    The formats of the common benchmarks are supported; docs/data.md says what SOURCE is for each kind. Words that are
    left out are counted by reason, on standard error and in import.json beside the data.
    """
    from dptr.data.importers import build

    names = tuple(part.strip() for part in columns.split(",")) if columns else None
    if names is not None and (len(names) != 2 or not all(names)):
        raise UserError(f"--columns {columns}: write the path's column, a comma and the label's, such as file,text")
    built = build(
        source, out, kind, images, split, (names[0], names[1]) if names else None, language, quality, resume, overwrite
    )
    for line in built.drops.lines():
        say(line, level=-1)
    print(f"{out}\t{built.words} words")


@command("data stats")
@data_option("Labeled crops, labels.tsv, LMDB, or shards; repeatable.", as_arguments=True)
@report_options("text", "json")
@html_option("Also write an HTML page with pictures.")
def stats(data: tuple[str, ...], more: tuple[str, ...], style: str, out: str, html: Path | None) -> None:
    """Show statistics of data sets.

    Prints characters, lengths of labels, and sizes of pictures; --html shows pictures. The exit code is 0 even if there
    are problems.
    """
    paths = join_data(data, more)
    check_outputs(out, style, paths, html=html)
    _report(_check(paths, [], None, "", None), paths, [], style, out, html)


for each in (check, build, stats):
    app.add_command(each)


def _check(
    data: Sequence[str | Path], against: Sequence[str | Path], model: str | None, charset: str, max_length: int | None
) -> Check:
    from dptr.data.check.checks import check
    from dptr.inference.backend import open_backend
    from dptr.text.charset import resolve_charset

    letters = resolve_charset(charset) if charset else None
    if model is not None:
        tokenizer = open_backend(model).tokenizer
        letters, max_length = letters or tokenizer.charset, max_length or tokenizer.max_length
    with progress_bars() as bars:
        return check(data, letters, max_length or LONGEST, against, bars)


def _report(
    result: Check, data: Sequence[str | Path], against: Sequence[str | Path], style: str, out: str, html: Path | None
) -> None:  # fmt: skip
    write_report(result.to_json(), lambda: "\n".join(result.lines()), style, out)
    if html:
        from dptr.data.check.page import render_data_sets

        write_text(html, render_data_sets(result, data, against))
        say(f"pictures: {html}")
