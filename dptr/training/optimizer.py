"""AdamW with decay on matrices only, and the one-cycle schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dptr.config.train import OptimConfig

Parts = Sequence[tuple[nn.Module, float]]  # trainable modules, each with the factor on its learning rate


def make_optimizer(parts: Parts, config: OptimConfig, fused: bool = False) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with weight decay on matrices only: not on biases, norms, embeddings, queries.

    Each parameter group has the key ``factor``, of its part.
    """
    groups: list[dict[str, Any]] = []
    for module, factor in parts:
        decay: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for owner in module.modules():
            for name, parameter in owner.named_parameters(recurse=False):
                if parameter.requires_grad:
                    matrix = name == "weight" and isinstance(owner, nn.Linear | nn.Conv2d)
                    (decay if matrix else plain).append(parameter)
        groups += [
            {"params": decay, "weight_decay": config.weight_decay, "factor": factor},
            {"params": plain, "weight_decay": 0.0, "factor": factor},
        ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, config.beta2), fused=fused)


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate in steps 0..steps-1: cosine from 1/25 up to 1, then down to 1/250,000.

    This is the one-cycle policy (Smith and Topin 2019) with the defaults of torch's ``OneCycleLR``, div_factor 25 and
    final_div_factor 1e4, as in PARSeq and DPTR. It is a function of the step, so that a resumed run, or one with
    ``run.seconds``, can start anywhere in the cycle.

    Args:
        warmup: share of the steps until the peak, 0 to 1.
    """
    low, end = 1 / 25, 1 / 25 / 1e4
    peak = warmup * steps - 1
    last = steps - 1
    if step <= peak:
        start_at, end_at, progress = low, 1.0, step / peak if peak > 0 else 1.0
    else:
        start_at, end_at, progress = 1.0, end, (step - peak) / (last - peak) if last > peak else 1.0
    return end_at + (start_at - end_at) / 2 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
