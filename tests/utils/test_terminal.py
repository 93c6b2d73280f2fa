"""What commands say on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dptr.utils import terminal
from dptr.utils.terminal import progress_bars, set_verbosity


class Pipe:
    """What was written on standard error, which is no terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    def lines(self) -> list[str]:
        self._text += self._capsys.readouterr().err
        return self._text.splitlines()

    def wait(self, count: int) -> list[str]:
        """The lines once there are ``count``."""
        deadline = time.monotonic() + 20
        while len(found := self.lines()) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.002)
        return found


@pytest.fixture
def pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """Lines of progress come each 20 milliseconds; how much is said is as before afterwards."""
    monkeypatch.setattr(terminal, "EVERY", 0.02)
    yield Pipe(capsys)
    set_verbosity(0)


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "dptr-progress"]


def test_without_a_terminal_a_line_comes_by_time_while_one_piece_takes_long(pipe: Pipe) -> None:
    """It came with a finished piece only, so that one page of minutes looked like a stuck command."""
    with progress_bars(" pages") as show:
        show("read", 0, 1200)
        assert {*pipe.wait(2)[:2]} == {"read 0 of 1,200 pages [00:00]"}
        show("read", 3, 1200)
        before = len(pipe.lines())
        assert pipe.wait(before + 2)[-1] == "read 3 of 1,200 pages [00:00]"


def test_nothing_is_said_after_the_end_whatever_ends_it(pipe: Pipe) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    ends: list[Callable[[], None]] = [lambda: None, interrupt]
    for end in ends:
        try:
            with progress_bars() as show:
                show("crops", 0, 2)
                pipe.wait(1)
                end()
        except KeyboardInterrupt:
            pass
        assert running() == []
        said = pipe.lines()
        time.sleep(0.1)
        assert pipe.lines() == said


def test_short_commands_say_no_progress(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "EVERY", 30.0)
    with progress_bars() as show:
        show("crops", 0, 2)
        show("crops", 2, 2)
    assert pipe.lines() == [] and running() == []


@pytest.mark.parametrize(
    ("unit", "name", "line"), [("it", "crops", "crops 4 of 9"), (" blocks", "blocks", "blocks 4 of 9")]
)
def test_units_that_say_nothing_are_left_out(pipe: Pipe, unit: str, name: str, line: str) -> None:
    with progress_bars(unit) as show:
        show(name, 4, 9)
        assert pipe.wait(1)[0].rpartition(" ")[0] == line


def test_quiet_commands_say_no_progress(pipe: Pipe) -> None:
    set_verbosity(-1)
    with progress_bars(" pages") as show:
        show("read", 0, 1)
        time.sleep(0.1)
    assert pipe.lines() == []


def test_a_closed_standard_error_ends_the_lines_and_not_the_work(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(text: str) -> int:
        failed.set()
        raise BrokenPipeError

    monkeypatch.setattr(sys.stderr, "write", fail)
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    with progress_bars() as show:
        show("crops", 0, 2)
        assert failed.wait(20)
    assert errors == [] and running() == []
