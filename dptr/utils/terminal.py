"""Output of commands: progress bars and lines on standard error, tables, and text files."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dptr.utils.escapes import escape
from dptr.utils.files import atomic_file

_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
"""tqdm's usual bar, but it always shows pieces per second, never seconds per piece."""

EVERY = 30.0
"""Seconds between two lines of progress if standard error is not a terminal."""

_verbosity = 0


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all; characters that UTF-8 lacks (surrogates) are escaped."""
    with atomic_file(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")


def print_unfinished(aside: Path, path: str | Path) -> None:
    """Print the complete lines of ``aside`` on standard output, and say that ``path`` was not written."""
    sys.stdout.flush()
    text = aside.read_text(encoding="utf-8", errors="backslashreplace")
    sys.stdout.write(text[: text.rfind("\n") + 1])
    sys.stdout.flush()
    say(f"dptr: {path} is not written; what was finished is on standard output", level=-1)


def align_columns(lines: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Format a table with two spaces between columns; columns in ``left`` are aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return "\n".join(
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table; the first line is the header, the first column is aligned left, the others right."""
    rule = ("---", *("---:" for _ in lines[0][1:]))
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in (lines[0], rule, *lines[1:]))
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


def set_verbosity(level: int) -> None:
    """Set what is printed on standard error: -1 = errors, 0 = also notes and progress, 1 = also choices and timings."""
    global _verbosity
    _verbosity = level


def say(line: str, level: int = 0) -> None:
    """Print a line on standard error; on a terminal, it replaces an unfinished progress line.

    Args:
        level: the lowest verbosity at which the line is shown (``set_verbosity``).
    """
    if _verbosity >= level:
        line = escape(line, keep="\n")
        start = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{start}{line}\n", end="", file=sys.stderr, flush=True)  # one write: lines of other threads stay apart


def say_error(problem: Exception | str) -> None:
    """Print an error as one line on standard error, at any verbosity."""
    say(f"dptr: error: {' '.join(str(problem).splitlines())}", level=-1)


def shows_progress() -> bool:
    """Whether to show progress (``set_verbosity``)."""
    return _verbosity >= 0


@contextmanager
def progress_bars(unit: str = "it") -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (name, done, total) that draws progress bars on standard error.

    A bar shows what is done, the elapsed time, the remaining time, and the rate per second. If standard error is not a
    terminal, a line every ``EVERY`` seconds says how much is done, as in the log of a training, also while a single
    piece takes longer than that. Call the function with ``done=0`` at the start, so that the first line is not late.

    Args:
        unit: of what is counted, as tqdm shows it after the rate.
    """
    if sys.stderr.isatty() and shows_progress():
        with _drawn_bars(unit) as draw:
            yield draw
    else:
        with _printed_lines(unit) as update:
            yield update


@contextmanager
def _drawn_bars(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def draw(name: str, done: int, total: int) -> None:
        if name not in bars:
            bars[name] = tqdm(total=total, desc=name, unit=unit, leave=False, file=sys.stderr, bar_format=_BAR)
        bars[name].update(done - bars[name].n)

    try:
        yield draw
    finally:
        for bar in bars.values():
            bar.close()


@contextmanager
def _printed_lines(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    from tqdm import tqdm

    latest: tuple[str, int, int] | None = None
    starts: dict[str, float] = {}
    stopped = threading.Event()

    def update(name: str, done: int, total: int) -> None:
        nonlocal latest
        starts.setdefault(name, time.monotonic())
        latest = name, done, total

    def print_lines() -> None:
        while not stopped.wait(EVERY):
            if latest is None:
                continue
            name, done, total = latest
            elapsed = tqdm.format_interval(time.monotonic() - starts[name])
            try:
                say(f"{name} {done:,} of {total:,}{unit if unit not in ('it', f' {name}') else ''} [{elapsed}]")
            except OSError:  # standard error is closed, and the next message of the command says so
                return

    thread = threading.Thread(target=print_lines, name="dptr-progress", daemon=True)
    try:
        thread.start()
        yield update
    finally:
        stopped.set()
        if thread.is_alive():
            thread.join()
