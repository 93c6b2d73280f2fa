"""What a training's ``log.jsonl`` tells while it grows."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dptr.label.run import Run

_MOST = 400  # points of a curve
_FOUND = "validation_"
_OTHERS = "others_"
_LEARNED = {"finetune": "word_accuracy", "adapt": "domain"}

Curve = list[tuple[int, float]]
"""Steps and values."""


@dataclass
class Curves:
    """What is drawn of a training.

    Attributes:
        step, steps: how far it is.
        loss: of the steps.
        accuracy: of what is learned, on what is held out, 0 to 1.
        others: word accuracy on other crops, which are not trained on, by their name, 0 to 1.
        seconds_left: None while that is not known.
    """

    step: int = 0
    steps: int = 0
    loss: Curve = field(default_factory=list)
    accuracy: Curve = field(default_factory=list)
    others: dict[str, Curve] = field(default_factory=dict)
    seconds_left: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it, long curves thinned out."""
        thin = {"loss": _thin(self.loss), "accuracy": _thin(self.accuracy)}
        return {**asdict(self), **thin, "others": {name: _thin(curve) for name, curve in self.others.items()}}


def read_curves(run: Run) -> Curves:
    """The curves of a run, as far as it is; empty before it begins."""
    curves, speed = Curves(), 0.0
    for row in _rows(run.train / "log.jsonl"):
        step = curves.step = int(row["step"])
        if "loss" in row:
            curves.loss.append((step, float(row["loss"] or 0)))
            speed = next((float(value or 0) for key, value in row.items() if key.endswith("_per_second")), speed)
        for key, value in row.items():
            name = key.removeprefix(_FOUND)
            if name == key or "." in name:  # weights some of the way are candidates, not the curve
                continue
            if name == _LEARNED[run.kind]:
                curves.accuracy.append((step, float(value or 0)))
            elif name.startswith(_OTHERS) or (name == "others" and run.kind == "adapt"):
                curves.others.setdefault(name.removeprefix(_OTHERS), []).append((step, float(value or 0)))
    recipe = _read(run.train / "recipe.json")
    settings = recipe.get("run", {})
    curves.steps = int(settings.get("steps", 0))
    if run.phase == "training" and settings and curves.loss:
        begun = (run.train / "recipe.json").stat().st_mtime
        clock = float(settings.get("seconds") or 0)
        left = [clock - run.spent - max(0.0, time.time() - begun)] if clock else []  # clocks are set back
        left += [(curves.steps - curves.step) * int(settings["batch_size"]) / speed] if speed > 0 else []
        curves.seconds_left = max(0.0, min(left)) if left else None
    return curves


def read_spent(run: Run) -> float:
    """Seconds of training that are in the last saved state."""
    states = sorted((run.train / "state").glob("step-*/state.json"))
    return float(_read(states[-1]).get("seconds", 0)) if states else 0.0


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):  # the last line is being written
                row = json.loads(line)
                if isinstance(row, dict) and "step" in row:
                    rows.append(row)
    return rows


def _read(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else {}
    return {}


def _thin(curve: Curve) -> Curve:
    every = -(-len(curve) // _MOST) if curve else 1
    return [point for index, point in enumerate(curve) if (len(curve) - 1 - index) % every == 0]
