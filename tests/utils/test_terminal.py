"""What commands say on standard error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dptr.utils.terminal import progress_bars, set_verbosity


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time that ``progress_bars`` sees, as its last number; how much is said is as before afterwards."""
    times = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: times[-1])
    yield times
    set_verbosity(0)


def count(clock: list[float], unit: str, name: str = "read") -> None:
    with progress_bars(unit) as show:
        for done in range(1, 13):
            clock.append(clock[-1] + 8)
            show(name, done, 1200)


def test_without_a_terminal_a_line_tells_of_progress_now_and_then(clock, capsys):
    """Nothing was said for minutes, and a log could not tell a slow command from a stuck one."""
    count(clock, " pages")
    told = capsys.readouterr()
    assert told.err.splitlines() == [f"read {done} of 1,200 pages" for done in (4, 8, 12)]
    assert told.out == ""


def test_units_that_say_nothing_are_left_out(clock, capsys):
    count(clock, "it", "crops")
    count(clock, " blocks", "blocks")
    assert {*capsys.readouterr().err.splitlines()} >= {"crops 4 of 1,200", "blocks 4 of 1,200"}


def test_quiet_commands_tell_no_progress(clock, capsys):
    set_verbosity(-1)
    count(clock, " pages")
    assert capsys.readouterr().err == ""
