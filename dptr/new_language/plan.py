"""How ``dptr new-language`` divides its minutes among its steps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from dptr.utils.errors import UserError
from dptr.weights import DEFAULT_MODEL, START_MODEL

Method = Literal["rendered", "text"]

SHORTEST = 1.0  # minutes: test crops, ONNX, and report take half a minute by themselves
REST = 0.1  # of the time, at least: test crops, reading them, ONNX, report
LEAST = 1 / 3  # of the time is trained, even where the rest takes long
FEW = 10.0  # minutes of training, below which little can be read
LONG = 45.0  # minutes, from which dptr-latin is the start: slower steps teach more (docs/evidence/languages.md)
SHARES: dict[Method, dict[str, float]] = {
    "rendered": {"finetune": 1.0},
    "text": {"align": 0.4, "pretrain": 0.1, "finetune": 0.5},
}
"""Of the time that is trained, by stage. ``text``: the shares of the eight languages in docs/evidence/languages.md."""


@dataclass(frozen=True)
class Plan:
    """What is spent on what.

    Attributes:
        seconds: by stage of training, in their order.
        workers: processes that render beside the training.
    """

    seconds: dict[str, float]
    workers: int

    def describe(self) -> str:
        parts = [f"{stage} {seconds / 60:.1f}" for stage, seconds in self.seconds.items()]
        beside = f"; {self.workers} more to render" if self.workers else ""
        few = sum(self.seconds.values()) < 60 * FEW
        hint = "; so few show that it works, 30 and more read better" if few else ""
        return f"minutes of training: {', '.join(parts)} (one process{beside}), then test, ONNX file, and report{hint}"

    def after(self, minutes: float, spent: float) -> Plan:
        """The plan where ``spent`` seconds went by before training: what follows it will take about as long again."""
        planned = sum(self.seconds.values())
        left = max(60 * minutes * LEAST, 60 * minutes - 2 * spent)
        share = min(1.0, left / planned)
        return Plan({stage: share * seconds for stage, seconds in self.seconds.items()}, self.workers)


def plan(minutes: float, method: Method, several_sizes: bool = False) -> Plan:
    """Spend ``minutes``, the whole command's.

    Args:
        several_sizes: whether the network reads crops of several sizes. Then each worker would render all crops
            (``dptr.data.size_batches``), so that there is one at most.

    Raises:
        UserError: fewer than ``SHORTEST``.
    """
    if minutes < SHORTEST:
        raise UserError(f"--minutes {minutes:g}: below {SHORTEST:g}; training needs some, better 30 and more")
    trained = minutes * 60 * (1 - REST)
    workers = min(usable_cores() - 1, 1 if several_sizes else 4)
    return Plan({stage: share * trained for stage, share in SHARES[method].items()}, workers)


def choose_start(minutes: float) -> str:
    """The shipped recognizer that ``rendered`` starts from (measured: docs/evidence/languages.md)."""
    return DEFAULT_MODEL if minutes >= LONG else START_MODEL


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
