"""The log of a training run: JSON lines that survive a crash, TensorBoard events, and a progress line."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.files import replace_file
from dptr.utils.terminal import say, shows_progress


class Log:
    """Writes ``log.jsonl`` and, optionally, TensorBoard events in ``tensorboard/``; prints progress to stderr.

    Call ``begin`` before the first ``write``.

    Args:
        out: folder of the run.
        tensorboard: write events too, if TensorBoard is installed.
        main: whether this is the main process; in the others every call does nothing.
        unit: of the speed, per second: words, crops.
    """

    def __init__(self, out: Path, tensorboard: bool, main: bool, unit: str):
        self.path = out / "log.jsonl"
        self.main = main
        self.unit = unit
        self._tensorboard = tensorboard
        self._events: Events | None = None
        self._begin: tuple[float, int] | None = None
        self._spoke = 0.0

    def begin(self, step: int) -> None:
        """Start the log after ``step``, 0 for a new run. Later records are dropped: a resumed run writes them again."""
        if not self.main:
            return
        self.truncate(step)
        if self._tensorboard:
            try:
                self._events = Events(self.path.with_name("tensorboard"), step)
            except ImportError:
                self.say("TensorBoard is not installed; records go to log.jsonl only")

    def truncate(self, step: int) -> None:
        """Drop records after ``step``; all of them if ``step`` is 0."""
        if not self.path.exists():
            return
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        earlier = [line for line in lines if step and _step_of(line) <= step]
        with replace_file(self.path) as aside:
            aside.write_text("".join(line + "\n" for line in earlier), encoding="utf-8")

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one record and mirror its numbers to TensorBoard.

        Raises:
            UserError: the disk is full.
        """
        if not self.main:
            return
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(dump_json({"step": step, **values}) + "\n")
            if self._events is not None:
                self._events.write(step, values)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; free space, then --resume") from error

    def progress(self, step: int, steps: int, samples: int, loss: float, seconds_left: float | None = None) -> float:
        """Show loss, speed, and time left: one line that is rewritten on a terminal, a line every 30 s elsewhere.

        Args:
            samples: per step, over all processes.
            seconds_left: until a run with ``run.seconds`` ends, if it does not reach ``steps`` before.

        Returns:
            Samples per second since the run started or resumed.
        """
        now = time.monotonic()
        if self._begin is None:
            self._begin = (now, step)
            return 0.0
        start_time, first = self._begin
        speed = (step - first) * samples / max(now - start_time, 1e-9)
        terminal = sys.stderr.isatty()
        if self.main and shows_progress() and (terminal or now - self._spoke > 30 or step == steps):
            self._spoke = now
            left = int((steps - step) * samples / max(speed, 1e-9))
            of_all = f"/{steps}" if seconds_left is None or left <= seconds_left else ""
            left = left if seconds_left is None else min(left, int(seconds_left))
            text = (
                f"step {step}{of_all}  loss {loss:.3f}  {speed:,.0f} {self.unit}/s  {left // 60}:{left % 60:02d} left"
            )
            print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
        return speed

    def say(self, text: str) -> None:
        """Print a message, in the main process only."""
        if self.main:
            say(text)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._events is not None:
            self._events.close()


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):  # the last line of a killed run may be cut
        return float("inf")


class Events:
    """A TensorBoard event file, written without a buffer and in this thread.

    torch's ``SummaryWriter`` buffers events for up to two minutes, loses them when the process is killed, and prints a
    traceback from its own thread when the disk is full.

    Raises:
        ImportError: TensorBoard is not installed.
        UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        try:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
            self._file = RecordWriter(open(folder / name, "xb", buffering=0))  # noqa: SIM115 - open as long as the log
            self._write(file_version="brain.Event:2")
            # TensorBoard forgets what an interrupted run wrote from this step on
            self._write(step=step + 1 if step else 0, session_log=SessionLog(status=SessionLog.START))
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror}; free space or pass another --out") from error

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Write the numbers among ``values`` as scalars."""
        scalars = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in values.items()
            if isinstance(value, int | float)
        ]
        self._write(step=step, summary=self._summary(value=scalars))

    def _write(self, **fields: Any) -> None:
        self._file.write(self._event(wall_time=time.time(), **fields).SerializeToString())

    def close(self) -> None:
        self._file.close()
