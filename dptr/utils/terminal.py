"""What commands print and write: progress bars and lines on standard error, tables, JSON, whole files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dptr.utils.files import whole_file


def to_json(value: Any, indent: int | None = None) -> str:
    """As JSON; a path that is no UTF-8 becomes a JSON escape."""
    return json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "backslashreplace").decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; a path in it that is no UTF-8 is escaped."""
    with whole_file(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def align_columns(lines: Sequence[Sequence[str]]) -> str:
    """Lay a table out in columns two spaces apart, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if i == 0 else str.rjust for i in range(len(widths))]
    return "\n".join(
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)) for line in lines
    )


def say(line: str) -> None:
    """A line on standard error, in place of an unfinished progress line where that is a terminal."""
    print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def say_error(problem: Exception | str) -> None:
    """An error as one line on standard error."""
    say(f"dptr: error: {' '.join(str(problem).splitlines())}")


@contextmanager
def progress_bars() -> Iterator[Any]:
    """A function (name, done, total) that draws progress bars on standard error; silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars: dict[str, Any] = {}
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:

        def show(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name, total=total)
            progress.update(bars[name], completed=done)

        yield show
