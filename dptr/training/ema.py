"""The exponential moving average (EMA) of a network's weights. A run with an EMA validates and saves these weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def init_average(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the module's state, to be updated after each step."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def update_average(average: dict[str, Tensor], module: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the module's weights; integer buffers (batch norm's counters) are copied.

    The decay at step t is min(decay, (1 + t) / (10 + t)), as in TensorFlow's ``ExponentialMovingAverage``.

    Args:
        step: t, counted from 1.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor.detach(), 1 - decay)
        else:
            average[name].copy_(tensor)


@contextmanager
def averaged_weights(module: nn.Module, average: dict[str, Tensor] | None) -> Iterator[None]:
    """Give the module the average's weights, in eval mode without gradients; restore weights and mode afterwards.

    Args:
        average: None = keep the module's own weights.
    """
    own = None
    if average is not None:
        own = init_average(module)
        module.load_state_dict(average)
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train()
        if own is not None:
            module.load_state_dict(own)
