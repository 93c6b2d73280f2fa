"""What commands print and write: progress bars and lines on standard error, tables, JSON, whole files."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dptr.utils.escapes import escape
from dptr.utils.files import atomic_file

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
"""tqdm's own, which shows seconds a piece where a piece takes more than one."""

EVERY = 30.0
"""Seconds between two lines of progress where standard error is no terminal."""

_verbosity = 0


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all; a path in it that is no UTF-8 is escaped."""
    with atomic_file(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def print_unfinished(aside: Path, path: str | Path) -> None:
    """Put the lines that were written to ``aside`` on standard output, since ``path`` will not be there; say so."""
    sys.stdout.flush()
    text = aside.read_text(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text[: text.rfind("\n") + 1])
    sys.stdout.flush()
    say(f"dptr: {path} is not written; what was finished is on standard output", level=-1)


def align_columns(lines: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Lay a table out in columns two spaces apart: those of ``left`` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return "\n".join(
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """A table for a document: the first line is the header, the first column to the left, the others to the right."""
    rule = ("---", *("---:" for _ in lines[0][1:]))
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in (lines[0], rule, *lines[1:]))
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def set_verbosity(level: int) -> None:
    """How much goes to standard error: -1 errors alone, 0 notes and progress too, 1 also what is chosen and timed."""
    global _verbosity
    _verbosity = level


def say(line: str, level: int = 0) -> None:
    """A line on standard error, in place of an unfinished progress line where that is a terminal.

    Args:
        level: the verbosity from which on it is shown (``set_verbosity``).
    """
    if _verbosity >= level:
        line = escape(line, keep="\n")
        print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def say_error(problem: Exception | str) -> None:
    """An error as one line on standard error, whatever the verbosity."""
    say(f"dptr: error: {' '.join(str(problem).splitlines())}", level=-1)


def shows_progress() -> bool:
    """Whether progress is to be shown (``set_verbosity``)."""
    return _verbosity >= 0


@contextmanager
def progress_bars(unit: str = "it") -> Iterator[Callable[[str, int, int], None]]:
    """A function (name, done, total) that draws progress bars on standard error.

    A bar shows how much is done, the time that it took, the time left, and how many are done a second. Where standard
    error is no terminal, a line every ``EVERY`` seconds says how much is done, as in the log of a training.

    Args:
        unit: of what is counted, as it stands after a rate.
    """
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    last_line = time.monotonic()

    def draw(name: str, done: int, total: int) -> None:
        if name not in bars:
            bars[name] = tqdm(total=total, desc=name, unit=unit, leave=False, file=sys.stderr, bar_format=_BAR)
        bars[name].update(done - bars[name].n)

    def print_line(name: str, done: int, total: int) -> None:
        nonlocal last_line
        now = time.monotonic()
        if now - last_line >= EVERY:
            last_line = now
            say(f"{name} {done:,} of {total:,}{unit if unit not in ('it', f' {name}') else ''}")

    try:
        yield draw if sys.stderr.isatty() and shows_progress() else print_line
    finally:
        for bar in bars.values():
            bar.close()
