"""How reports are written: as text or JSON, to standard output or a file, with pages beside them."""

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
    """``--format``, ``--json`` and ``-o``: how a result is written, and where to.

    Without the first two the suffix of ``-o`` chooses among ``formats``; one that is none of theirs means the first.

    Args:
        formats: the first is the default; ``json`` is one of them.
    """

    def choose(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def chosen(*arguments: Any, style: str | None, out: str, **others: Any) -> Any:
            by_suffix = SUFFIXES.get(os.path.splitext(out)[1].lower(), "")
            style = style or (by_suffix if by_suffix in formats else formats[0])
            return command(*arguments, style=style, out=out, **others)

        return chosen

    return stack(
        click.option(
            "--format", "style", type=click.Choice(formats),
            help=f"How to write the result. Default: by the suffix of -o, else {formats[0]}.",
        ),
        click.option("--json", "style", flag_value="json", help="The same as --format json."),
        click.option(
            "-o", "--out", metavar="FILE|-", default="-", type=click.Path(allow_dash=True),
            help="Write it to a file. Default: -, standard output.",
        ),
        choose,
    )  # fmt: skip


def html_option(help: str) -> Decorator[Any]:
    """``--html``, a page with pictures beside the report."""
    return click.option("--html", "html", metavar="FILE", type=click.Path(path_type=Path), help=help)


def check_outputs(out: str, style: str = "", inputs: Iterable[str | Path] = (), **pages: Path | None) -> None:
    """Check, before the work begins, that files can be written.

    Args:
        out: of the report; ``-`` = standard output.
        style: of the report: ``json`` is marked as DPTR's, so that an earlier one is replaced; others are not.
        inputs: files and folders that the command reads.
        pages: other files by format, such as ``html``; None = none.

    Raises:
        UserError: as ``dptr.utils.outputs.check_file``; one file for two outputs; a page for standard output.
    """
    wanted = [(str(path), kind) for kind, path in pages.items() if path is not None]
    for path, kind in wanted:
        if path == "-":
            raise UserError(f"--{kind} -: pictures go to a file; pass its name")
    if out != "-":
        wanted.append((out, "json" if style == "json" else ""))
    places = [os.path.realpath(path) for path, _ in wanted]
    if len(set(places)) < len(places):
        raise UserError(f"{wanted[0][0]}: named for two outputs; pass two names")
    for path, kind in wanted:
        check_file(path, inputs, kind)


def write_report(report: dict[str, Any], to_text: Callable[[], str], style: str, out: str) -> None:
    """Write a report as JSON (``style`` json) or as text, to a file or, with ``out`` ``-``, to standard output.

    A report that cannot be written to its file goes to standard output, so that it is not lost.

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
    """A text stream to a file, which is there once all is written, or, for ``-``, standard output.

    If it cannot be finished, what was written goes to standard output, so that it is not lost.
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
