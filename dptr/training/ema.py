"""The exponential moving average (EMA) of a network's weights: what is validated and kept where it is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def begin_average(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the module's state, to be moved after each step."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def move_average(average: dict[str, Tensor], module: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the weights after a step, counted from 1; counters of batch norms are copied.

    Early averages forget faster, as TensorFlow's ``ExponentialMovingAverage``: with min(decay, (1 + t) / (10 + t)).
    """
    keep = min(decay, (1 + step) / (10 + step))
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor.detach(), 1 - keep)
        else:
            average[name].copy_(tensor)


@contextmanager
def averaged_weights(module: nn.Module, average: dict[str, Tensor] | None) -> Iterator[None]:
    """The module in eval mode and without gradients, with the average's weights; both are put back afterwards.

    Args:
        average: None = the module's own weights.
    """
    own = None
    if average is not None:
        own = begin_average(module)
        module.load_state_dict(average)
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train()
        if own is not None:
            module.load_state_dict(own)
