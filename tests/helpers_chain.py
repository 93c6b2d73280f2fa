"""Imported by a warm process: ``dptr new-language`` in miniature, where steps end the training and not the clock.

So what a killed chain leads to can be compared with what nobody disturbed, bit by bit.
"""

from __future__ import annotations

from typing import Any

from dptr.new_language import chain, plan

STEPS = 4
_settings = chain.Chain.run_settings


def _few_steps(self: chain.Chain, stage: str, batch: int, every: int) -> dict[str, Any]:
    few = {"seconds": 0, "steps": STEPS, "batch_size": 4, "validate_every": 2, "save_every": 1, "log_every": 1}
    return {**_settings(self, stage, batch, every), **few}


chain.Chain.run_settings = _few_steps  # type: ignore[method-assign]
chain.TEST, chain.SHOWN, chain.RESIDUALS, chain.PARITY = 12, 4, 40, 8
plan.usable_cores = lambda: 1


def _warm_up() -> None:
    """What torch sets up for its first export takes most of the time of a small one."""
    import torch

    from dptr.export.trace import trace

    batch = torch.export.Dim("batch")
    trace(torch.nn.Linear(2, 2), {"input": torch.zeros(2, 2)}, ["output"], {"input": {0: batch}})


_warm_up()
