"""Several recognizers further trained at once on a rented GPU, with all crops and all augmentation on it (docs/gpu.md).

    python research/gpu/resident.py --inputs runs/gpu-inputs --work /dev/shm/w --out runs/gpu-resident --seconds 540 \
        --model small=models/dptr-en-small --model tiny=dptr-en --model nano=dptr-en-tiny
    python research/gpu/resident.py ... --speed     # crops a second by what is trained, eager and as one CUDA graph

Processor cores render words from start to end; each crop goes to the GPU once and stays there. A step draws a batch of
the crops that are there (a share of them labeled), augments it (``dptr.data.batch_augment``) and trains every model on
it: the first on the labels, the others on the labels and on the first one's predictions. It is a task of
``dptr.training.trainer``: forward, backward and update of all models are one CUDA graph, the learning rate follows the
clock (``run.seconds``), and ``--resume`` goes on with a run that was cut short.

``--out`` gets a recognizer folder a model, half precision, its best state by validation, and ``log.jsonl``.
"""

from __future__ import annotations

import argparse
import math
import sys
import tarfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from objective import WEIGHT, Distillation, orders_as_tensors
from shelf import Bin, Shelf, encoded
from torch import Tensor

from dptr.config.data import DataConfig, DistillationConfig, InitConfig
from dptr.config.load import load_recipe
from dptr.config.model import ModelConfig, PARSeqConfig
from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.train import CropRunConfig, FinetuneRecipe, OptimConfig, SynthRecipe
from dptr.data.batch_augment import augment_batch
from dptr.data.crops import LabeledCrops, load_crops
from dptr.evaluation.accuracy import score_crops
from dptr.evaluation.calibration import calibrate
from dptr.inference.torch_backend import crop_probabilities
from dptr.models.checkpoint import Loaded, load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.decoders.parseq import PARSeq, build_sequences, draw_permutations
from dptr.synth.source import RenderedWords
from dptr.synth.worker import make_source
from dptr.training.cuda_graph import WARM_UP
from dptr.training.device import make_accelerator
from dptr.training.orientation import orient_by_label
from dptr.training.sources import split
from dptr.training.state import check_out
from dptr.training.task import Scores, Share, Task, Validation
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError

TRAIN = ("iiit5k/train", "ic15/train")
SIGNS = Path(__file__).resolve().parents[2] / "recipes" / "synth" / "signs.toml"
SHORT = 8  # characters: shorter words are decoded apart from longer ones, for few tokens of a batch to be padding
ORDERS = 512  # sets of permutations, drawn before training
VALIDATION = 0.1  # of the labeled crops, as ``dptr finetune``
EARLY = 16_000  # crops to wait for
TIMED = 25  # steps, with --speed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, required=True, help="from research/gpu/inputs.py")
    parser.add_argument("--work", type=Path, required=True, help="fonts are unpacked there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER", help="the first one teaches")
    parser.add_argument("--seconds", type=float, default=540, help="of training, all runs of --out together")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--labeled", type=float, default=0.1, help="share of a batch")
    parser.add_argument("--strength", type=float, nargs=2, default=(0.4, 0.8), help="rendered, labeled crops")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--most", type=int, default=2_000_000, help="rendered crops")
    parser.add_argument("--validate", type=int, default=1000, help="steps between validations")
    parser.add_argument("--save", type=int, default=2000, help="steps between saved states")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="of recipes/synth/signs.toml")
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
    synth = synth_recipe(options.inputs, options.work, options.set, options.seed)
    recipe = trainer_recipe(options, next(iter(models.values()))[1].config, synth)
    if not options.speed:
        check_out(options.out, recipe, options.resume)
    accelerator = make_accelerator(recipe.run)
    torch.backends.cudnn.benchmark = True
    sets = [models] if not options.speed else [dict(list(models.items())[: n + 1]) for n in range(len(models))]
    task = ResidentTask(options, sets[-1], synth, accelerator.device)
    task.start_rendering()
    try:
        if options.speed:
            measure_speeds(options, sets, recipe, task)
            return
        task.wait_for_crops()
        Trainer(options.out, recipe, recipe.run, recipe.optim, accelerator, task, task.notes).run()
    finally:
        task.stop_rendering()


def open_models(named: Sequence[str]) -> dict[str, tuple[str, Loaded]]:
    """Recognizers by name, with the folder of each; they share a step's crops, targets and orders.

    Raises:
        UserError: not NAME=FOLDER, a name given twice, another decoder than parseq, crops of several widths, or models
            of unlike sizes, orders or charsets.
    """
    opened: dict[str, tuple[str, Loaded]] = {}
    for model in named:
        name, _, folder = model.partition("=")
        if not folder or name in opened:
            raise UserError(f"--model {model}: not NAME=FOLDER, or a name given twice; name each model once")
        opened[name] = folder, load_recognizer(folder)
    first_name, (first_folder, first) = next(iter(opened.items()))
    if not isinstance(first.model.decoder, PARSeq) or len(first.config.encoder.crop_size.every) > 1:
        raise UserError(
            f"--model {first_name}={first_folder}: decoder parseq and crops of one size are wanted; name another"
        )
    for name, (folder, loaded) in opened.items():
        ours, theirs = settings(loaded.config), settings(first.config)
        if ours != theirs or loaded.tokenizer.charset != first.tokenizer.charset:
            raise UserError(
                f"--model {name}={folder}: {ours}, where the first one has {theirs}; all of these, and the charset, "
                "must be alike; name others"
            )
    return opened


def settings(config: ModelConfig) -> dict[str, object]:
    """What the models of a step share, for they share its crops, targets and orders."""
    encoder, decoder = config.encoder, config.decoder
    shared = encoder.crop_size.model_dump()
    orders = decoder.permutations if isinstance(decoder, PARSeqConfig) else 0
    return {**shared, "max_length": config.max_length, "decoder": decoder.kind, "permutations": orders}


def synth_recipe(inputs: Path, work: Path, overrides: Sequence[str], seed: int) -> SynthRecipe:
    """Of rendered words; unpacks the fonts."""
    fonts = work / "scratch/fonts"  # as research/gpu/train-en.sh
    if not fonts.exists():
        fonts.mkdir(parents=True)
        with tarfile.open(inputs / "fonts.tar.xz") as archive:
            archive.extractall(fonts, filter="data")
    words = SourceConfig(kind="file", path=str(inputs / "words.gz"), weight=0.75)
    corpus = CorpusConfig(sources=(words, SourceConfig(kind="pattern", weight=0.25)))
    recipe = load_recipe(SynthRecipe, SIGNS, ["render.font_split=train", *overrides])
    render = recipe.render.model_copy(update={"fonts": (str(fonts),), "backgrounds": str(inputs / "photographs")})
    return recipe.model_copy(update={"corpus": corpus, "render": render, "seed": seed})


def trainer_recipe(options: argparse.Namespace, config: ModelConfig, synth: SynthRecipe) -> FinetuneRecipe:
    """The recipe of ``dptr finetune`` that comes closest: there the rendered crops are not augmented."""
    run = CropRunConfig(
        seed=options.seed, seconds=options.seconds, steps=10_000_000, batch_size=options.batch, device=options.device,
        precision="no",  # the objective computes in bfloat16 itself, without autocast's cache
        cuda_graph=True, validate_every=options.validate, save_every=options.save, log_every=100, tensorboard=False,
    )  # fmt: skip
    first = options.model[0].partition("=")[2]
    data = DataConfig(train=TRAIN, rendered=1 - options.labeled, augment=options.strength[1])
    return FinetuneRecipe(
        run=run, optim=OptimConfig(lr=options.lr, grad_clip=5.0, warmup=0.05), model=config,
        init=InitConfig(model=first), data=data, corpus=synth.corpus, render=synth.render,
    )  # fmt: skip


class ResidentTask(Task):
    """Several recognizers on batches that are drawn and augmented on the device; see ``dptr.training.task.Task``."""

    unit = "crops"
    capturable = True
    validate_first = True

    def __init__(
        self, options: argparse.Namespace, models: Mapping[str, tuple[str, Loaded]], synth: SynthRecipe,
        device: torch.device,
    ):  # fmt: skip
        self.options, self.synth, self.device = options, synth, device
        self.folders = {name: folder for name, (folder, _) in models.items()}
        self.models = {name: loaded.model.to(device) for name, (_, loaded) in models.items()}
        self.first, first = next(iter(models)), next(loaded for _, loaded in models.values())
        self.config, self.tokenizer = first.config, first.tokenizer
        self.size = (self.config.encoder.height, self.config.encoder.width)
        self.generator = torch.Generator().manual_seed(options.seed)  # of augmentation
        self.noise = torch.Generator(device).manual_seed(options.seed)
        folders = [options.inputs / part for part in TRAIN]
        crops = load_crops(folders, self.tokenizer.charset, self.config.max_length, self.config.encoder.crop_size)
        crops, self.validation = split(crops, VALIDATION)
        self.crops, self.notes = orient_by_label(crops, self.models[self.first], self.tokenizer, device)
        self.notes.append(f"{len(self.crops)} labeled crops for training, {len(self.validation)} for validation")
        self.bins = self.make_bins(make_source(synth))
        self.notes.append(
            f"labeled and rendered crops of a batch: {[bin.rows for bin in self.bins]}, by length of word"
        )
        self.orders = [self.draw_orders(number, bin) for number, bin in enumerate(self.bins)]
        self.shelf = Shelf(self.bins, options.most)
        self.filler: threading.Thread | None = None
        for model in self.models.values():
            model.train().requires_grad_(True)
        self.objective = Distillation(self.models, [sum(bin.rows) for bin in self.bins])
        self.parts = [(model, 1.0) for model in self.models.values()]
        self.clipped_apart = list(self.models.values())
        self.capture_lock = self.shelf.lock

    def make_bins(self, source: RenderedWords) -> list[Bin]:
        """Short words and long ones, as many of each as there are among words and labels."""
        options, longest = self.options, self.config.max_length
        lengths = np.array([len(label) for label in self.crops.labels])
        short = float(np.mean([len(source.word(index)) <= SHORT for index in range(4000)]))
        labeled = round(options.batch * options.labeled)
        few = round(labeled * float(np.mean(lengths <= SHORT)))
        much = round((options.batch - labeled) * short)
        plan = (
            (SHORT, (few, much), options.most * (short + 0.02), lengths <= SHORT),
            (longest, (labeled - few, options.batch - labeled - much), options.most * (1.02 - short), lengths > SHORT),
        )
        return [self.make_bin(limit, rows, round(room), chosen) for limit, rows, room, chosen in plan]

    def make_bin(self, limit: int, rows: tuple[int, int], room: int, chosen: np.ndarray) -> Bin:
        """Labeled crops on the device, and room for rendered ones."""
        some: LabeledCrops = self.crops.choose(np.flatnonzero(chosen))
        pixels = np.stack([some.arrays[row] for row in range(len(some))])
        return Bin(
            limit,
            torch.from_numpy(pixels).to(self.device),
            encoded(self.tokenizer, some.labels, limit).to(self.device),
            torch.empty(room, *self.size, 3, dtype=torch.uint8, device=self.device),
            torch.empty(room, limit + 2, dtype=torch.long, device=self.device),
            rows,
        )

    def draw_orders(self, number: int, bin: Bin) -> list[dict[str, Tensor]]:
        """``ORDERS`` sets of permutations for words of a bin, on the device."""
        drawer = torch.Generator().manual_seed(self.options.seed)
        assert isinstance(self.config.decoder, PARSeqConfig)
        count = self.config.decoder.permutations
        drawn = (build_sequences(draw_permutations(bin.longest, count, drawer)) for _ in range(ORDERS))
        return [orders_as_tensors(orders.to(self.device), number) for orders in drawn]

    def start_rendering(self) -> None:
        """In other processes, until there are enough crops or ``stop_rendering``."""
        self.filler = self.shelf.start(self.synth, self.tokenizer, self.options.workers)

    def stop_rendering(self) -> None:
        self.shelf.stopped = True
        if self.filler is not None:
            self.filler.join(30)

    def wait_for_crops(self) -> None:
        """For the first rendered ones of each length."""
        while min(bin.count for bin in self.bins) < min(EARLY, self.options.most) / 8:
            self.shelf.check()
            time.sleep(0.5)

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
        drawn, strengths = [], []
        for number, bin in enumerate(self.bins):
            labeled, new = bin.rows
            row, other = self.draw_rows(len(bin.labeled), labeled), self.draw_rows(bin.count, new)
            drawn += [bin.labeled[row], bin.crops[other]]
            tensors[f"targets-{number}"] = torch.cat([bin.labels[row], bin.targets[other]])
            weak, strong = self.options.strength
            strengths += [torch.full((labeled,), strong), torch.full((new,), weak)]
            tensors |= self.orders[number][step % ORDERS]
        pixels = augment_batch(torch.cat(drawn), torch.cat(strengths), self.generator, self.noise)
        return {"pixels": pixels, **tensors}, []

    def draw_rows(self, count: int, size: int) -> Tensor:
        return torch.randint(count, (size,), device=self.device, generator=self.noise)

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        for name, model in self.models.items():
            recognize = partial(crop_probabilities, model, device=self.device)
            scores = score_crops(self.validation, self.tokenizer, recognize, "36")
            message = f"{name} reads {scores['word_accuracy']:.1%} of {len(self.validation)} validation crops"
            yield Validation(scores, f"{message}; {self.shelf.count:,} crops rendered", name, f"_{name}")

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        return tuple(scores.values()) > tuple(best.values())

    def save(self, validation: Validation, step: int, out: Path) -> None:
        name = validation.model
        model, folder = self.models[name], self.folders[name]
        checkpoint = open_checkpoint(folder)
        config = checkpoint.config
        assert isinstance(config, ModelConfig)
        about = {"data": "validation part", "protocol": "36", "step": step, "n": len(self.validation)}
        used = [f"labeled crops: {', '.join(TRAIN)}", f"rendered words: {self.shelf.count:,} crops"]
        if name != self.first:
            used.append(f"what {self.first} read of them")
        recipe = trainer_recipe(self.options, config, self.synth)
        if name != self.first:
            teacher = DistillationConfig(model=self.folders[self.first], weight=WEIGHT, temperature=1.0)
            recipe = recipe.model_copy(update={"distillation": teacher, "init": InitConfig(model=folder)})
        recognize = partial(crop_probabilities, model, device=self.device)
        calibration = calibrate(self.validation, self.tokenizer, recognize, "36")
        card = {
            "name": name,
            "kind": "recognizer",
            "trained_on": used,
            "recipe": recipe.model_dump(mode="json"),
            "results": [{**about, **validation.scores}],
            **calibration.to_card(),
        }
        save_checkpoint(
            out / name, "recognizer", model, checkpoint.config, checkpoint.charset, checkpoint.dual, card, half=True,
            temperature=calibration.temperature,
        )  # fmt: skip


def measure_speeds(
    options: argparse.Namespace, sets: Sequence[Mapping[str, tuple[str, Loaded]]], recipe: FinetuneRecipe,
    task: ResidentTask,
) -> None:  # fmt: skip
    """Crops a second by what is trained, beside rendering, as a graph and eager; printed."""
    task.wait_for_crops()
    for graph, some in ((True, sets), (False, sets[-1:])):
        for models in some:
            chosen = {name: task.models[name] for name in models}
            task.objective = Distillation(chosen, [sum(bin.rows) for bin in task.bins])
            task.parts = [(model, 1.0) for model in chosen.values()]
            task.clipped_apart = list(chosen.values())
            run = recipe.run.model_copy(update={"cuda_graph": graph})
            out = options.out / "speed"
            out.mkdir(parents=True, exist_ok=True)
            trainer = Trainer(out, recipe, run, recipe.optim, make_accelerator(run), task)
            generator = torch.Generator()
            for step in range(WARM_UP + 2):
                trainer.learn(task.tensors(None, step, generator, Share())[0], [], generator)
            began = time.monotonic()
            for step in range(TIMED):
                trainer.learn(task.tensors(None, step, generator, Share())[0], [], generator)
            loss = float(trainer.backward(task.tensors(None, 0, generator, Share())[0], generator)[0])
            rate = TIMED * options.batch / (time.monotonic() - began)
            if not math.isfinite(loss):
                raise UserError(f"loss {loss}; measure again with a lower --lr")
            print(f"{'graph' if graph else 'eager'} {', '.join(chosen)}: {rate:,.0f} crops a second", flush=True)


if __name__ == "__main__":
    main()
