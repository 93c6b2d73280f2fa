"""The curves of a training, read from its ``log.jsonl`` while the training still writes it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dptr.label.run import Run

_MOST = 400  # points of a curve in JSON
_VALIDATION_PREFIX = "validation_"
_OTHERS_PREFIX = "others_"
_ACCURACY_KEYS = {"finetune": "word_accuracy", "adapt": "domain"}

Curve = list[tuple[int, float]]
"""Pairs of a training step and the value at that step."""


@dataclass
class Curves:
    """The curves and the progress of a training.

    Attributes:
        step, steps: the last logged step, and the number of steps planned; 0 before they are known.
        loss: the training loss.
        accuracy: the validation accuracy on the words that are being learned, 0 to 1.
        others: the word accuracy on crops that the training does not learn from, 0 to 1, by the name of their set.
        seconds_left: the estimated time to the end, in seconds; None if unknown.
    """

    step: int = 0
    steps: int = 0
    loss: Curve = field(default_factory=list)
    accuracy: Curve = field(default_factory=list)
    others: dict[str, Curve] = field(default_factory=dict)
    seconds_left: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The attributes as a JSON object, with at most 400 points in a curve."""
        thin = {"loss": _thin(self.loss), "accuracy": _thin(self.accuracy)}
        return {**asdict(self), **thin, "others": {name: _thin(curve) for name, curve in self.others.items()}}


def read_curves(run: Run) -> Curves:
    """Read the curves that a run has logged so far; they are empty before the first step."""
    curves, speed = Curves(), 0.0
    for row in _read_rows(run.train / "log.jsonl"):
        step = curves.step = int(row["step"])
        if "loss" in row:
            curves.loss.append((step, float(row["loss"] or 0)))
            speed = next((float(value or 0) for key, value in row.items() if key.endswith("_per_second")), speed)
        for key, value in row.items():
            name = key.removeprefix(_VALIDATION_PREFIX)
            if name == key or "." in name:  # a dot marks interpolated weights, which are candidates and not the curve
                continue
            if name == _ACCURACY_KEYS[run.kind]:
                curves.accuracy.append((step, float(value or 0)))
            elif name.startswith(_OTHERS_PREFIX) or (name == "others" and run.kind == "adapt"):
                curves.others.setdefault(name.removeprefix(_OTHERS_PREFIX), []).append((step, float(value or 0)))
    settings = _read_json(run.train / "recipe.json").get("run", {})
    curves.steps = int(settings.get("steps", 0))
    if run.phase == "training" and settings and curves.loss:
        curves.seconds_left = _estimate_seconds_left(run, settings, curves.steps - curves.step, speed)
    return curves


def _estimate_seconds_left(run: Run, settings: dict[str, Any], steps: int, speed: float) -> float | None:
    """The seconds until the end of a run's time or of its last ``steps``, at ``speed`` samples per second."""
    begun = (run.train / "recipe.json").stat().st_mtime
    limit = float(settings.get("seconds") or 0)
    estimates = [limit - run.spent - max(0.0, time.time() - begun)] if limit else []  # the clock may be set back
    estimates += [steps * int(settings["batch_size"]) / speed] if speed > 0 else []
    return max(0.0, min(estimates)) if estimates else None


def read_spent(run: Run) -> float:
    """Seconds of training up to the last saved state; 0 without one."""
    states = sorted((run.train / "state").glob("step-*/state.json"))
    return float(_read_json(states[-1]).get("seconds", 0)) if states else 0.0


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; empty if the file cannot be read. Lines that are not JSON with a ``step`` are skipped."""
    rows = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):  # the last line may be incomplete
                row = json.loads(line)
                if isinstance(row, dict) and "step" in row:
                    rows.append(row)
    return rows


def _read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if it cannot be read."""
    with suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    return {}


def _thin(curve: Curve) -> Curve:
    """Every n-th point, counted from the last one: the smallest n that leaves at most ``_MOST`` points."""
    stride = -(-len(curve) // _MOST) if curve else 1
    return [point for index, point in enumerate(curve) if (len(curve) - 1 - index) % stride == 0]
