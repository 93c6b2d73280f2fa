"""One training step as a CUDA graph, so that the GPU does not wait for a slow CPU to launch kernels.

The graph replays forward, backward, clipping, and update on tensors at fixed addresses. So all batches must have one
shape, the objective must not draw from the step's generator, and the learning rates must be tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

WARM_UP = 3  # eager steps on a side stream before capture, as PyTorch's notes on CUDA graphs advise

Compute = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class CapturedStep:
    """A training step on copies of a batch's tensors: eager for the first ``WARM_UP`` steps, then a graph.

    Args:
        compute: forward, backward, clipping, update, and zeroing of gradients; returns detached losses by name.
        zero_grad: frees gradients before the capture, which allocates new ones.
        lock: held during the capture, in which no other thread may use the GPU.
    """

    def __init__(self, compute: Compute, zero_grad: Callable[[], None], lock: AbstractContextManager):
        self.compute, self.zero_grad, self.lock = compute, zero_grad, lock
        self.inputs: dict[str, Tensor] = {}
        self.losses: dict[str, Tensor] = {}
        self.graph: torch.cuda.CUDAGraph | None = None
        self.steps = 0
        self.side = torch.cuda.Stream()

    def __call__(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses of this step; they are overwritten by the next one."""
        if not self.inputs:
            self.inputs = {name: tensor.clone() for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            self.inputs[name].copy_(tensor)
        if self.graph is not None:
            self.graph.replay()
        elif self.steps < WARM_UP:
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                self.losses = self.compute(self.inputs)
            torch.cuda.current_stream().wait_stream(self.side)
        else:
            self.zero_grad()
            self.graph = torch.cuda.CUDAGraph()
            with self.lock, torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
                self.losses = self.compute(self.inputs)
            self.graph.replay()  # capturing computes nothing
        self.steps += 1
        return self.losses
