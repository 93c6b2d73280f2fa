"""AdamW with decay on matrices only, and the one-cycle schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dptr.config.train import OptimConfig

Parts = Sequence[tuple[nn.Module, float]]  # trainable modules, and the factor on the learning rate of each


def make_optimizer(parts: Parts, config: OptimConfig, fused: bool = False) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); weight decay on matrices, not on biases, norms, embeddings or queries.

    Each group of parameters has the key ``factor`` of its part.
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
    """Factor on the learning rate in step 0..steps-1: cosine from 1/25 up to 1 at the warm-up's end, then to 1/250,000.

    One-cycle policy (Smith and Topin 2019) with the defaults of torch's ``OneCycleLR``: div_factor 25 and
    final_div_factor 1e4, which is what PARSeq and DPTR use. A function of the step, not an object with a state: a run
    that is resumed, or that follows the clock, asks for any place of the cycle.
    """
    low, end = 1 / 25, 1 / 25 / 1e4
    peak = warmup * steps - 1
    last = steps - 1
    if step <= peak:
        start_at, end_at, progress = low, 1.0, step / peak if peak > 0 else 1.0
    else:
        start_at, end_at, progress = 1.0, end, (step - peak) / (last - peak) if last > peak else 1.0
    return end_at + (start_at - end_at) / 2 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
