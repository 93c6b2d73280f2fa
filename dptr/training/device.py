"""Device, precision, and processes of a training run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from dptr.config.train import RunConfig
from dptr.training.restart import rendezvous_address
from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(config: RunConfig) -> Accelerator:
    """accelerate's ``Accelerator`` for a run's device, precision (``auto``: see ``best_precision``), and processes.

    Raises:
        UserError: accelerate is missing, or the device does not support the precision.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError as error:
        raise missing_package(error, "training", "train") from error
    precision = best_precision(config.device) if config.precision == "auto" else config.precision
    AcceleratorState._reset_state()  # otherwise it keeps the precision of an earlier run in this process
    address = rendezvous_address()
    handlers = [InitProcessGroupKwargs(init_method=address)] if address else []
    try:
        accelerator = Accelerator(mixed_precision=precision, cpu=config.device == "cpu", kwargs_handlers=handlers)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"run.precision = {config.precision!r}, run.device = {config.device!r}: {error}; "
            "set run.precision=no, or another device"
        ) from error
    if config.precision == "fp16" and accelerator.scaler is None:  # accelerate would fall back to float32 silently
        raise UserError(
            f"run.precision = 'fp16': not to be had on {accelerator.device.type}; set run.precision=bf16 or no"
        )
    return accelerator


def best_precision(device: str) -> str:
    """``bf16`` if the GPU or the CPU has bfloat16 instructions, otherwise ``no`` (float32).

    A CPU without them emulates bfloat16, which made training 14 times slower than in float32 (docs/LOG.md).
    """
    if torch.cuda.is_available() and device != "cpu":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"


def gather(values: list[Any]) -> list[list[Any]]:
    """The values of every process, by rank. All processes must call this, and get the same result."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [values]
    by_rank: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(by_rank, values)
    return by_rank


def copy_buffers(module: nn.Module) -> None:
    """Broadcast rank 0's buffers: each process has running statistics of batch norm of its own share of the batches."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
