"""The training loop: ``Trainer.run`` trains the ``Task`` of each training command.

A step depends only on the recipe, its number, and the saved state: batches are numbered, dropout and permutations are
drawn from generators seeded by the step, and the learning rate is a function of it. So a killed run resumes with the
same losses, bit for bit on a CPU. A run with a time limit (``run.seconds``) resumes with the time that was left.
"""

from __future__ import annotations

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
from dptr.training.device import best_precision, copy_buffers
from dptr.training.ema import averaged_weights, init_average, update_average
from dptr.training.interruption import Interruption
from dptr.training.logger import Log
from dptr.training.optimization import Losses, Optimization
from dptr.training.optimizer import one_cycle
from dptr.training.restart import note_launch
from dptr.training.state import RECIPE, Progress, compare_data, copy_state, restore_state, write_state
from dptr.training.state_writer import StateWriter
from dptr.training.task import Share, Task
from dptr.utils.errors import UserError
from dptr.utils.files import lock_folder, read_json, write_json

if TYPE_CHECKING:
    from accelerate import Accelerator


class Trainer:
    """A training run in the folder ``out``; it resumes from its last saved state, if there is one.

    Args:
        out: the caller has checked it with ``dptr.training.state.check_out``.
        recipe: saved as ``out/recipe.json``.
        task: see ``Task``.
        notes: lines for the log at the start.

    Raises:
        UserError: see ``restore_state``.

    Attributes:
        progress: step and best scores; saved with the state.
        ema: the exponential moving average of the objective's state; None if it is off.
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
        self.out, self.run_config, self.optim, self.accelerator, self.task = out, run, optim, accelerator, task
        self.device = accelerator.device
        self.share = Share(accelerator.process_index, accelerator.num_processes)
        self.interruption = Interruption()
        accelerator.wait_for_everyone()  # until all have checked ``out``
        self.optimization = Optimization(out, run, optim, accelerator, task, self.interruption)
        self.module, self.optimizer = self.optimization.module, self.optimization.optimizer
        self.recipe = recipe.model_dump(mode="json")
        if accelerator.is_main_process:
            out.mkdir(parents=True, exist_ok=True)
            with lock_folder(out):
                write_json(out / RECIPE, self.recipe)
                note_launch(out)
        self.ema = init_average(self.module) if optim.ema_decay else None
        self.log = Log(out, run.tensorboard, accelerator.is_main_process, task.unit)
        self.log.say(f"device {accelerator.device.type}, precision {accelerator.mixed_precision}")
        if run.precision == "bf16" and best_precision(run.device) == "no":
            self.log.say(
                "warning: this machine emulates bfloat16, many times slower than float32; set run.precision=auto"
            )
        self.progress = Progress()
        if restore_state(out, self.progress, self.module, self.optimizer, self.ema, accelerator.scaler, task.origins):
            self.log.say(f"{out}: goes on after step {self.progress.step} of {run.steps}")
        self.progress.origins = dict(task.origins)
        self.log.begin(self.progress.step)
        changed = compare_data(self.progress, task.data)
        self.validation_changed = "validation" in changed
        for line in (*changed.values(), *notes):
            self.log.say(line)
        self.started = time.monotonic() - self.progress.seconds
        self.writer = StateWriter()
        self.finished = False  # whether the last step is done

    def run(self) -> None:
        """Train to the last step.

        Raises:
            UserError: a loss or gradient is not finite; what the task raises; another run writes in ``out``; a state
                could not be written.
            KeyboardInterrupt: Ctrl-C or another signal to stop; the state of the current step is saved.
        """
        progress, config, task = self.progress, self.run_config, self.task
        with self.interruption.handle_signals(), self.lock_run_folder(), self.writer.waiting_at_exit(self.log.say):
            if self.validation_changed:
                self.score_best_again()
            if progress.step == 0 and task.validate_first:
                self.validate()
            if self.out_of_patience() or self.seconds_left() == 0:
                return
            with closing(task.batches(progress.step, config.steps, self.share)) as batches:
                for batch in self.until_interrupted(batches):
                    with step_generator(config.seed, progress.step) as generator:
                        tensors, words = task.tensors(batch, progress.step, generator, self.share)
                        loss, others = self.train_step(tensors, words, generator)
                    speed = self.log.progress(progress.step, config.steps, config.batch_size, loss, self.seconds_left())
                    if self.is_due(config.log_every):
                        self.check_folder()
                        row = {name: float(value) for name, value in others.items()}
                        self.log.write(progress.step, {"loss": loss, **row, f"{task.unit}_per_second": round(speed, 1)})
                    if self.is_due(config.validate_every):
                        self.validate()
                    if self.end_step():
                        return

    def until_interrupted(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches. If loading fails because a signal to stop ended the workers too, the state is saved.

        Raises:
            KeyboardInterrupt: a signal to stop ended the workers.
        """
        try:
            yield from batches
        except UserError:
            if not self.interruption.requested or self.share.processes > 1:
                raise
            self.save()
            self.writer.wait()
            raise KeyboardInterrupt from None

    def train_step(self, tensors: dict[str, Tensor], words: Sequence[str], generator: torch.Generator) -> Losses:
        """Update the weights, the EMA, and the progress."""
        rate = self.optim.lr * self.rate_factor()
        loss, others = self.optimization.step(tensors, words, generator, self.progress.step, rate)
        self.progress.step += 1
        if self.ema is not None:
            update_average(self.ema, self.module, self.optim.ema_decay, self.progress.step)
        if self.run_config.seconds:
            self.progress.seconds = time.monotonic() - self.started
        self.finished = self.progress.step == self.run_config.steps or self.seconds_left() == 0
        return loss, others

    def seconds_left(self) -> float | None:
        """What is left of ``run.seconds`` after the last step; None without a time limit."""
        seconds = self.run_config.seconds
        return max(seconds - self.progress.seconds, 0.0) if seconds else None

    def rate_factor(self) -> float:
        """The learning rate's factor: ``one_cycle`` over the steps, or over ``run.seconds``."""
        place, length = self.progress.step, self.run_config.steps
        if self.run_config.seconds:
            self.progress.seconds = time.monotonic() - self.started
            length = 1_000_000
            place = round(length * min(self.progress.seconds / self.run_config.seconds, 1.0))
        return one_cycle(place, length, self.optim.warmup)

    def validate(self) -> None:
        """Validate the present weights; the task saves each model that is better than its best one so far."""
        progress, task = self.progress, self.task
        progress.validations_since_best += 1
        with averaged_weights(self.module, self.ema):
            copy_buffers(self.module)
            for validation in task.validate(progress.step, progress.baseline):
                scores, model = validation.scores, validation.model
                baseline = progress.baseline.setdefault(model, dict(scores))
                if task.is_better(scores, progress.best.get(model, {}), baseline):
                    progress.best[model], progress.validations_since_best = dict(scores), 0
                    if self.accelerator.is_main_process:
                        task.save(validation, progress.step, self.out)
                if validation.message:
                    record = {f"validation_{name}{validation.variant}": score for name, score in scores.items()}
                    self.log.write(progress.step, record)
                    self.log.say(f"step {progress.step}: {validation.message}")

    def score_best_again(self) -> None:
        """Score the best models so far on the present validation crops, with which later states are compared.

        Raises:
            UserError: a model cannot be opened.
        """
        best = self.progress.best
        with averaged_weights(self.module, None):
            for model in list(best):
                validation = self.task.score_saved(model, self.out)
                if validation is None:
                    del best[model]
                    continue
                best[model] = dict(validation.scores)
                self.log.say(f"best state so far{f' ({model})' if model else ''}: {validation.message}")

    def out_of_patience(self) -> bool:
        """Whether the task's patience is used up; if so, say so in the log."""
        count = self.progress.validations_since_best
        if not self.task.patience or count < self.task.patience:
            return False
        self.log.say(f"step {self.progress.step}: nothing better since {count} validation{'s' * (count > 1)}: done")
        return True

    def is_due(self, every: int) -> bool:
        """Whether an action that happens every ``every`` steps, and after the last step, is due now."""
        return self.progress.step % every == 0 or self.finished

    def end_step(self) -> bool:
        """Save the state if that is due or the run ends here; return whether the run is done.

        Raises:
            KeyboardInterrupt: the run was interrupted; its state is saved.
            UserError: this state, or a previous one in the background, could not be written.
        """
        self.writer.check()
        stop = self.interruption.requested if self.share.processes == 1 else self.optimization.any_interrupted
        done = self.out_of_patience()
        if self.is_due(self.run_config.save_every) or stop or done:
            self.save()
        if stop:
            self.writer.wait()
            self.accelerator.wait_for_everyone()  # when one process ends, the launcher ends the one that saves
            raise KeyboardInterrupt
        return done or self.finished

    def save(self) -> None:
        """Write the state of this step in the background; the main process does.

        Raises:
            UserError: the previous state could not be written.
        """
        self.check_folder()
        if self.accelerator.is_main_process:
            self.writer.wait()  # one copy in memory at a time
            state = copy_state(self.progress, self.module, self.optimizer, self.ema, self.accelerator.scaler)
            self.writer.submit(partial(write_state, self.out, state))

    def check_folder(self) -> None:
        """Check that the folder of the run still exists.

        Raises:
            UserError: it was deleted or moved.
        """
        if self.accelerator.is_main_process and not (self.out / RECIPE).is_file():
            raise UserError(f"{self.out}: gone since the run began, deleted or moved; put it back and pass --resume")

    @contextmanager
    def lock_run_folder(self) -> Iterator[None]:
        """Lock the folder against other runs; close the log at the end, however the run ends.

        Raises:
            UserError: another run locked the folder, or wrote its recipe, since ``check_out``.
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
    """A generator for this step; torch's default one, for dropout, gets the same seed and is restored afterwards."""
    step_seed = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]) >> 1
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(step_seed)
        yield torch.Generator().manual_seed(step_seed)
