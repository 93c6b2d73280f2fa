"""``dptr data``: labelled crops, looked at and brought into the project's formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, to_json, write_text

if TYPE_CHECKING:
    from PIL import Image

    from dptr.data.check.checks import Check

app = typer.Typer(
    name="data", help="Labelled crops: build data sets, check them, see what is in them.", add_completion=False
)

SAMPLES = 48  # crops that the page shows whatever is wrong or right with them
Data = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Labelled crops: labels.tsv or LMDB.")]
Against = Annotated[
    list[Path] | None,
    typer.Option(metavar="DIR", help="Another set that must hold none of these pictures: a test set; repeatable."),
]
Letters = Annotated[str, typer.Option(metavar="NAME|FILE", help="Count characters outside this charset; '' = none.")]
Length = Annotated[int, typer.Option(min=1, help="The longest label that a model will take, in characters.")]
JsonOut = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - = standard output.")]
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
    found = _look(data, against or [], charset, max_length)
    _report(found, data, against or [], json_out, html_out)
    if found.problems.total:
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
    """Bring labelled words from other formats, the official ones of the benchmarks among them, into one.

    What is left out is counted by reason, on standard error and in import.json beside the data.
    """
    from dptr.data.importers import build

    names = tuple(part.strip() for part in columns.split(",")) if columns else None
    if names is not None and (len(names) != 2 or not all(names)):
        raise UserError(f"--columns {columns}: write the path's column, a comma and the label's, such as file,text")
    made = build(
        source, out, kind, images, split, (names[0], names[1]) if names else None, tuple(language or ()), quality,
        resume, overwrite,
    )  # fmt: skip
    for line in made.drops.lines():
        print(line, file=sys.stderr)
    print(f"{out}\t{made.words} words")


@app.command()
def stats(data: Data, json_out: JsonOut = None, html_out: HtmlOut = None) -> None:
    """See what is in data sets: characters, lengths, sizes, pictures. Exit code 0 whatever is found."""
    _report(_look(data, [], "", 25), data, [], json_out, html_out)


def _look(data: list[Path], against: list[Path], charset: str, max_length: int) -> Check:
    from dptr.data.check.checks import check
    from dptr.text.charset import resolve_charset

    letters = resolve_charset(charset) if charset else None
    with progress_bars() as bars:
        return check(data, letters, max_length, against, bars)


def _report(found: Check, data: list[Path], against: list[Path], json_out: str | None, html_out: Path | None) -> None:
    for file in (Path(json_out) if json_out and json_out != "-" else None, html_out):
        if file is not None and file.is_dir():
            raise UserError(f"{file}: a folder; pass the name of a file to write")
    print(to_json(found.to_json(), indent=1) if json_out == "-" else "\n".join(found.lines()), flush=True)
    if json_out and json_out != "-":
        write_text(Path(json_out), to_json(found.to_json(), indent=1) + "\n")
    if html_out:
        write_text(html_out, _page(found, data, against))
        print(f"pictures: {html_out}", file=sys.stderr)


def _page(found: Check, data: list[Path], against: list[Path]) -> str:
    from dptr.data.check.checks import where
    from dptr.data.check.page import render_check
    from dptr.data.labeled import open_labelled

    sets = [open_labelled(path) for path in [*data, *against]]
    places = {where(dataset, index): (dataset, index) for dataset in sets for index in range(len(dataset))}

    def fetch(name: str) -> Image.Image:
        dataset, index = places[name]
        return dataset.image(index)

    own = [name for name, (dataset, _) in places.items() if dataset in sets[: len(data)]]
    step = max(len(own) // SAMPLES, 1)
    samples = [(name, places[name][0].label(places[name][1])) for name in own[::step][:SAMPLES]]
    return render_check(found, samples, fetch)
