"""What the training loops share: device and precision, optimiser, schedule, steps, EMA, NaN guard.

Everything a step depends on is a function of (recipe, step) or lies in the saved state: batches are numbered, dropout
and permutations are drawn from generators seeded by the step, the learning rate is a formula of it. So a run that was
killed goes on with the same losses, bit for bit on a CPU.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from dptr.config.model import Config
from dptr.config.train import OptimConfig, RunConfig
from dptr.models.layers import Layer
from dptr.training.logger import Log
from dptr.training.state import check_out as check_out
from dptr.training.state import restore, save
from dptr.utils.errors import UserError
from dptr.utils.files import held, save_tensors, write_json

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class Run:
    """One training run: where it writes, what it trains, how far it is."""

    out: Path
    recipe: Config
    config: RunConfig
    accelerator: Accelerator
    log: Log
    model: nn.Module  # the bare module; ``prepared`` is what the loop calls
    prepared: nn.Module
    optimizer: torch.optim.Optimizer
    optim: OptimConfig
    ema: dict[str, Tensor] | None
    step: int = 0
    best: dict[str, float] = field(default_factory=dict)
    waited: int = 0  # validations since then
    stop: bool = False  # Ctrl-C came to this process
    agreed: bool = False  # it had come to any process when the step's losses were put together

    @property
    def device(self) -> torch.device:
        return self.accelerator.device


def make_accelerator(config: RunConfig) -> Accelerator:
    """Device, precision (``auto``: see ``best_precision``) and processes.

    Raises:
        UserError: accelerate is missing, or the precision is not to be had on this device.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise UserError("training needs accelerate, which is not installed; pip install 'dptr[train]'") from error
    precision = best_precision(config.device) if config.precision == "auto" else config.precision
    AcceleratorState._reset_state()  # it holds on to the precision of an earlier run in this process
    try:
        accelerator = Accelerator(mixed_precision=precision, cpu=config.device == "cpu")
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


def start(
    out: Path,
    recipe: Config,
    config: RunConfig,
    optim: OptimConfig,
    accelerator: Accelerator,
    model: nn.Module,
    parts: list[tuple[nn.Module, float]],
    unit: str,
) -> Run:
    """Prepare a run and restore its last saved state, if there is one.

    Args:
        model: the module whose forward is the loss.
        parts: modules and the factor on the learning rate of each; together all trainable parameters of ``model``.
        unit: what is counted a second, for the progress bar: words, crops.
    """
    accelerator.wait_for_everyone()  # all have checked ``out``
    if accelerator.is_main_process:
        write_json(out / "recipe.json", recipe.model_dump(mode="json"))
    optimizer = make_optimizer(parts, optim, fused=True)
    for layer in model.modules():
        if isinstance(layer, Layer):
            layer.recompute = config.activation_checkpointing
            if config.compile:
                layer.compile(dynamic=True)  # in place: names of parameters stay
    prepared, optimizer = accelerator.prepare(model, optimizer)
    bare = accelerator.unwrap_model(prepared)
    ema = {name: tensor.detach().clone() for name, tensor in bare.state_dict().items()} if optim.ema_decay else None
    log = Log(out, config.tensorboard, accelerator.is_main_process, unit)
    run = Run(out, recipe, config, accelerator, log, bare, prepared, optimizer, optim, ema)
    log.say(f"device {accelerator.device.type}, precision {accelerator.mixed_precision}")
    if config.precision == "bf16" and best_precision(config.device) == "no":
        log.say("warning: this machine emulates bfloat16, many times slower than float32; set run.precision=auto")
    if restore(run):
        log.say(f"{out}: goes on after step {run.step} of {config.steps}")
    log.begin(run.step)
    return run


def make_optimizer(parts: list[tuple[nn.Module, float]], config: OptimConfig, fused: bool = False) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); weight decay on matrices, not on biases, norms, embeddings or queries."""
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
    final_div_factor 1e4, which is what PARSeq and DPTR use.
    """
    low, end = 1 / 25, 1 / 25 / 1e4
    peak = warmup * steps - 1
    last = steps - 1
    if step <= peak:
        start_at, end_at, progress = low, 1.0, step / peak if peak > 0 else 1.0
    else:
        start_at, end_at, progress = 1.0, end, (step - peak) / (last - peak) if last > peak else 1.0
    return end_at + (start_at - end_at) / 2 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


@contextmanager
def seeded(seed: int, step: int) -> Iterator[torch.Generator]:
    """A generator for this step; torch's default one, which dropout draws from, is seeded alike and put back after."""
    drawn = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> 1)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(drawn)
        yield torch.Generator().manual_seed(drawn)


def share(accelerator: Accelerator) -> slice:
    """Which samples of a batch are this process's: every so many-th."""
    return slice(accelerator.process_index, None, accelerator.num_processes)


def learn(
    run: Run,
    batch: dict[str, Tensor],
    words: list[str],
    generator: torch.Generator,
    terms: Callable[[Tensor], int],
) -> float:
    """Loss of a batch and ``advance``, in ``run.gradient_accumulation_steps`` parts: a batch need not fit in memory.

    The gradient is the whole batch's, as several processes' is: each part counts by its terms, and draws what is drawn
    for the batch (PARSeq's orders) from the same generator. Dropout's masks are others; batch norm sees a part.

    Args:
        batch: arguments of ``run.prepared``, a row a sample; ``targets`` among them.
        terms: of targets; see ``Decoder.terms``.

    Raises:
        UserError: fewer samples than parts; see ``advance``.
    """
    count, samples = run.config.gradient_accumulation_steps, len(batch["targets"])
    if count == 1:
        with run.accelerator.autocast():
            loss = run.prepared(**batch, generator=generator)
        return advance(run, loss, batch, words, terms(batch["targets"]))
    if samples < count:
        raise UserError(
            f"run.gradient_accumulation_steps = {count}: {samples} samples a process, which is less; lower it, or "
            "raise run.batch_size"
        )
    cut = {name: tensor.tensor_split(count) for name, tensor in batch.items()}
    parts = [{name: tensors[number] for name, tensors in cut.items()} for number in range(count)]
    weights = [terms(part["targets"]) for part in parts]
    everything = run.accelerator.reduce(torch.tensor(float(sum(weights)), device=run.device), "sum").item()
    state, total = generator.get_state(), 0.0
    for number, (part, weight) in enumerate(zip(parts, weights, strict=True), 1):
        generator.set_state(state)
        with nullcontext() if number == count else run.accelerator.no_sync(run.prepared):
            with run.accelerator.autocast():
                loss = run.prepared(**part, generator=generator)
            total += weight * loss.item()
            run.accelerator.backward(weight * run.accelerator.num_processes / everything * loss)
    value, _ = _together(run, total / sum(weights), sum(weights))
    return _update(run, value, batch, words)


def advance(run: Run, loss: Tensor, batch: dict[str, Tensor], words: list[str], terms: float = 1.0) -> float:
    """Backward, clip, step, EMA; returns the loss, over all processes.

    Args:
        terms: how many terms ``loss`` is the mean of, so that a process with longer words counts more: together they
            step as one process with all samples does.

    Raises:
        UserError: the loss or its gradient is not finite; the batch is saved beside the run first, the weights stay
            as they were. All processes raise it together.
    """
    value, weight = _together(run, loss.item(), terms)
    if math.isfinite(value):
        run.accelerator.backward(weight * loss)
    return _update(run, value, batch, words)


def _update(run: Run, value: float, batch: dict[str, Tensor], words: list[str]) -> float:
    """Clip, step, EMA, where loss and gradient are finite."""
    if not math.isfinite(value):
        raise _not_finite(run, f"loss is {value}", batch, words)
    factor = one_cycle(run.step, run.config.steps, run.optim.warmup)
    for group in run.optimizer.param_groups:
        group["lr"] = run.optim.lr * group["factor"] * factor
    norm = run.accelerator.clip_grad_norm_(run.prepared.parameters(), run.optim.grad_clip)
    if run.accelerator.scaler is None and not torch.isfinite(norm):  # a scaler skips such steps by itself
        raise _not_finite(run, f"loss is {value:.4g}, its gradient's norm {norm.item()}", batch, words)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.step += 1
    if run.ema is not None:
        keep = min(
            run.optim.ema_decay, (1 + run.step) / (10 + run.step)
        )  # as TensorFlow's: a shorter memory at the start
        for name, tensor in run.model.state_dict().items():
            if tensor.is_floating_point():
                run.ema[name].lerp_(tensor.detach(), 1 - keep)
            else:
                run.ema[name].copy_(tensor)
    return value


def _together(run: Run, loss: float, terms: float) -> tuple[float, float]:
    """The loss over all processes, and the weight of this one's; one that was told to stop tells the others.

    What comes to one of them later in the step waits for the next one, or the others would wait for it in vain.
    """
    processes = run.accelerator.num_processes
    if processes == 1:
        return loss, 1.0
    told = torch.tensor([loss * terms, terms, float(run.stop)], dtype=torch.float64, device=run.device)
    total, everything, stop = run.accelerator.reduce(told, "sum").tolist()
    run.agreed = stop > 0
    return total / everything, terms * processes / everything


def _not_finite(run: Run, what: str, batch: dict[str, Tensor], words: list[str]) -> UserError:
    rank = f"-{run.accelerator.process_index}" if run.accelerator.num_processes > 1 else ""
    path = run.out / f"nan-step-{run.step}{rank}.safetensors"
    save_tensors(path, {name: tensor.cpu() for name, tensor in batch.items()}, {"words": json.dumps(words)})
    return UserError(
        f"{what} in step {run.step}; the batch is saved as {path}; train anew into another --out with a lower optim.lr "
        "or optim.grad_clip, or with run.precision=no"
    )


@contextmanager
def averaged(run: Run) -> Iterator[None]:
    """The model in eval mode, with the EMA's weights where EMA is on; both are put back afterwards."""
    own = None
    if run.ema is not None:
        own = {name: tensor.detach().clone() for name, tensor in run.model.state_dict().items()}
        run.model.load_state_dict(run.ema)
    run.model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        run.model.train()
        if own is not None:
            run.model.load_state_dict(own)


def due(run: Run, every: int) -> bool:
    """Whether something that happens every so many steps, and after the last one, happens now."""
    return run.step % every == 0 or run.step == run.config.steps


@contextmanager
def interruptible(run: Run) -> Iterator[None]:
    """Ctrl-C ends the run after the current step with its state saved; a second Ctrl-C ends it at once.

    Until then no other run may use the folder. The log is closed at the end, whatever that is.

    Raises:
        UserError: another run got hold of the folder since ``check_out``.
    """

    def handle(number: int, frame: types.FrameType | None) -> None:
        if run.stop:
            raise KeyboardInterrupt
        run.stop = True

    # in another thread the caller handles signals; who started us with SIGINT ignored (nohup ... &) wants it ignored
    in_charge = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    )
    before = signal.signal(signal.SIGINT, handle) if in_charge else None
    try:
        with held(run.out) if run.accelerator.is_main_process else nullcontext():
            yield
    finally:
        if in_charge:
            signal.signal(signal.SIGINT, before)
        run.log.close()


def end_of_step(run: Run) -> None:
    """Save the state when it is due or the run is interrupted.

    Raises:
        KeyboardInterrupt: the run was interrupted; its state is saved.
    """
    stop = run.stop if run.accelerator.num_processes == 1 else run.agreed
    if due(run, run.config.save_every) or stop:
        save(run)
    if stop:
        run.accelerator.wait_for_everyone()  # the first to end would have the launcher end the one that saves
        raise KeyboardInterrupt
