"""``dptr data``: labeled crops, checked and brought into the project's formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dptr.cli.options import JsonOut, check_outputs, print_report
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, write_text

if TYPE_CHECKING:
    from dptr.data.check.checks import Check

app = typer.Typer(
    name="data", help="Labeled crops: build data sets, check them, see what is in them.", add_completion=False
)

Data = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Labeled crops: labels.tsv or LMDB.")]
Against = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="Another set that must hold none of these pictures: a test set; repeatable."),
]
Letters = Annotated[str, typer.Option(metavar="NAME|FILE", help="Count characters outside this charset; '' = none.")]
Length = Annotated[int, typer.Option(min=1, help="The longest label that a model will take, in characters.")]
HtmlOut = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.")]


@app.command()
def check(
    data: Data,
    against: Against = None,
    charset: Letters = "",
    max_length: Length = 25,
    json_out: JsonOut = None,
    html_out: HtmlOut = None,
) -> None:
    """Find what is wrong: unreadable or tiny pictures, damaged labels, duplicates, crops of a test set.

    Exit code 1 when something is found.
    """
    result = _check(data, against or [], charset, max_length)
    _report(result, data, against or [], json_out, html_out)
    if result.problems.total:
        raise typer.Exit(1)


@app.command()
def build(
    source: Annotated[Path, typer.Argument(help="The file or folder to read; docs/data.md says which, by kind.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR|NAME.lmdb", help="The data set to write.")],
    kind: Annotated[str, typer.Option(help="Its format: table, icdar-words, icdar-scenes, textocr, ...")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the pictures are, if not beside the annotations.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="train|val|test", help="Where there are several.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="PATH,LABEL", help="Columns of a table, by name or number from 1.")
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="Keep only this language or script; repeatable.")] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=95, help="JPEG of that quality in place of PNG.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted import.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a data set that is there.")] = False,
) -> None:
    """Bring labeled words from other formats, the official ones of the benchmarks among them, into one.

    What is left out is counted by reason, on standard error and in import.json beside the data.
    """
    from dptr.data.importers import build

    names = tuple(part.strip() for part in columns.split(",")) if columns else None
    if names is not None and (len(names) != 2 or not all(names)):
        raise UserError(f"--columns {columns}: write the path's column, a comma and the label's, such as file,text")
    built = build(
        source, out, kind, images, split, (names[0], names[1]) if names else None, tuple(language or ()), quality,
        resume, overwrite,
    )  # fmt: skip
    for line in built.drops.lines():
        print(line, file=sys.stderr)
    print(f"{out}\t{built.words} words")


@app.command()
def stats(data: Data, json_out: JsonOut = None, html_out: HtmlOut = None) -> None:
    """See what is in data sets: characters, lengths, sizes, pictures. Exit code 0 whatever is found."""
    _report(_check(data, [], "", 25), data, [], json_out, html_out)


def _check(data: list[Path], against: list[Path], charset: str, max_length: int) -> Check:
    from dptr.data.check.checks import check
    from dptr.text.charset import resolve_charset

    letters = resolve_charset(charset) if charset else None
    with progress_bars() as bars:
        return check(data, letters, max_length, against, bars)


def _report(result: Check, data: list[Path], against: list[Path], json_out: str | None, html_out: Path | None) -> None:
    check_outputs(json_out, html_out)
    print_report(result.to_json(), lambda: "\n".join(result.lines()), json_out)
    if html_out:
        from dptr.data.check.page import render_data_sets

        write_text(html_out, render_data_sets(result, data, against))
        print(f"pictures: {html_out}", file=sys.stderr)
