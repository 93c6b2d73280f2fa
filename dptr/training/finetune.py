"""``dptr finetune``: stage 2, training of the whole recognizer on labeled crops, rendered words, or both.

The decoder can start from stage 1 (DPTR section 3.3), encoder and FMU from a glyph dual encoder, the encoder from the
image tower of CLIP or a similar model, or all parts from a recognizer. Without labeled crops and with
``data.rendered = 1`` it is plain training on rendered words: the control.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dptr.config.data import InitConfig
from dptr.config.train import FinetuneRecipe
from dptr.data.augment import to_pixels
from dptr.data.crops import LabeledCrops
from dptr.data.loader import Batch, batches
from dptr.data.sources import Source
from dptr.evaluation.accuracy import Recognize, Team, score_crops
from dptr.evaluation.calibration import calibrate
from dptr.evaluation.metrics import confidence_protocol, validation_protocol
from dptr.inference.torch_backend import crop_probabilities, crop_probabilities_and_paths
from dptr.models.checkpoint import (
    CHECKPOINT_FILES,
    Checkpoint,
    card_of,
    digest_tensors,
    open_checkpoint,
    save_checkpoint,
)
from dptr.models.decoders.ctc import TokenCTC
from dptr.models.fmu import counting_loss
from dptr.models.loading import load_strictly
from dptr.models.recognizer import Recognizer, build_recognizer
from dptr.text.charset import Charset
from dptr.text.tokenizer import Tokenizer
from dptr.training.device import gather, make_accelerator
from dptr.training.distillation import Teacher, distillation_loss
from dptr.training.epochs import count_steps
from dptr.training.forgetting import (
    describe_forgetting,
    describe_unlimited,
    find_losses,
    load_others,
    sweep_interpolations,
)
from dptr.training.initialize import initialize
from dptr.training.int8 import simulate_int8
from dptr.training.label_order import fit_direction, is_direction_open, set_direction
from dptr.training.narrow import NarrowCrops
from dptr.training.optimizer import Parts
from dptr.training.orientation import orient_by_label
from dptr.training.resolve import resolve_finetune
from dptr.training.shared_rows import SharedRows, decoder_tables, share_rows
from dptr.training.sources import describe_validation, load_finetune_crops
from dptr.training.state import RECIPE, check_out, has_run
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer
from dptr.utils.files import read_json

if TYPE_CHECKING:
    from accelerate import Accelerator


UNLIMITED = "unlimited"  # the state with the best validation accuracy, whatever it forgets: out/model-unlimited
OTHERS = "others_"  # prefix of the names of sets of other crops, in scores and in the log


class FinetuneObjective(nn.Module):
    """The decoder's loss, or that of distillation, plus ``counting`` times the FMU's counting loss.

    With gradient accumulation, the counting loss of each part is weighted by the decoder's terms, not by its symbols.
    """

    def __init__(
        self,
        model: Recognizer,
        tokenizer: Tokenizer,
        teacher: Teacher | None,
        frozen: Sequence[nn.Module] = (),
        counting: float = 0.0,
        shared_rows: SharedRows | None = None,
    ):
        super().__init__()
        self.model = model
        self.shared_rows = shared_rows
        self.pad = tokenizer.pad
        self.counting = counting
        self.teacher = teacher  # not a module, so it is neither trained nor saved
        self.frozen = tuple(part.requires_grad_(False) for part in frozen)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Keep frozen parts in eval mode, so that their batch norms do not update running statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(
        self, pixels: Float[Tensor, "b 3 h w"], targets: Int[Tensor, "b t"], generator: torch.Generator
    ) -> dict[str, Float[Tensor, ""]]:
        tokens, grid = self.model.encoder.with_grid(pixels)
        fmu, decoder = self.model.fmu, self.model.decoder
        memory = tokens if fmu is None else fmu(tokens, grid)
        if self.teacher is None:
            loss = decoder.loss(memory, None, targets, generator)
        else:
            loss = distillation_loss(memory, decoder, self.teacher, pixels, targets, generator)
        if not self.counting:
            return {"loss": loss}
        assert fmu is not None
        characters = (targets != self.pad).sum(1) - 2  # without BOS and EOS
        counting = counting_loss(fmu.density(tokens, grid), characters)
        return {"loss": loss + self.counting * counting, "counting": counting.detach()}


def finetune(recipe: FinetuneRecipe, out: Path, resume: bool = False) -> Path:
    """Train, and write ``out/model``, a recognizer folder.

    The state with the best word accuracy on the validation crops (``validation_protocol``), then the best 1-NED, is
    kept; step 0 is a candidate. With ``recipe.forgetting`` only states that lose at most ``max_loss`` on each set of
    other crops are candidates, and interpolations between the weights of step 0 and of a validation are candidates too
    (``dptr.training.forgetting``).

    Returns:
        The folder of the best recognizer.

    Raises:
        UserError: see ``resolve_finetune``, ``check_out``, ``load_finetune_crops``, ``load_others``, ``initialize``,
            ``Trainer``.
    """
    resolved = resolve_finetune(recipe)
    recipe, charset = resolved.recipe, resolved.charset
    start, teacher = resolved.parts.model, resolved.parts.teacher
    check_out(out, recipe, resume)
    accelerator = make_accelerator(recipe.run)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        model = build_recognizer(recipe.model, len(charset))
    origins = initialize(model, resolved)
    if recipe.int8:
        origins.append(f"{simulate_int8(model)} layers compute in 8 bits")
    if teacher is not None:
        teacher.model.to(accelerator.device)
        origins.append(f"learns from {recipe.distillation.model} too")
    can_read = bool(recipe.init.model) or (resolved.parts.head is not None and isinstance(model.decoder, TokenCTC))
    is_open = is_direction_open(recipe, start.charset if start else None, charset)
    recipe = _begin_direction(recipe, is_open, out)

    def choose_direction(crops: LabeledCrops) -> list[str]:
        nonlocal recipe
        if not can_read or has_run(out):
            return []
        recipe, lines = fit_direction(recipe, crops, model, charset, is_open)
        return lines

    def orient(crops: LabeledCrops) -> tuple[LabeledCrops, list[str]]:
        lines: list[str] = []
        if can_read:
            tokenizer = Tokenizer(charset, recipe.model.max_length, recipe.model.decoder.visual)
            crops, lines = orient_by_label(crops, model, tokenizer, torch.device("cpu"))
        return crops, [*lines, *NarrowCrops.of_model(model, recipe.model.encoder.crop_size).describe(crops)]

    crops = load_finetune_crops(recipe, charset, orient, choose_direction)
    run, step_notes = count_steps(recipe.run, crops.epoch, out)
    recipe = recipe.model_copy(update={"run": run})
    others, other_notes = load_others(recipe, charset)
    parts = [(model.encoder, recipe.encoder_lr_scale), (model.decoder, recipe.decoder_lr_scale)]
    if model.fmu is not None:
        parts.append((model.fmu, recipe.fmu_lr_scale))
    inherited_sources = _read_sources(recipe.init, model)
    task = FinetuneTask(
        recipe, out.name, charset, model, teacher, parts, crops.source, crops.validation, others, resolved.parts.dual,
        inherited_sources, accelerator,
    )  # fmt: skip
    training = {"training": crops.digest} if crops.digest else {}
    task.data = {**training, "validation": crops.validation.digest()}
    kept = start if others else None  # interpolations with it are candidates
    task.origins = {**task.origins, **_digest_recognizers(kept, teacher)}
    notes = [*origins, *crops.notes, *step_notes, *other_notes]
    trainer = Trainer(out, recipe, recipe.run, recipe.optim, accelerator, task, notes)
    trainer.run()
    for line in task.narrow.summary():
        trainer.log.say(line)
    if others:
        _report_forgetting(trainer, task, out)
    if trainer.progress.best[""] == trainer.progress.baseline[""]:
        trainer.log.say(f"no later state was better than step 0, so {out / 'model'} has the weights of the start")
    return out / "model"


def _begin_direction(recipe: FinetuneRecipe, is_open: bool, out: Path) -> FinetuneRecipe:
    """The recipe with the direction that training begins with if it chooses one; a resumed run keeps its own."""
    if has_run(out):
        decoder = read_json(out / RECIPE, "recipe of the run")["model"]["decoder"]
        return set_direction(recipe, decoder.get("direction", ""))
    return set_direction(recipe, "rtl") if is_open and not recipe.model.decoder.visual else recipe


def _read_sources(init: InitConfig, model: Recognizer) -> list[str]:
    """What the initial weights of ``model`` learned from, by the cards of the models that they come from."""
    sources: list[str] = []
    for name in filter(None, (init.model, init.decoder, init.glyph)):
        lines = card_of(name).get("trained_on", [])
        sources += [str(line) for line in lines if line not in sources] if isinstance(lines, list) else []
    if init.encoder:
        with_head = isinstance(model.decoder, TokenCTC) and not init.decoder
        part = "encoder and head" if with_head else "image encoder"
        sources.append(f"{part} of PP-OCRv6_rec_small, whose makers trained it on photographs")
    return sources


def _digest_recognizers(start: Checkpoint | None, teacher: Teacher | None) -> dict[str, str]:
    """Digests of the recognizers that stay in use during training, by role."""
    digests = {}
    if start is not None:
        digests["recognizer (init.model)"] = digest_tensors(start.tensors)
    if teacher is not None:
        digests["recognizer (distillation.model)"] = digest_tensors(teacher.model.state_dict())
    return digests


def _report_forgetting(trainer: Trainer, task: FinetuneTask, out: Path) -> None:
    before, after = (task.other_scores(scores[""]) for scores in (trainer.progress.baseline, trainer.progress.best))
    trainer.log.say(describe_forgetting(before, after))
    _report_unlimited(trainer, task, before, out)


def _report_unlimited(trainer: Trainer, task: FinetuneTask, before: Scores, out: Path) -> None:
    """Log a state that forgot too much but has a better validation accuracy; delete it if its accuracy is no better."""
    folder, best = out / f"model-{UNLIMITED}", trainer.progress.best
    if UNLIMITED not in best:
        return
    accuracy, kept = (best[name]["word_accuracy"] for name in (UNLIMITED, ""))
    if accuracy > kept:
        (result,) = read_json(folder / "card.json", "card")["results"]
        trainer.log.say(describe_unlimited(folder, accuracy, kept, before, task.other_scores(result)))
    elif trainer.accelerator.is_main_process:
        for file in CHECKPOINT_FILES:
            (folder / file).unlink(missing_ok=True)
        with suppress(OSError):  # it is gone, or holds other files
            folder.rmdir()


class FinetuneTask(Task):
    """Training of a recognizer on crops; see ``dptr.training.task.Task``."""

    unit = "crops"
    splittable = True
    validate_first = True

    def __init__(
        self,
        recipe: FinetuneRecipe,
        name: str,
        charset: Charset,
        model: Recognizer,
        teacher: Teacher | None,
        parts: Parts,
        source: Source,
        validation: LabeledCrops,
        others: dict[str, LabeledCrops],
        dual: dict[str, Any],
        inherited_sources: Sequence[str],
        accelerator: Accelerator,
    ):
        self.recipe, self.charset, self.model, self.parts, self.dual = recipe, charset, model, parts, dual
        self.source, self.validation, self.others = source, validation, others
        self.narrow = NarrowCrops.of_model(model, recipe.model.encoder.crop_size)
        self.unlimited_scores: Scores = {}  # of other crops, of the last state that forgot too much
        self.initial_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()} if others else {}
        self.accelerator, self.device = accelerator, accelerator.device
        self.team = Team(accelerator.process_index, accelerator.num_processes, gather)
        self.patience, self.max_loss = recipe.patience, recipe.forgetting.max_loss
        self.tokenizer = Tokenizer(charset, recipe.model.max_length, recipe.model.decoder.visual)
        self.protocol = validation_protocol(charset)
        self.origins = {"charset": charset.digest}
        self.recognize: Recognize = partial(crop_probabilities, model, device=self.device)
        frozen = [part for part, factor in parts if not factor]
        shared_rows = share_rows(decoder_tables(model.decoder), charset, recipe.decomposition, recipe.decoder_lr_scale)
        self.objective = FinetuneObjective(model, self.tokenizer, teacher, frozen, recipe.counting, shared_rows)
        self.sources = self.describe_sources(teacher is not None)
        self.inherited_sources = inherited_sources
        self.card = {
            "name": name,
            "kind": "recognizer",
            "validation": describe_validation(recipe.data),
            "recipe": recipe.model_dump(mode="json"),
        }

    def describe_sources(self, has_teacher: bool) -> list[str]:
        """What this run learns from, for the card."""
        recipe = self.recipe
        sources = ["rendered words"] if recipe.data.rendered else []
        if recipe.data.train:
            folders = ("/".join(Path(path).parts[-2:]) for path in recipe.data.train)
            sources.insert(0, "labeled crops: " + ", ".join(folders))
        if has_teacher:
            sources.append(f"what {Path(recipe.distillation.model).name} reads")
        return sources

    def batches(self, first: int, last: int, share: Share) -> Generator[Batch, None, None]:
        run = self.recipe.run
        return batches(self.source, run.batch_size, first, last, run.workers, share.rank, share.processes)

    def tensors(
        self, batch: Batch, step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        crops, words, _ = batch
        self.narrow.count(crops.shape[2], words)
        targets = torch.from_numpy(self.tokenizer.encode(words)).to(self.device)
        targets = self.accelerator.pad_across_processes(targets, 1, self.tokenizer.pad)
        return {"pixels": to_pixels(crops, self.device), "targets": targets}, words

    def term_count(self, tensors: Mapping[str, Tensor]) -> float:
        return self.model.decoder.term_count(tensors["targets"])

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        if not self.others or not step:
            yield self.evaluate(1.0, baseline)
            return
        for fraction in sweep_interpolations(self.model, self.initial_weights):
            validation = self.evaluate(fraction, baseline)
            yield validation
            scores = validation.scores
            if self.forgotten(scores, baseline.get("", scores)):
                self.unlimited_scores = {OTHERS + name: score for name, score in self.other_scores(scores).items()}
                yield Validation(_without_others(scores), "", UNLIMITED, validation.variant)

    def evaluate(self, fraction: float, baseline: Mapping[str, Scores]) -> Validation:
        """Scores of the present weights on the validation crops and on other crops.

        Args:
            fraction: of the interpolation from the initial weights (0) to the trained ones (1).
        """
        scores = score_crops(self.validation, self.tokenizer, self.recognize, self.protocol, self.team)
        message = f"reads {scores['word_accuracy']:.1%} of {len(self.validation)} validation crops"
        for name, crops in self.others.items():
            accuracy = score_crops(crops, self.tokenizer, self.recognize, self.protocol, self.team)["word_accuracy"]
            scores[OTHERS + name] = accuracy
            message += f", {accuracy:.1%} of {name}"
        if fraction < 1:
            message = f"{fraction:.0%} of the way: {message}"
        if forgotten := self.forgotten(scores, baseline.get("", scores)):
            message += f"; not kept: {', '.join(forgotten)} lost more than forgetting.max_loss={self.max_loss:g}"
        return Validation(scores, message, variant=f"_{fraction:g}" if fraction < 1 else "")

    def score_saved(self, model: str, out: Path) -> Validation | None:
        folder = _model_folder(out, model)
        if model and not folder.exists():  # ``_report_unlimited`` deleted it
            return None
        weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        try:
            load_strictly(self.model, open_checkpoint(folder).tensors, str(folder))
            validation = self.evaluate(1.0, {})
        finally:
            self.model.load_state_dict(weights)
        return replace(validation, scores=_without_others(validation.scores)) if model else validation

    def other_scores(self, scores: Scores) -> Scores:
        """Word accuracy on each set of other crops."""
        return {name: scores[OTHERS + name] for name in self.others if OTHERS + name in scores}

    def forgotten(self, scores: Scores, baseline: Scores) -> list[str]:
        """Names of the sets of other crops on which more than ``max_loss`` is lost."""
        return find_losses(self.other_scores(scores), self.other_scores(baseline), self.max_loss)

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        new, old = (list(_without_others(each).values()) for each in (scores, best))
        return new > old and (not best or not self.forgotten(scores, baseline))

    def save(self, validation: Validation, step: int, out: Path) -> None:
        own = self.sources if step else []
        trained_on = [*own, *(source for source in self.inherited_sources if source not in own)]
        result = {"data": "validation part", "protocol": self.protocol, "step": step, "n": len(self.validation)}
        if self.others:
            result["way"] = float(validation.variant.removeprefix("_") or 1)
        read_with_paths = partial(crop_probabilities_and_paths, self.model, device=self.device)
        calibration = calibrate(self.validation, self.tokenizer, read_with_paths, confidence_protocol(self.charset))
        scores = {**validation.scores, **(self.unlimited_scores if validation.model else {})}
        card = {**self.card, "trained_on": trained_on, "results": [{**result, **scores}], **calibration.to_card()}
        folder = _model_folder(out, validation.model)
        save_checkpoint(
            folder, "recognizer", self.model, self.recipe.model, self.charset, self.dual, card,
            temperature=calibration.temperature,
        )  # fmt: skip


def _model_folder(out: Path, model: str) -> Path:
    """The folder of a model that is kept (``Validation.model``)."""
    return out / (f"model-{model}" if model else "model")


def _without_others(scores: Scores) -> Scores:
    return {name: score for name, score in scores.items() if not name.startswith(OTHERS)}
