"""Steps from epochs (``run.epochs``): known once the data are read, and the same when a run goes on."""

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
    """``run`` with the steps that its epochs take, and a line for the log; as it is where ``epochs`` is 0.

    Batches go on across the end of an epoch, so that each sample is used exactly once in each; the last batch is
    filled from the epoch after the last. Of crops of several sizes this holds
    nearly (``dptr.data.size_batches.batch_by_size``). Batches that are sorted by length together are so up to the last
    step, not beyond, so that it holds of them too.

    Args:
        samples: of one epoch: what is drawn until every entry or labeled crop was used.
        out: the folder of the run.

    Raises:
        UserError: a run in ``out`` goes on, whose data gave another number of steps.
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
    """The steps of ``run.epochs`` passes; 0 where ``epochs`` is 0.

    Args:
        samples: of one epoch.
    """
    return max(1, math.ceil(run.epochs * samples / run.batch_size)) if run.epochs else 0
