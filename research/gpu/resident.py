"""Several recognizers further trained at once on a rented GPU, with all crops and all augmentation on it (docs/gpu.md).

    python research/gpu/resident.py --inputs runs/gpu-inputs --work /dev/shm/w --out runs/gpu-resident --seconds 540 \
        --model small=runs/small --model tiny=runs/tiny --model nano=runs/nano
    python research/gpu/resident.py ... --speed     # crops a second by what is trained, eager and as one CUDA graph

Processor cores render words from start to end, and sort the crops into bins of one size and of words of some lengths
(``bins``); each crop goes to the GPU once and stays there. A step draws as many crops of each bin as every other step
(a share of them labeled), augments them (``dptr.data.batch_augment``) and trains every model on them: the first on the
labels, the others on the labels and on the first one's predictions. It is a task of ``dptr.training.trainer``: forward,
backward and update of all models are one CUDA graph, the learning rate follows the clock (``run.seconds``), and
``--resume`` goes on with a run that was cut short.

``--out`` gets a recognizer folder a model, half precision, its best state by validation, and ``log.jsonl``.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from bins import Census, Demand, Plan, plan_bins, sort_into_bins
from objective import WEIGHT, Distillation, orders_as_tensors
from prepare import SETS, Labeled, crop_weights, load_labeled, open_models, synth_recipe, trainer_recipe
from shelf import Bin, Pool, Shelf, begin_census, end_census, make_bin, start_pool
from torch import Tensor

from dptr.config.data import DistillationConfig, InitConfig
from dptr.config.model import ModelConfig, PARSeqConfig
from dptr.config.train import FinetuneRecipe
from dptr.data.batch_augment import augment_batch
from dptr.evaluation.accuracy import Comparison, compare_crops
from dptr.evaluation.calibration import calibrate_on
from dptr.evaluation.metrics import one_minus_ned, validation_protocol, word_accuracy
from dptr.inference.torch_backend import crop_probabilities
from dptr.models.checkpoint import Loaded, open_checkpoint, save_checkpoint
from dptr.models.decoders.permutations import build_sequences, draw_permutations
from dptr.models.recognizer import Recognizer
from dptr.training.cuda_graph import WARM_UP
from dptr.training.device import make_accelerator
from dptr.training.orientation import orient_by_label
from dptr.training.sources import describe_validation
from dptr.training.state import check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError

ORDERS = 256  # sets of permutations, drawn before training
EARLY = 16_000  # crops to wait for
AMONG = 5  # operations of which the crops of one size get theirs in a step: launching all takes longer than the step
TIMED = 25  # steps, with --speed
MEMORY = 0.6  # of what is free, that rendered crops may take
COMPARED = ("word_accuracy", "one_minus_ned")  # scores that choose the best state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, required=True, help="from research/gpu/inputs.py")
    parser.add_argument("--work", type=Path, required=True, help="fonts are unpacked there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER", help="the first one teaches")
    parser.add_argument("--seconds", type=float, default=540, help="of training, all runs of --out together")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--least", type=int, default=24, help="crops of a bin in a batch; rarer sizes join others")
    parser.add_argument("--labeled", type=float, default=0.1, help="share of a batch")
    parser.add_argument("--set-weights", nargs="+", default=[], metavar="NAME=WEIGHT", help="default: square root of n")
    parser.add_argument("--strength", type=float, nargs=2, default=(0.4, 0.8), help="rendered, labeled crops")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--most", type=int, default=2_000_000, help="rendered crops")
    parser.add_argument("--sample", type=int, default=5000, help="of them, that bins are planned by")
    parser.add_argument("--validate", type=int, default=1500, help="steps between validations")
    parser.add_argument("--save", type=int, default=2000, help="steps between saved states")
    parser.add_argument("--recipe", default="mixed", choices=("mixed", "signs"), help="of recipes/synth")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="of that recipe")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu"))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    try:
        train(options)
    except UserError as error:
        print(f"resident: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"resident: interrupted; the same command with --resume goes on in {options.out}", file=sys.stderr)
        sys.exit(130)


def train(options: argparse.Namespace) -> None:
    """Render, train, write the models; or measure speeds.

    Raises:
        UserError: models that do not go together, inputs that are missing, what training raises.
    """
    models = open_models(options.model)
    first = next(loaded for _, loaded in models.values())
    charset = first.tokenizer.charset
    synth = synth_recipe(options, first.config, charset)
    with start_pool(synth, options.workers) as pool:
        counted = begin_census(pool, options.sample)
        labeled = load_labeled(options.inputs, options.set_weights, first.config, charset)
        recipe = trainer_recipe(options, first.config, synth, labeled.weights)
        if not options.speed:
            check_out(options.out, recipe, options.resume)
        accelerator = make_accelerator(recipe.run)
        torch.backends.cudnn.benchmark = len(synth.size.every) == 1  # else it would try for each size of each batch
        task = ResidentTask(options, models, recipe, labeled, end_census(counted), accelerator.device)
        task.start_rendering(pool)
        try:
            task.wait_for_crops()
            if options.speed:
                measure_speeds(options, recipe, task)
            else:
                Trainer(options.out, recipe, recipe.run, recipe.optim, accelerator, task, task.notes).run()
        finally:
            task.stop_rendering()


class ResidentTask(Task):
    """Several recognizers on batches that are drawn and augmented on the device; see ``dptr.training.task.Task``."""

    unit = "crops"
    capturable = True
    validate_first = True

    def __init__(
        self, options: argparse.Namespace, models: Mapping[str, tuple[str, Loaded]], recipe: FinetuneRecipe,
        labeled: Labeled, rendered: Census, device: torch.device,
    ):  # fmt: skip
        self.options, self.recipe, self.device, self.weights = options, recipe, device, labeled.weights
        self.folders = {name: folder for name, (folder, _) in models.items()}
        self.models = {name: loaded.model.to(device) for name, (_, loaded) in models.items()}
        self.first, first = next(iter(models)), next(loaded for _, loaded in models.values())
        self.config, self.tokenizer = first.config, first.tokenizer
        self.protocol = validation_protocol(self.tokenizer.charset)
        self.generator = torch.Generator().manual_seed(options.seed)  # of augmentation
        self.noise = torch.Generator(device).manual_seed(options.seed)
        self.validation = labeled.validation
        self.crops, turned = orient_by_label(labeled.crops, self.models[self.first], self.tokenizer, device)
        self.notes = [*labeled.notes, *turned]
        self.plan = self.make_plan(rendered)
        self.bins = self.make_bins()
        self.orders: list[list[dict[str, Tensor]]] = []
        self.compared: list[Comparison] = []  # of the model that was judged last
        self.shelf = Shelf(self.bins, options.most)
        self.filler: threading.Thread | None = None
        for model in self.models.values():
            model.train().requires_grad_(True)
        self.choose_models(self.models)
        self.capture_lock = self.shelf.lock

    def choose_models(self, models: Mapping[str, Recognizer]) -> None:
        """Train these."""
        self.objective = Distillation(models, self.plan.rows)
        self.parts = [(model, 1.0) for model in models.values()]
        self.clipped_apart = list(models.values())

    def make_plan(self, rendered: Census) -> Plan:
        """Bins for the sample and the labeled crops.

        Raises:
            UserError: they do not fit into the device's memory; see ``plan_bins``.
        """
        options, sizes = self.options, self.config.encoder.crop_size
        every = [(int(height), int(width)) for height, width in self.crops.sizes()]
        weights = crop_weights(self.crops, self.weights)
        labeled = Census(every, [len(label) for label in self.crops.labels], weights)
        demand = Demand(options.batch, options.labeled, options.least, options.most)
        plan = plan_bins(sizes, self.config.max_length, rendered, labeled, demand)
        self.notes.append(f"crops of a step, by size and length: {', '.join(map(str, plan.bins))}")
        self.notes.append(f"{plan.room_bytes / 1e9:.1f} GB for rendered crops")
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if plan.room_bytes > MEMORY * free:
                raise UserError(
                    f"--most {options.most}: {plan.room_bytes / 1e9:.1f} GB of rendered crops are more than "
                    f"{MEMORY:.0%} of the {free / 1e9:.1f} GB that are free; lower it"
                )
        return plan

    def make_bins(self) -> list[Bin]:
        """The bins, with the labeled crops in them."""
        arrays = [self.crops.arrays[row] for row in range(len(self.crops))]
        parcels, too_long = sort_into_bins(self.plan, self.tokenizer, arrays, self.crops.labels)
        by_number = {parcel.number: parcel for parcel in parcels}
        weights = crop_weights(self.crops, self.weights)
        self.notes.append(
            f"{len(self.crops) - len(too_long)} labeled crops for training, {len(too_long)} left out as too long for "
            f"their size, {len(self.validation)} for validation"
        )
        return [make_bin(plan, by_number.get(n), weights, self.device) for n, plan in enumerate(self.plan.bins)]

    def draw_orders(self, number: int, bin: Bin) -> list[dict[str, Tensor]]:
        """``ORDERS`` sets of permutations for words of a bin, on the device."""
        drawer = torch.Generator().manual_seed(self.options.seed)
        assert isinstance(self.config.decoder, PARSeqConfig)
        count = self.config.decoder.permutations
        drawn = (build_sequences(draw_permutations(bin.plan.longest, count, drawer)) for _ in range(ORDERS))
        return [orders_as_tensors(orders.to(self.device), number) for orders in drawn]

    def start_rendering(self, pool: Pool) -> None:
        """In the pool's processes, until there are enough crops or ``stop_rendering``; meanwhile orders are drawn."""
        self.filler = self.shelf.start(pool, self.plan, self.tokenizer)
        self.orders = [self.draw_orders(number, bin) for number, bin in enumerate(self.bins)]

    def stop_rendering(self) -> None:
        self.shelf.stopped = True
        if self.filler is not None:
            self.filler.join(30)

    def wait_for_crops(self) -> None:
        """For the first rendered ones, some in each bin.

        Raises:
            UserError: all are rendered, and a bin has neither these nor labeled ones.
        """
        assert self.filler is not None
        while self.filler.is_alive():
            if self.shelf.count >= EARLY and all(bin.count >= bin.plan.rows for bin in self.bins):
                break
            time.sleep(0.5)
        self.shelf.check()
        for bin in self.bins:
            if not bin.count and not len(bin.labeled):
                raise UserError(f"--most {self.options.most}: no crop of {bin.plan} among them; raise it, or --least")

    def batches(self, first: int, last: int, share: Share) -> Generator[None, None, None]:
        for step in range(first, last):
            if step % 20 == 0:
                self.shelf.check()
            yield None

    def tensors(
        self, batch: None, step: int, generator: torch.Generator, share: Share
    ) -> tuple[dict[str, Tensor], list[str]]:
        """A batch drawn from the crops that are on the device, augmented there."""
        tensors: dict[str, Tensor] = {}
        weak, strong = self.options.strength
        for size, numbers in enumerate(self.plan.groups):
            crops, strengths = [], []
            for number in numbers:
                bin = self.bins[number]
                labeled = bin.labeled_rows(self.generator)
                drawn, tensors[f"targets-{number}"] = bin.draw(labeled, self.noise)
                crops.append(drawn)
                strengths += [torch.full((labeled,), strong), torch.full((bin.plan.rows - labeled,), weak)]
                tensors |= self.orders[number][step % ORDERS]
            among = AMONG if len(self.bins) > AMONG else 0
            tensors[f"pixels-{size}"] = augment_batch(
                torch.cat(crops), torch.cat(strengths), self.generator, self.noise, among
            )
        return tensors, []

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        for name, model in self.models.items():
            recognize = partial(crop_probabilities, model, device=self.device)
            self.compared = list(compare_crops(self.validation, self.tokenizer, recognize, self.protocol))
            scores = self.score()
            read = ", ".join(f"{scores[each]:.1%} of {each}" for each in SETS if each in scores)
            message = f"{name} reads {scores['word_accuracy']:.1%} on average, {read}; {self.shelf}"
            yield Validation(scores, message, name, f"_{name}")

    def score(self) -> Scores:
        """Word accuracy and 1-NED, the means over the sets, for each counts alike; and word accuracy of each set."""
        pairs: dict[str, list[tuple[str, str]]] = {}
        for each in self.compared:
            pairs.setdefault(SETS[self.validation.sources[each.index]], []).append((each.prediction, each.truth))
        accuracies = {name: word_accuracy(some) for name, some in pairs.items()}
        nearness = float(np.mean([one_minus_ned(some) for some in pairs.values()]))
        return {"word_accuracy": float(np.mean(list(accuracies.values()))), "one_minus_ned": nearness, **accuracies}

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return not best or [scores[key] for key in COMPARED] > [best[key] for key in COMPARED]

    def save(self, validation: Validation, step: int, out: Path) -> None:
        name = validation.model
        model, folder = self.models[name], self.folders[name]
        checkpoint = open_checkpoint(folder)
        config = checkpoint.config
        assert isinstance(config, ModelConfig)
        about = {"data": "validation part", "protocol": self.protocol, "step": step, "n": len(self.validation)}
        used = [f"labeled crops: {', '.join(self.recipe.data.train)}", f"rendered words: {self.shelf.count:,} crops"]
        recipe = self.recipe.model_copy(update={"model": config, "init": InitConfig(model=folder)})
        if name != self.first:
            used.append(f"what {self.first} read of them")
            teacher = DistillationConfig(model=self.folders[self.first], weight=WEIGHT, temperature=1.0)
            recipe = recipe.model_copy(update={"distillation": teacher})
        calibration = calibrate_on(self.compared, self.tokenizer, self.protocol, self.validation.sources)
        card = {
            "name": name,
            "kind": "recognizer",
            "trained_on": used,
            "validation": describe_validation(self.recipe.data),
            "recipe": recipe.model_dump(mode="json"),
            "results": [{**about, **validation.scores}],
            **calibration.to_card(),
        }
        save_checkpoint(
            out / name, "recognizer", model, config, checkpoint.charset, checkpoint.dual, card, half=True,
            temperature=calibration.temperature,
        )  # fmt: skip


def measure_speeds(options: argparse.Namespace, recipe: FinetuneRecipe, task: ResidentTask) -> None:
    """Crops a second by what is trained, beside rendering, as a graph and eager; printed."""
    print("\n".join(task.notes), flush=True)
    sets = [dict(list(task.models.items())[: n + 1]) for n in range(len(task.models))]
    for graph, some in ((True, sets), (False, sets[-1:])):
        for models in some:
            task.choose_models(models)
            run = recipe.run.model_copy(update={"cuda_graph": graph})
            out = options.out / "speed"
            out.mkdir(parents=True, exist_ok=True)
            trainer = Trainer(out, recipe, run, recipe.optim, make_accelerator(run), task)
            generator = torch.Generator()
            for step in range(WARM_UP + 2):
                trainer.train_step(task.tensors(None, step, generator, Share())[0], [], generator)
            began = time.monotonic()
            for step in range(TIMED):
                trainer.train_step(task.tensors(None, step, generator, Share())[0], [], generator)
            loss = float(trainer.optimization.backward(task.tensors(None, 0, generator, Share())[0], generator)[0])
            rate = TIMED * options.batch / (time.monotonic() - began)
            if not math.isfinite(loss):
                raise UserError(f"loss {loss}; measure again with a lower --lr")
            print(f"{'graph' if graph else 'eager'} {', '.join(models)}: {rate:,.0f} crops a second", flush=True)


if __name__ == "__main__":
    main()
