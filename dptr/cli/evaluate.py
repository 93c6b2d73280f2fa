"""``dptr eval``: a model measured on labeled crops."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dptr.cli.options import Device, JsonOut, Model, Tta, Turn, check_outputs, print_report
from dptr.evaluation.metrics import PROTOCOLS
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say, write_text
from dptr.weights import DEFAULT_MODEL


def evaluate(
    data: Annotated[
        list[Path] | None, typer.Option(metavar="DIR...", help="Labeled crops: labels.tsv or LMDB.")
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="DIR", help="More of them.")] = None,
    model: Model = DEFAULT_MODEL,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(PROTOCOLS), help="How words are compared; the default is 36; repeatable."),
    ] = None,
    json_out: JsonOut = None,
    html_out: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the errors as pictures.")
    ] = None,
    device: Device = "cpu",
    turn: Turn = True,
    tta: Tta = 1,
) -> None:
    """Measure a model on labeled crops: word accuracy, 1-NED, CER, calibration, crops left out, speed.

    Several data sets: --data A B, or --data A --data B.
    """
    from dptr.evaluation.evaluate import evaluate
    from dptr.inference.reader import Reader

    paths = [*(data or []), *(more or [])]
    if not paths:
        raise UserError("no data set given; pass --data DIR, a folder with labels.tsv or an LMDB")
    check_outputs(json_out, html_out)
    with progress_bars() as bars:
        report = evaluate(Reader(model, device, turn=turn, tta=tta), paths, protocol or ["36"], bars)
    for line in report.drops.lines():
        print(line, file=sys.stderr)
    print_report(report.to_json(), report.to_terminal, json_out)
    if html_out:
        write_text(html_out, report.to_html())
    for result in report.results:
        if result.runaway:
            say(f"dptr: {result.data}: {result.runaway} readings repeat themselves to the longest word")
        if not result.n:
            raise UserError(f"{result.data}: no crop left under protocol {result.protocol}; check its labels")
