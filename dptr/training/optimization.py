"""One training step: the gradient over micro-batches and processes, clipping, and the optimizer's update."""

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

Losses = tuple[float, dict[str, Tensor]]  # the loss over all processes, and the other losses of this process


class Optimization:
    """Training steps on a task's objective.

    Args:
        out: folder for a batch whose loss or gradient is not finite.
        interruption: of this process; the others learn of it when losses are reduced.

    Attributes:
        module: the objective; ``prepared`` is accelerate's wrapper of it.
        any_interrupted: whether any process was interrupted by the last step's reduction of losses.

    Raises:
        UserError: settings of ``run`` that the task does not support.
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
        self.last_loss = math.nan  # the last that was copied from the GPU
        self.any_interrupted = False

    def step(
        self,
        tensors: dict[str, Tensor],
        words: Sequence[str],
        generator: torch.Generator,
        number: int,
        rate: float,
    ) -> Losses:
        """Compute the gradient of a batch and update the weights.

        Args:
            words: of the batch, for error reports.
            number: of the step, counted from 0.
            rate: the learning rate, multiplied by the factor of each part.

        Raises:
            UserError: the loss or its gradient is not finite. All processes raise it; the batch is saved in ``out``
                first, and the weights do not change. Also see ``backward``.
        """
        self._set_learning_rate(rate)
        if self.captured is not None:
            return self._replay(tensors, words, number)
        loss, others = self.backward(tensors, generator)
        if not math.isfinite(loss):
            raise self._not_finite(f"loss is {loss}", tensors, words, number)
        norm = self._clip()
        if self.accelerator.scaler is None and not torch.isfinite(norm):  # a scaler skips such steps itself
            what = f"loss is {loss:.4g}, its gradient's norm {norm.item()}"
            raise self._not_finite(what, tensors, words, number)
        self.optimizer.step()
        self._zero_grad()
        return loss, others

    def backward(self, tensors: dict[str, Tensor], generator: torch.Generator) -> Losses:
        """Compute the gradient of the task's ``loss``.

        With ``run.gradient_accumulation_steps`` above 1, the batch is computed in that many parts, so that it need not
        fit in memory. The gradient is that of the whole batch: each part is weighted by its terms, and draws the same
        permutations (PARSeq) from the generator. Dropout masks differ between parts; batch norm sees one part.

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
        all_terms = self.accelerator.reduce(torch.tensor(float(sum(weights)), device=self.device), "sum").item()
        state, total = generator.get_state(), 0.0
        for number, (part, weight) in enumerate(zip(parts, weights, strict=True), 1):
            generator.set_state(state)
            with nullcontext() if number == count else self.accelerator.no_sync(self.prepared):
                with self.accelerator.autocast():
                    loss = self.prepared(**part, generator=generator)["loss"]
                total += weight * loss.item()
                self.accelerator.backward(weight * self.share.processes / all_terms * loss)
        value, _ = self._reduce(total / sum(weights), sum(weights))
        return value, {}

    def _reduce(self, loss: float, terms: float) -> tuple[float, float]:
        """The loss over all processes, and the weight of this one's loss; also sets ``any_interrupted``.

        Processes are weighted by their terms, so that they step as one process with all samples would. A signal that
        arrives after this reduction takes effect at the next step: otherwise the other processes would wait in vain.
        """
        processes = self.share.processes
        if processes == 1:
            return loss, 1.0
        interrupted = float(self.interruption.requested)
        local = torch.tensor([loss * terms, terms, interrupted], dtype=torch.float64, device=self.device)
        total, all_terms, interruptions = self.accelerator.reduce(local, "sum").tolist()
        self.any_interrupted = interruptions > 0
        return total / all_terms, terms * processes / all_terms

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * group["factor"])
            else:
                group["lr"] = rate * group["factor"]

    def _clip(self) -> Tensor:
        """Clip the gradient, or that of each module in ``clipped_apart``; return the largest norm before clipping."""
        modules = self.task.clipped_apart or [self.prepared]
        norms = [self.accelerator.clip_grad_norm_(part.parameters(), self.optim.grad_clip) for part in modules]
        return torch.stack(norms).max()

    def _zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def _compute(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Forward, backward, and update without reading the losses, for a CUDA graph."""
        losses = self.prepared(**tensors, generator=None)
        losses["loss"].backward()
        self._clip()
        self.optimizer.step()
        self._zero_grad()
        return {name: loss.detach() for name, loss in losses.items()}

    def _replay(self, tensors: dict[str, Tensor], words: Sequence[str], number: int) -> Losses:
        """A step as a CUDA graph. The loss is read, which waits for the GPU, only in steps that are logged."""
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
        """Save the batch in ``out`` and return the error to raise."""
        rank = f"-{self.share.rank}" if self.share.processes > 1 else ""
        path = unused_name(self.out / f"nan-step-{number}{rank}.safetensors")
        metadata = {"words": json.dumps(list(words))}
        save_tensors(path, {name: tensor.cpu() for name, tensor in tensors.items()}, metadata)
        return UserError(
            f"{what} in step {number}; the batch is saved as {path}; train anew into another --out with a "
            "lower optim.lr or optim.grad_clip, or with run.precision=no"
        )
