"""A training log: JSON lines that survive a crash, TensorBoard, and a progress line for people."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from dptr.errors import UserError
from dptr.files import whole_file


class Log:
    """Writes ``log.jsonl`` and, where asked for, TensorBoard events in ``tensorboard/``; prints progress to stderr.

    Args:
        out: folder of the run.
        tensorboard: write events too.
        main: only the main process writes; elsewhere every call does nothing.
        unit: what is counted a second.
    """

    def __init__(self, out: Path, tensorboard: bool, main: bool, unit: str):
        self.path = out / "log.jsonl"
        self.main = main
        self.unit = unit
        self._writer = _tensorboard(out) if tensorboard and main else None
        self._begin: tuple[float, int] | None = None
        self._spoke = 0.0

    def truncate(self, step: int) -> None:
        """Drop records after ``step``: a resumed run writes them again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        with whole_file(self.path) as aside:
            aside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one record and mirror its numbers to TensorBoard."""
        if not self.main:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}, ensure_ascii=False) + "\n")
            if self._writer is not None:
                for name, value in values.items():
                    if isinstance(value, int | float):
                        self._writer.add_scalar(name, value, step)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}; free space, then --resume") from error

    def progress(self, step: int, steps: int, samples: int, loss: float) -> float:
        """Show loss, speed and time left (a line that is rewritten on a terminal, one in 30 s elsewhere).

        Args:
            samples: samples a step, over all processes.

        Returns:
            Samples a second since the run started or resumed.
        """
        now = time.monotonic()
        if self._begin is None:
            self._begin = (now, step)
            return 0.0
        begun, first = self._begin
        speed = (step - first) * samples / max(now - begun, 1e-9)
        terminal = sys.stderr.isatty()
        if self.main and (terminal or now - self._spoke > 30 or step == steps):
            self._spoke = now
            left = int((steps - step) * samples / max(speed, 1e-9))
            text = (
                f"step {step}/{steps}  loss {loss:.3f}  {speed:,.0f} {self.unit}/s  {left // 60}:{left % 60:02d} left"
            )
            print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
        return speed

    def say(self, text: str) -> None:
        """A line for people."""
        if self.main:
            print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._writer is not None:
            self._writer.close()


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # the last line of a killed run may be cut
        return float("inf")


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"))
