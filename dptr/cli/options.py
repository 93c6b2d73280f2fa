"""Options that several commands have, and how they print reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dptr.utils.errors import UserError
from dptr.utils.terminal import to_json, write_text

Recipe = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A TOML recipe; none = the defaults.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override a key of the recipe; repeatable.")
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where checkpoints and logs go.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")]
Model = Annotated[
    str, typer.Option(metavar="NAME|DIR|ONNX", help="A shipped model (see dptr models), a folder, or an exported file.")
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, ...")]
Turn = Annotated[
    bool,
    typer.Option("--turn/--no-turn", help="Read tall pictures turned by 90 degrees too; the surest reading counts."),
]
Tta = Annotated[
    int,
    typer.Option(help="Read each picture in so many ways, 1 to 6: padded, inverted, ...; the surest reading counts."),
]
JsonOut = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write JSON; - = standard output.")]


def check_outputs(json_out: str | None, html_out: Path | None = None) -> None:
    """Check that no file to write is a folder; ``-`` is standard output.

    Raises:
        UserError: one of them is.
    """
    for file in (Path(json_out) if json_out and json_out != "-" else None, html_out):
        if file is not None and file.is_dir():
            raise UserError(f"{file}: a folder; pass the name of a file to write")


def print_report(report: dict[str, Any], to_text: Callable[[], str], json_out: str | None) -> None:
    """Print a report as text, or as JSON where ``json_out`` is ``-``; write it to the file that ``json_out`` names."""
    as_json = to_json(report, indent=1)
    print(as_json if json_out == "-" else to_text(), flush=True)
    if json_out and json_out != "-":
        write_text(Path(json_out), as_json + "\n")
