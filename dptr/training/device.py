"""Where a training computes: device, precision, processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn

from dptr.config.train import RunConfig
from dptr.training.restart import store_of_attempt
from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(config: RunConfig) -> Accelerator:
    """Device, precision (``auto``: see ``best_precision``) and processes.

    Raises:
        UserError: accelerate is missing, or the precision is not to be had on this device.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import InitProcessGroupKwargs
    except ImportError as error:
        raise missing_package(error, "training", "train") from error
    precision = best_precision(config.device) if config.precision == "auto" else config.precision
    AcceleratorState._reset_state()  # it holds on to the precision of an earlier run in this process
    store = store_of_attempt()
    meeting = [InitProcessGroupKwargs(init_method=store)] if store else []
    try:
        accelerator = Accelerator(mixed_precision=precision, cpu=config.device == "cpu", kwargs_handlers=meeting)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"run.precision = {config.precision!r}, run.device = {config.device!r}: {error}; "
            "set run.precision=no, or another device"
        ) from error
    if config.precision == "fp16" and accelerator.scaler is None:  # accelerate would compute in float32 and say nothing
        raise UserError(
            f"run.precision = 'fp16': not to be had on {accelerator.device.type}; set run.precision=bf16 or no"
        )
    return accelerator


def best_precision(device: str) -> str:
    """``bf16`` where the GPU or the CPU computes in bfloat16 itself, ``no`` (float32) elsewhere.

    A CPU without the instructions emulates them: training was 14 times slower than in float32 (docs/LOG.md).
    """
    if torch.cuda.is_available() and device != "cpu":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "no"


def gather(found: list[Any]) -> list[list[Any]]:
    """What each process found, by rank; all of them call this, and get the same."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return [found]
    all_found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_found, found)
    return all_found


def copy_buffers(module: nn.Module) -> None:
    """Give all processes the first one's buffers: running statistics of batch norms are of each one's share."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
