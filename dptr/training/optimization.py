"""How one step of a training changes the weights: gradient over parts and processes, clipping, optimizer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dptr.config.train import OptimConfig, RunConfig
from dptr.models.layers import Layer
from dptr.training.batch_norm import synchronize_batch_norms
from dptr.training.cuda_graph import CapturedStep
from dptr.training.interruption import Interruption
from dptr.training.optimizer import make_optimizer
from dptr.training.shared_rows import SharedRows
from dptr.training.task import Share, Task
from dptr.utils.errors import UserError
from dptr.utils.files import unused_name
from dptr.utils.tensors import save_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator

Losses = tuple[float, dict[str, Tensor]]  # the loss over all processes, and this one's other losses


class Optimization:
    """Steps of a task's objective.

    Args:
        out: where a batch is saved whose loss or gradient is not finite.
        interruption: an interrupted process tells the others when they put their losses together.

    Attributes:
        module: the objective; ``prepared`` is what accelerate made of it.
        all_interrupted: any process was, when the losses of the last step were put together.

    Raises:
        UserError: settings of ``run`` that the task cannot follow.
    """

    def __init__(
        self,
        out: Path,
        run: RunConfig,
        optim: OptimConfig,
        accelerator: Accelerator,
        task: Task,
        interruption: Interruption,
    ):
        if run.gradient_accumulation_steps > 1 and not task.splittable:
            raise UserError(
                f"run.gradient_accumulation_steps = {run.gradient_accumulation_steps}: this command takes batches "
                "whole; set it to 1"
            )
        self.out, self.run, self.optim, self.accelerator, self.task = out, run, optim, accelerator, task
        self.interruption, self.device = interruption, accelerator.device
        self.share = Share(accelerator.process_index, accelerator.num_processes)
        for layer in task.objective.modules():
            if isinstance(layer, Layer):
                layer.recompute = run.activation_checkpointing
                if run.compile:
                    layer.compile(dynamic=True)  # in place: names of parameters stay
        if run.sync_batch_norm and self.share.processes > 1:
            synchronize_batch_norms(task.objective, self.device)
        optimizer = make_optimizer(task.parts, optim, fused=True)
        for part in task.objective.modules():
            if isinstance(part, SharedRows):
                part.attach(optimizer)
        self.captured: CapturedStep | None = None
        if run.cuda_graph and self.device.type == "cuda":
            if not task.capturable or run.gradient_accumulation_steps > 1 or self.share.processes > 1:
                raise UserError(
                    "run.cuda_graph: this training's steps are no single graph of one process; set it to false"
                )
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(optim.lr, device=self.device)
                group["capturable"] = True
            self.captured = CapturedStep(self._compute, self._zero_grad, task.capture_lock)
        self.prepared, self.optimizer = accelerator.prepare(task.objective, optimizer)
        self.module = accelerator.unwrap_model(self.prepared)
        self.last_loss = math.nan  # that was looked at
        self.all_interrupted = False

    def step(
        self,
        tensors: dict[str, Tensor],
        words: Sequence[str],
        generator: torch.Generator,
        number: int,
        rate: float,
    ) -> Losses:
        """One step.

        Args:
            words: of the batch, for an error.
            number: steps before this one.
            rate: the learning rate, by which each part's factor is multiplied.

        Raises:
            UserError: the loss or its gradient is not finite; the batch is saved beside the run first, the weights
                stay as they were. All processes raise it together. Or ``backward`` raises it.
        """
        self._set_learning_rate(rate)
        if self.captured is not None:
            return self._replay(tensors, words, number)
        loss, others = self.backward(tensors, generator)
        if not math.isfinite(loss):
            raise self._not_finite(f"loss is {loss}", tensors, words, number)
        norm = self._clip()
        if self.accelerator.scaler is None and not torch.isfinite(norm):  # a scaler skips such steps by itself
            what = f"loss is {loss:.4g}, its gradient's norm {norm.item()}"
            raise self._not_finite(what, tensors, words, number)
        self.optimizer.step()
        self._zero_grad()
        return loss, others

    def backward(self, tensors: dict[str, Tensor], generator: torch.Generator) -> Losses:
        """Compute the gradient of the task's ``loss``.

        With ``run.gradient_accumulation_steps`` parts, so that a batch need not fit in memory: the gradient is the
        whole batch's, as several processes' is. Each part counts by its terms, and draws what is drawn for the batch
        (PARSeq's orders) from the same generator. Dropout's masks differ; batch norm sees a part.

        Raises:
            UserError: fewer samples than parts.
        """
        count = self.run.gradient_accumulation_steps
        if count == 1:
            with self.accelerator.autocast():
                losses = self.prepared(**tensors, generator=generator)
            loss = losses.pop("loss")
            value, weight = self._reduce(loss.item(), self.task.term_count(tensors))
            if math.isfinite(value):
                self.accelerator.backward(weight * loss)
            return value, losses
        samples = len(next(iter(tensors.values())))
        if samples < count:
            raise UserError(
                f"run.gradient_accumulation_steps = {count}: {samples} samples a process, which is less; lower it, or "
                "raise run.batch_size"
            )
        cut = {name: tensor.tensor_split(count) for name, tensor in tensors.items()}
        parts = [{name: pieces[number] for name, pieces in cut.items()} for number in range(count)]
        weights = [self.task.term_count(part) for part in parts]
        everything = self.accelerator.reduce(torch.tensor(float(sum(weights)), device=self.device), "sum").item()
        state, total = generator.get_state(), 0.0
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True), 1):
            generator.set_state(state)
            with nullcontext() if number == count else self.accelerator.no_sync(self.prepared):
                with self.accelerator.autocast():
                    loss = self.prepared(**part, generator=generator)["loss"]
                total += weight * loss.item()
                self.accelerator.backward(weight * self.share.processes / everything * loss)
        value, _ = self._reduce(total / sum(weights), sum(weights))
        return value, {}

    def _reduce(self, loss: float, terms: float) -> tuple[float, float]:
        """The loss over all processes, and the weight of this one's; an interrupted one tells the others.

        A process with longer words counts more: together they step as one process with all samples does. What comes to
        one of them later in the step waits for the next one, or the others would wait for it in vain.
        """
        processes = self.share.processes
        if processes == 1:
            return loss, 1.0
        stopped = float(self.interruption.came)
        mine = torch.tensor([loss * terms, terms, stopped], dtype=torch.float64, device=self.device)
        total, everything, stop = self.accelerator.reduce(mine, "sum").tolist()
        self.all_interrupted = stop > 0
        return total / everything, terms * processes / everything

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * group["factor"])
            else:
                group["lr"] = rate * group["factor"]

    def _clip(self) -> Tensor:
        """Clip the gradient, or those of the modules that are clipped apart; the largest norm before."""
        modules = self.task.clipped_apart or [self.prepared]
        norms = [self.accelerator.clip_grad_norm_(part.parameters(), self.optim.grad_clip) for part in modules]
        return torch.stack(norms).max()

    def _zero_grad(self) -> None:
        """Free the gradients."""
        self.optimizer.zero_grad()

    def _compute(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Forward to update without a look at the losses, for a CUDA graph."""
        losses = self.prepared(**tensors, generator=None)
        losses["loss"].backward()
        self._clip()
        self.optimizer.step()
        self._zero_grad()
        return {name: loss.detach() for name, loss in losses.items()}

    def _replay(self, tensors: dict[str, Tensor], words: Sequence[str], number: int) -> Losses:
        """A step as a CUDA graph. Losses are looked at, which waits for the GPU, where they are logged."""
        assert self.captured is not None
        losses = dict(self.captured(tensors))
        loss = losses.pop("loss")
        if (number + 1) % self.run.log_every:
            return self.last_loss, losses
        self.last_loss = loss.item()
        if not math.isfinite(self.last_loss):
            raise self._not_finite(f"loss is {self.last_loss}", tensors, words, number)
        return self.last_loss, losses

    def _not_finite(self, what: str, tensors: dict[str, Tensor], words: Sequence[str], number: int) -> UserError:
        """The error to raise, the batch saved beside the run."""
        rank = f"-{self.share.rank}" if self.share.processes > 1 else ""
        path = unused_name(self.out / f"nan-step-{number}{rank}.safetensors")
        held_words = {"words": json.dumps(list(words))}
        save_tensors(path, {name: tensor.cpu() for name, tensor in tensors.items()}, held_words)
        return UserError(
            f"{what} in step {number}; the batch is saved as {path}; train anew into another --out with a "
            "lower optim.lr or optim.grad_clip, or with run.precision=no"
        )
