"""The training loop: every command of ``dptr`` that trains is a ``Task`` that ``Trainer.run`` drives.

Everything a step depends on is a function of (recipe, step) or lies in the saved state: batches are numbered, dropout
and permutations are drawn from generators seeded by the step, the learning rate is a formula of it. So a run that was
killed goes on with the same losses, bit for bit on a CPU. A run that follows the clock (``run.seconds``) goes on with
what was left of its time.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dptr.config.model import Config
from dptr.config.train import OptimConfig, RunConfig
from dptr.models.layers import Layer
from dptr.training.batch_norm import synchronize_batch_norms
from dptr.training.cuda_graph import CapturedStep
from dptr.training.device import best_precision, copy_buffers
from dptr.training.ema import averaged_weights, begin_average, move_average
from dptr.training.interruption import Interruption
from dptr.training.logger import Log
from dptr.training.optimizer import make_optimizer, one_cycle
from dptr.training.restart import note_launch
from dptr.training.shared_rows import SharedRows
from dptr.training.state import RECIPE, Progress, compare_data, copy_state, restore_state, write_state
from dptr.training.state_writer import StateWriter
from dptr.training.task import Share, Task
from dptr.utils.errors import UserError
from dptr.utils.files import lock_folder, read_json, unused_name, write_json
from dptr.utils.tensors import save_tensors

if TYPE_CHECKING:
    from accelerate import Accelerator


class Trainer:
    """One training run in the folder ``out``; continues from its last saved state, if there is one.

    Args:
        out: checked by ``dptr.training.state.check_out`` before.
        recipe: kept in ``out/recipe.json``.
        task: what is trained; see ``Task``.
        notes: lines for the log at the start.

    Attributes:
        progress: the step, the best scores; saved with the state.
        ema: an exponential moving average of the objective's state, or None where it is off.
    """

    def __init__(
        self,
        out: Path,
        recipe: Config,
        run: RunConfig,
        optim: OptimConfig,
        accelerator: Accelerator,
        task: Task,
        notes: Sequence[str] = (),
    ):
        if run.gradient_accumulation_steps > 1 and not task.splittable:
            raise UserError(
                f"run.gradient_accumulation_steps = {run.gradient_accumulation_steps}: this command takes batches "
                "whole; set it to 1"
            )
        self.out, self.run_config, self.optim, self.accelerator, self.task = out, run, optim, accelerator, task
        self.device = accelerator.device
        self.share = Share(accelerator.process_index, accelerator.num_processes)
        accelerator.wait_for_everyone()  # all have checked ``out``
        self.recipe = recipe.model_dump(mode="json")
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            with lock_folder(out):
                write_json(out / RECIPE, self.recipe)
                note_launch(out)
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
            self.captured = CapturedStep(self.compute, self.zero_grad, task.capture_lock)
        self.prepared, self.optimizer = accelerator.prepare(task.objective, optimizer)
        self.module = accelerator.unwrap_model(self.prepared)
        self.ema = begin_average(self.module) if optim.ema_decay else None
        self.log = Log(out, run.tensorboard, accelerator.is_main_process, task.unit)
        self.log.say(f"device {accelerator.device.type}, precision {accelerator.mixed_precision}")
        if run.precision == "bf16" and best_precision(run.device) == "no":
            self.log.say(
                "warning: this machine emulates bfloat16, many times slower than float32; set run.precision=auto"
            )
        self.progress = Progress()
        if restore_state(out, self.progress, self.module, self.optimizer, self.ema, accelerator.scaler):
            self.log.say(f"{out}: goes on after step {self.progress.step} of {run.steps}")
        self.log.begin(self.progress.step)
        for line in (*compare_data(self.progress, task.data), *notes):
            self.log.say(line)
        self.started = time.monotonic() - self.progress.seconds
        self.interruption = Interruption()
        self.writer = StateWriter()
        self.finished = False  # the step before was the last one
        self.last_loss = math.nan  # that was looked at
        self.all_interrupted = False  # any process was, when the losses of the step were put together

    def run(self) -> None:
        """Train to the last step.

        Raises:
            UserError: a loss or gradient is not finite; what the task raises; another run writes in ``out``; a state
                could not be written.
            KeyboardInterrupt: Ctrl-C or another signal to stop; the state of the current step is saved.
        """
        progress, config, task = self.progress, self.run_config, self.task
        with self.interruption.caught(), self.hold_folder(), self.writer.finished(self.log.say):
            if progress.step == 0 and task.validate_first:
                self.validate()
            if self.out_of_patience() or self.seconds_left() == 0:
                return
            with closing(task.batches(progress.step, config.steps, self.share)) as batches:
                for batch in self.unless_stopped(batches):
                    with step_generator(config.seed, progress.step) as generator:
                        tensors, words = task.tensors(batch, progress.step, generator, self.share)
                        loss, others = self.learn(tensors, words, generator)
                    rate = self.log.progress(progress.step, config.steps, config.batch_size, loss, self.seconds_left())
                    if self.due(config.log_every):
                        self.check_folder()
                        row = {name: float(value) for name, value in others.items()}
                        self.log.write(progress.step, {"loss": loss, **row, f"{task.unit}_per_second": round(rate, 1)})
                    if self.due(config.validate_every):
                        self.validate()
                    if self.end_step():
                        return

    def unless_stopped(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches; if none comes because the signal that stops this process ended its workers, the state is saved.

        Raises:
            KeyboardInterrupt: that is so.
        """
        try:
            yield from batches
        except UserError:
            if not self.interruption.came or self.share.processes > 1:
                raise
            self.save()
            self.writer.wait()
            raise KeyboardInterrupt from None

    def learn(
        self, tensors: dict[str, Tensor], words: Sequence[str], generator: torch.Generator
    ) -> tuple[float, dict[str, Tensor]]:
        """One step: ``backward``, ``update``, EMA; returns what ``backward`` does."""
        self.set_learning_rate()
        if self.captured is not None:
            loss, others = self.replay(tensors, words)
        else:
            loss, others = self.backward(tensors, generator)
            self.update(loss, tensors, words)
        self.progress.step += 1
        if self.ema is not None:
            move_average(self.ema, self.module, self.optim.ema_decay, self.progress.step)
        if self.run_config.seconds:
            self.progress.seconds = time.monotonic() - self.started
        self.finished = self.progress.step == self.run_config.steps or self.seconds_left() == 0
        return loss, others

    def seconds_left(self) -> float | None:
        """Of ``run.seconds``, as of the last step; None where steps alone end the run."""
        seconds = self.run_config.seconds
        return max(seconds - self.progress.seconds, 0.0) if seconds else None

    def set_learning_rate(self) -> None:
        """One cycle over the steps, or over ``run.seconds``."""
        place, length = self.progress.step, self.run_config.steps
        if self.run_config.seconds:
            self.progress.seconds = time.monotonic() - self.started
            length = 1_000_000
            place = round(length * min(self.progress.seconds / self.run_config.seconds, 1.0))
        factor = one_cycle(place, length, self.optim.warmup)
        for group in self.optimizer.param_groups:
            rate = self.optim.lr * group["factor"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def compute(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Forward to update without a look at the losses, for a CUDA graph."""
        losses = self.prepared(**tensors, generator=None)
        losses["loss"].backward()
        self.clip()
        self.optimizer.step()
        self.zero_grad()
        return {name: loss.detach() for name, loss in losses.items()}

    def replay(self, tensors: dict[str, Tensor], words: Sequence[str]) -> tuple[float, dict[str, Tensor]]:
        """A step as a CUDA graph. Losses are looked at, which waits for the GPU, where they are logged.

        Raises:
            UserError: a loss is not finite.
        """
        assert self.captured is not None
        losses = dict(self.captured(tensors))
        loss = losses.pop("loss")
        if (self.progress.step + 1) % self.run_config.log_every:
            return self.last_loss, losses
        self.last_loss = loss.item()
        if not math.isfinite(self.last_loss):
            raise self.not_finite(f"loss is {self.last_loss}", tensors, words)
        return self.last_loss, losses

    def clip(self) -> Tensor:
        """Clip the gradient, or those of the modules that are clipped apart; the largest norm before."""
        modules = self.task.clipped_apart or [self.prepared]
        norms = [self.accelerator.clip_grad_norm_(part.parameters(), self.optim.grad_clip) for part in modules]
        return torch.stack(norms).max()

    def zero_grad(self) -> None:
        """Free the gradients."""
        self.optimizer.zero_grad()

    def backward(self, tensors: dict[str, Tensor], generator: torch.Generator) -> tuple[float, dict[str, Tensor]]:
        """Compute the gradient of the task's ``loss``; returns it over all processes, and this one's other losses.

        With ``run.gradient_accumulation_steps`` parts, so that a batch need not fit in memory: the gradient is the
        whole batch's, as several processes' is. Each part counts by its terms, and draws what is drawn for the batch
        (PARSeq's orders) from the same generator. Dropout's masks differ; batch norm sees a part.

        Raises:
            UserError: fewer samples than parts.
        """
        count = self.run_config.gradient_accumulation_steps
        if count == 1:
            with self.accelerator.autocast():
                losses = self.prepared(**tensors, generator=generator)
            loss = losses.pop("loss")
            value, weight = self.reduce(loss.item(), self.task.term_count(tensors))
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
        value, _ = self.reduce(total / sum(weights), sum(weights))
        return value, {}

    def reduce(self, loss: float, terms: float) -> tuple[float, float]:
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

    def update(self, loss: float, tensors: dict[str, Tensor], words: Sequence[str]) -> None:
        """Clip the gradient, step.

        Raises:
            UserError: the loss or its gradient is not finite; the batch is saved beside the run first, the weights
                stay as they were. All processes raise it together.
        """
        if not math.isfinite(loss):
            raise self.not_finite(f"loss is {loss}", tensors, words)
        norm = self.clip()
        if self.accelerator.scaler is None and not torch.isfinite(norm):  # a scaler skips such steps by itself
            raise self.not_finite(f"loss is {loss:.4g}, its gradient's norm {norm.item()}", tensors, words)
        self.optimizer.step()
        self.zero_grad()

    def not_finite(self, what: str, tensors: dict[str, Tensor], words: Sequence[str]) -> UserError:
        """The error to raise, the batch saved beside the run."""
        rank = f"-{self.share.rank}" if self.share.processes > 1 else ""
        path = unused_name(self.out / f"nan-step-{self.progress.step}{rank}.safetensors")
        held_words = {"words": json.dumps(list(words))}
        save_tensors(path, {name: tensor.cpu() for name, tensor in tensors.items()}, held_words)
        return UserError(
            f"{what} in step {self.progress.step}; the batch is saved as {path}; train anew into another --out with a "
            "lower optim.lr or optim.grad_clip, or with run.precision=no"
        )

    def validate(self) -> None:
        """Judge the state; the task saves each model that is better than its best one before."""
        progress, task = self.progress, self.task
        progress.validations_since_best += 1
        with averaged_weights(self.module, self.ema):
            copy_buffers(self.module)
            for found in task.validate(progress.step, progress.baseline):
                scores, best = found.scores, progress.best.get(found.model, {})
                baseline = progress.baseline.setdefault(found.model, dict(scores))
                if task.is_better(scores, best, baseline):
                    progress.best[found.model], progress.validations_since_best = dict(scores), 0
                    if self.accelerator.is_main_process:
                        task.save(found, progress.step, self.out)
                if found.message:
                    named = {f"validation_{name}{found.variant}": score for name, score in scores.items()}
                    self.log.write(progress.step, named)
                    self.log.say(f"step {progress.step}: {found.message}")

    def out_of_patience(self) -> bool:
        """Whether no better state came for as many validations as the task waits for; says so."""
        waited = self.progress.validations_since_best
        if not self.task.patience or waited < self.task.patience:
            return False
        self.log.say(f"step {self.progress.step}: nothing better since {waited} validation{'s' * (waited > 1)}: done")
        return True

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and after the last one, happens now."""
        return self.progress.step % every == 0 or self.finished

    def end_step(self) -> bool:
        """Save the state where that is due, or the run ends here; whether the task's patience is over.

        Raises:
            KeyboardInterrupt: the run was interrupted; its state is saved.
            UserError: a state could not be written, this one or, while training went on, one before.
        """
        self.writer.check()
        stop = self.interruption.came if self.share.processes == 1 else self.all_interrupted
        done = self.out_of_patience()
        if self.due(self.run_config.save_every) or stop or done:
            self.save()
        if stop:
            self.writer.wait()
            self.accelerator.wait_for_everyone()  # the first to end would have the launcher end the one that saves
            raise KeyboardInterrupt
        return done or self.finished

    def save(self) -> None:
        """Have the state of this step written, from the main process, while training goes on.

        Raises:
            UserError: the one before could not be written.
        """
        self.check_folder()
        if self.accelerator.is_main_process:
            self.writer.wait()  # one copy in memory at a time
            state = copy_state(self.progress, self.module, self.optimizer, self.ema, self.accelerator.scaler)
            self.writer.submit(partial(write_state, self.out, state))

    def check_folder(self) -> None:
        """The folder of the run is still there, else nothing that is trained from now on would be kept.

        Raises:
            UserError: it was deleted, or moved.
        """
        if self.accelerator.is_main_process and not (self.out / RECIPE).is_file():
            raise UserError(f"{self.out}: gone since the run began, deleted or moved; put it back and pass --resume")

    @contextmanager
    def hold_folder(self) -> Iterator[None]:
        """Keep other runs out of the folder; the log is closed at the end, whatever that is.

        Raises:
            UserError: another run got hold of the folder since ``check_out``.
        """
        try:
            with lock_folder(self.out) if self.accelerator.is_main_process else nullcontext():
                if self.accelerator.is_main_process and read_json(self.out / RECIPE, "recipe") != self.recipe:
                    raise UserError(f"{self.out}: another run began in it; pass another --out")
                yield
        finally:
            self.log.close()


@contextmanager
def step_generator(seed: int, step: int) -> Iterator[torch.Generator]:
    """A generator for this step; torch's default one, which dropout draws from, is seeded alike and put back after."""
    drawn = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]) >> 1
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(drawn)
        yield torch.Generator().manual_seed(drawn)
