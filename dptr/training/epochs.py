"""Steps from epochs (``run.epochs``): computed once the data are read, and checked when a run resumes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TypeVar

from dptr.config.train import RunConfig
from dptr.training.state import RECIPE, has_run
from dptr.utils.errors import UserError
from dptr.utils.files import read_json

R = TypeVar("R", bound=RunConfig)


def count_steps(run: R, samples: float, out: Path) -> tuple[R, list[str]]:
    """``run`` with the number of steps of its epochs, and a line for the log; unchanged if ``run.epochs`` is 0.

    Each epoch uses each sample exactly once: batches continue across the end of an epoch, and the last batch is filled
    from one more. Pools of batches that are sorted by length end at the last step, so that this holds for them too. For
    crops of several sizes it holds nearly (``dptr.data.size_batches.batch_by_size``).

    Args:
        samples: of one epoch: the number of draws after which every entry or labeled crop was used.
        out: the folder of the run.

    Raises:
        UserError: the run in ``out`` began with another number of steps, because its data differed.
    """
    if not run.epochs:
        return run, []
    steps = steps_of(run, samples)
    if has_run(out):
        before = read_json(out / RECIPE, "recipe of the run")["run"]["steps"]
        if before != steps:
            raise UserError(
                f"{out}: {run.epochs:g} epochs were {before} steps and are {steps} now: the data have changed; bring "
                "back what the run began with, or pass another --out"
            )
    line = f"{run.epochs:g} epochs of {samples:,.0f} samples: {steps:,} steps of {run.batch_size}"
    return run.model_copy(update={"steps": steps}), [line]


def steps_of(run: RunConfig, samples: float) -> int:
    """The number of steps of ``run.epochs`` epochs of ``samples`` samples; 0 if ``epochs`` is 0."""
    return max(1, math.ceil(run.epochs * samples / run.batch_size)) if run.epochs else 0
