"""States are written while training goes on, in order, and no error is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers_signal import start

from dptr.training.state_writer import StateWriter
from dptr.utils.errors import UserError


def fail() -> None:
    raise UserError("cannot write: the disk is full")


def ended() -> None:
    """Wait for the thread of a writer, as time does."""
    while any(thread.name == "state" for thread in threading.enumerate()):
        time.sleep(0.001)


def test_the_caller_goes_on_and_the_next_one_waits() -> None:
    writer, release, order = StateWriter(), threading.Event(), list[str]()
    writer.submit(lambda: (release.wait(60), order.append("first"))[1])
    assert order == []
    writer.check()
    threading.Timer(0.05, release.set).start()
    writer.submit(lambda: order.append("second"))
    assert order[0] == "first"
    writer.wait()
    assert order == ["first", "second"]


def test_an_error_is_raised_once_at_the_next_occasion() -> None:
    for occasion in (StateWriter.wait, StateWriter.check, lambda writer: writer.submit(lambda: None)):
        writer = StateWriter()
        writer.submit(fail)
        ended()
        with pytest.raises(UserError, match="the disk is full"):
            occasion(writer)
        writer.wait()


def test_the_end_waits_and_raises() -> None:
    writer, said, done = StateWriter(), list[str](), list[int]()
    with writer.waiting_at_exit(said.append):
        writer.submit(lambda: (time.sleep(0.05), done.append(1))[1])
    assert done == [1]
    with pytest.raises(UserError, match="the disk is full"), writer.waiting_at_exit(said.append):
        writer.submit(fail)
    assert said == []
    with pytest.raises(KeyboardInterrupt), writer.waiting_at_exit(said.append):
        writer.submit(fail)
        raise KeyboardInterrupt
    assert said == ["warning: cannot write: the disk is full"]


def test_a_second_ctrl_c_leaves_what_is_being_written_whole(tmp_path: Path) -> None:
    """The main thread is torn out of waiting; the program ends after the file."""
    code = f"""
import sys, time
from dptr.training.state_writer import StateWriter
from dptr.utils.files import replace_file

def write():
    with replace_file({str(tmp_path / "state")!r}) as aside:
        with open(aside, "w") as file:
            for number in range(20):
                print(number, file=file, flush=True)
                if number == 1:
                    print("begun", flush=True)
                time.sleep(0.02)

writer = StateWriter()
with writer.waiting_at_exit(print):
    writer.submit(write)
"""
    process = start([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "KeyboardInterrupt" in said
    assert (tmp_path / "state").read_text().split() == [str(number) for number in range(20)]
