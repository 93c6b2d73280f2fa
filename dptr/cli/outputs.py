"""Write reports as text or JSON, to standard output or a file, and HTML pages beside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import click

from dptr.cli.options import Decorator, stack
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json, escape
from dptr.utils.files import replace_file
from dptr.utils.outputs import check_file
from dptr.utils.terminal import print_unfinished, write_text

SUFFIXES = {
    ".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".text": "text", ".tsv": "tsv", ".txt": "text"
}  # fmt: skip


def report_options(*formats: str) -> Decorator[Any]:
    """``--format``, ``--json``, and ``-o``: the format and the destination of a result.

    Without ``--format`` and ``--json``, the suffix of ``-o`` selects the format; without a suffix it is the first one.
    A suffix of no format of the command is refused.

    Args:
        formats: the formats of the command, the default first; ``json`` is one of them.
    """

    def choose(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def chosen(*arguments: Any, style: str | None, out: str, **others: Any) -> Any:
            return command(*arguments, style=style or _format_of(out, formats), out=out, **others)

        return chosen

    return stack(
        click.option(
            "--format", "style", type=click.Choice(formats),
            help=f"The output format. Default: by the suffix of -o, else {formats[0]}.",
        ),
        click.option("--json", "style", flag_value="json", help="The same as --format json."),
        click.option(
            "-o", "--out", metavar="FILE|-", default="-", type=click.Path(allow_dash=True),
            help="The output file. Default: -, standard output.",
        ),
        choose,
    )  # fmt: skip


def _format_of(out: str, formats: tuple[str, ...]) -> str:
    suffix = os.path.splitext(out)[1].lower()
    style = SUFFIXES.get(suffix, "") if suffix else formats[0]
    if style not in formats:
        raise UserError(f"{out}: the suffix of no format of this command; pass --format ({', '.join(formats)})")
    return style


def html_option(help: str) -> Decorator[Any]:
    """``--html``, a page with pictures in addition to the report."""
    return click.option("--html", "html", metavar="FILE", type=click.Path(path_type=Path), help=help)


def check_outputs(out: str, style: str = "", inputs: Iterable[str | Path] = (), **pages: Path | None) -> None:
    """Check that output files can be written, before the work begins.

    Args:
        out: the file of the report; ``-`` = standard output.
        style: the format of the report. A ``json`` file is marked as DPTR's, so an earlier one may be replaced; files
            of other formats are not.
        inputs: files and folders that the command reads.
        pages: other output files by format, such as ``html``; None = none.

    Raises:
        UserError: see ``dptr.utils.outputs.check_file``; or two outputs have the same file, or a page is to go to
            standard output.
    """
    outputs = [(str(path), kind) for kind, path in pages.items() if path is not None]
    for path, kind in outputs:
        if path == "-":
            raise UserError(f"--{kind} -: pictures go to a file; pass its name")
    if out != "-":
        outputs.append((out, "json" if style == "json" else ""))
    places = [os.path.realpath(path) for path, _ in outputs]
    if len(set(places)) < len(places):
        raise UserError(f"{outputs[0][0]}: named for two outputs; pass two names")
    for path, kind in outputs:
        check_file(path, inputs, kind)


def write_report(report: dict[str, Any], to_text: Callable[[], str], style: str, out: str) -> None:
    """Write a report as JSON (``style`` ``json``) or as text, to a file or, if ``out`` is ``-``, to standard output.

    If the file cannot be written, the report goes to standard output, so that it is not lost.

    Raises:
        UserError: the file cannot be written.
    """
    text = dump_json(report, indent=1) if style == "json" else escape(to_text(), keep="\n\t")
    if out == "-":
        print(text, flush=True)
        return
    try:
        write_text(Path(out), text + "\n")
    except BaseException:
        print(text, flush=True)
        raise


@contextmanager
def open_output(out: str) -> Iterator[TextIO]:
    """Open a text stream to a file, or to standard output if ``out`` is ``-``.

    The file appears when it is complete. If an error prevents that, what was written goes to standard output, so that
    it is not lost.

    Raises:
        UserError: see ``dptr.utils.outputs.check_file``.
    """
    if out == "-":
        yield sys.stdout
        return
    check_file(out, kind="")
    with replace_file(out) as aside, open(aside, "w", encoding="utf-8", errors="backslashreplace") as file:
        try:
            yield file
        except BaseException:
            with suppress(OSError):  # a full disk
                file.flush()
            print_unfinished(aside, out)
            raise
