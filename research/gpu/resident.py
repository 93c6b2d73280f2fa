"""Several recognisers further trained at once on a rented GPU, with all crops and all augmentation on it (docs/gpu.md).

    python research/gpu/resident.py --inputs runs/gpu-inputs --work /dev/shm/w --out runs/gpu-resident --seconds 540 \
        --model small=models/dptr-en-small --model tiny=dptr-en --model nano=dptr-en-tiny
    python research/gpu/resident.py ... --speed     # steps a second by what is trained, eager and as one CUDA graph

Cores render words from start to end; each crop goes to the GPU once and stays there. A step draws a batch of what is
there (a share of it labelled), augments it (``dptr.data.batch_augment``) and trains every model on it: the first on the
labels, the others on the labels and on what the first says. Forward, backward and update of all are one CUDA graph, so
that slow cores do not hold the GPU up. The learning rate follows the clock: one cycle over ``--seconds``.

``--out`` gets a recogniser folder a model, half precision, and ``log.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from graph import DISTIL, Learner, Step
from shelf import Bin, Shelf, encoded
from torch import Tensor

from dptr.config.data import DataConfig, DistillationConfig, InitConfig
from dptr.config.load import load_recipe
from dptr.config.model import ModelConfig, PARSeqConfig
from dptr.config.render import CorpusConfig, SourceConfig
from dptr.config.train import CropRunConfig, FinetuneRecipe, OptimConfig, SynthRecipe
from dptr.data.batch_augment import augment_batch
from dptr.data.crops import load_crops
from dptr.models.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.models.decoders.parseq import PARSeq, Sequences, draw_permutations, in_sequence
from dptr.synth.source import Rendered
from dptr.synth.worker import rendered
from dptr.training import trainer as loop
from dptr.training.finetune import calibrated, read
from dptr.training.orientation import turned_by_label
from dptr.training.sources import split
from dptr.utils.errors import UserError

SIGNS = Path(__file__).resolve().parents[2] / "recipes" / "synth" / "signs.toml"
SHORT = 8  # characters: shorter words are decoded apart from longer ones, for few tokens of a batch to be padding
ORDERS = 512  # sets of permutations, drawn before training
VALIDATION = 0.1  # of the labelled crops, as ``dptr finetune``
EARLY = 16_000  # crops to wait for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, required=True, help="from research/gpu/inputs.py")
    parser.add_argument("--work", type=Path, required=True, help="fonts are unpacked there")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER", help="the first one teaches")
    parser.add_argument("--seconds", type=float, default=540, help="of training, all told")
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--labelled", type=float, default=0.1, help="share of a batch")
    parser.add_argument("--strength", type=float, nargs=2, default=(0.4, 0.8), help="rendered, labelled crops")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--most", type=int, default=2_000_000, help="rendered crops")
    parser.add_argument("--validate", type=float, default=75, help="seconds between validations")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="of recipes/synth/signs.toml")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        Training(options).run()
    except UserError as error:
        print(f"resident: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"resident: interrupted; {options.out} holds the models of the last validation", file=sys.stderr)
        sys.exit(130)


def settings(config: ModelConfig) -> dict[str, object]:
    """What the models of a step share, for they share its crops, targets and orders."""
    encoder, decoder = config.encoder, config.decoder
    shared = {"height": encoder.height, "width": encoder.width, "widest": encoder.widest}
    orders = decoder.permutations if isinstance(decoder, PARSeqConfig) else 0
    return {**shared, "max_length": config.max_length, "decoder": decoder.kind, "permutations": orders}


class Training:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.began = time.monotonic()
        self.device = torch.device(options.device)
        self.optim = OptimConfig(lr=options.lr, grad_clip=5.0)
        self.named: dict[str, str] = {}
        for model in options.model:
            name, _, folder = model.partition("=")
            if not folder or name in self.named:
                raise UserError(f"--model {model}: not NAME=FOLDER, or a name given twice; name each model once")
            self.named[name] = folder
        torch.manual_seed(options.seed)  # what dropout draws from
        torch.backends.cudnn.benchmark = True
        first = load_recognizer(next(iter(self.named.values())))
        self.config, self.tokenizer = first.config, first.tokenizer
        if not isinstance(first.model.decoder, PARSeq) or self.config.encoder.widest:
            raise UserError(
                f"--model {options.model[0]}: decoder parseq and crops of one width are wanted; name another"
            )
        self.generator = torch.Generator().manual_seed(options.seed)
        self.noise = torch.Generator(self.device).manual_seed(options.seed)
        self.size = (self.config.encoder.height, self.config.encoder.width)
        crops = load_crops(
            [options.inputs / "iiit5k/train", options.inputs / "ic15/train"], self.tokenizer.charset,
            self.config.max_length, *self.size,
        )  # fmt: skip
        crops, self.validation = split(crops, VALIDATION)
        self.crops, told = turned_by_label(crops, first.model.to(self.device), self.tokenizer, self.device)
        for line in told:
            self.say(line)
        self.say(f"{len(self.crops)} labelled crops for training, {len(self.validation)} for validation")

    def orders(self, bins: list[Bin]) -> list[list[Sequences]]:
        drawer = torch.Generator().manual_seed(self.options.seed)
        assert isinstance(self.config.decoder, PARSeqConfig)
        count = self.config.decoder.permutations
        return [[in_sequence(draw_permutations(bin.longest, count, drawer)) for _ in range(ORDERS)] for bin in bins]

    def bins(self, source: Rendered) -> list[Bin]:
        """Short words and long ones, as many of each as there are among words and labels."""
        options, longest = self.options, self.config.max_length
        lengths = np.array([len(label) for label in self.crops.labels])
        short = np.mean([len(source.word(index)) <= SHORT for index in range(4000)])
        known = round(options.batch * options.labelled)
        few = round(known * float(np.mean(lengths <= SHORT)))
        much = round((options.batch - known) * short)
        made: list[Bin] = []
        for limit, rows, room, chosen in (
            (SHORT, (few, much), options.most * (short + 0.02), lengths <= SHORT),
            (longest, (known - few, options.batch - known - much), options.most * (1.02 - short), lengths > SHORT),
        ):
            some = self.crops.choose(np.flatnonzero(chosen))
            made.append(
                Bin(
                    limit,
                    torch.from_numpy(np.stack([some.arrays[row] for row in range(len(some))])).to(self.device),
                    encoded(self.tokenizer, some.labels, limit).to(self.device),
                    torch.empty(round(room), *self.size, 3, dtype=torch.uint8, device=self.device),
                    torch.empty(round(room), limit + 2, dtype=torch.long, device=self.device),
                    rows,
                )
            )
        self.say(f"labelled and rendered crops of a batch: {[bin.rows for bin in made]}, up to {SHORT} and {longest}")
        return made

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def learner(self, name: str, folder: str) -> Learner:
        loaded = load_recognizer(folder)
        if settings(loaded.config) != settings(self.config) or loaded.tokenizer.charset != self.tokenizer.charset:
            raise UserError(
                f"--model {name}={folder}: {settings(loaded.config)}, where the first one has {settings(self.config)}; "
                "all of these, and the charset, must be alike; name others"
            )
        model = loaded.model.to(self.device).train().requires_grad_(True)
        optimizer = loop.make_optimizer([(model, 1.0)], self.optim, fused=True)
        rate = torch.tensor(self.optim.lr, device=self.device)
        for group in optimizer.param_groups:
            group["lr"] = rate  # one tensor for all: a captured step reads it
            group["capturable"] = self.device.type == "cuda"
        return Learner(name, folder, model, optimizer)

    def recipe(self) -> SynthRecipe:
        """Of rendered words; unpacks the fonts."""
        inputs, work = self.options.inputs, self.options.work
        fonts = work / "scratch/fonts"  # as research/gpu/train-en.sh
        if not fonts.exists():
            fonts.mkdir(parents=True)
            with tarfile.open(inputs / "fonts.tar.xz") as archive:
                archive.extractall(fonts, filter="data")
        words = SourceConfig(kind="file", path=str(inputs / "words.gz"), weight=0.75)
        corpus = CorpusConfig(sources=[words, SourceConfig(kind="pattern", weight=0.25)])
        recipe = load_recipe(SynthRecipe, SIGNS, self.options.set)
        render = recipe.render.model_copy(
            update={"fonts": (str(fonts),), "font_split": "train", "backgrounds": str(inputs / "photographs")}
        )
        self.synth = recipe.model_copy(update={"corpus": corpus, "render": render, "seed": self.options.seed})
        return self.synth

    def batch(self, step: Step, bins: list[Bin]) -> None:
        """Draw and augment a batch into ``step``."""
        drawn, strength = [], []
        for bin, targets in zip(bins, step.targets, strict=True):
            known, new = bin.rows
            row = self._rows(len(bin.labelled), known)
            other = self._rows(bin.count, new)
            drawn += [bin.labelled[row], bin.crops[other]]
            targets.copy_(torch.cat([bin.labels[row], bin.targets[other]]))
            strength += [torch.full((known,), self.options.strength[1]), torch.full((new,), self.options.strength[0])]
        step.pixels.copy_(augment_batch(torch.cat(drawn), torch.cat(strength), self.generator, self.noise))

    def _rows(self, count: int, drawn: int) -> Tensor:
        return torch.randint(count, (drawn,), device=self.device, generator=self.noise)

    def run(self) -> None:
        recipe = self.recipe()
        bins = self.bins(rendered(recipe))
        shelf = Shelf(bins, self.options.most)
        filler = shelf.start(recipe, self.tokenizer, self.options.workers)
        orders = self.orders(bins)
        if self.options.speed:
            self.speed(shelf, orders)
        else:
            self.train(shelf, orders)
        shelf.stopped = True
        filler.join(30)

    def train(self, shelf: Shelf, orders: list[list[Sequences]]) -> None:
        bins = shelf.bins
        learners = [self.learner(name, folder) for name, folder in self.named.items()]
        step = Step(learners, bins, orders, self.size, self.optim.grad_clip, self.device)
        self.validate(learners, 0, 0)
        self.wait(shelf)
        begun = time.monotonic()
        span = self.options.seconds - (begun - self.began)
        if span <= 0:
            raise UserError(
                f"--seconds {self.options.seconds:g}: over before the first step ({-span:.0f} s); pass more"
            )
        count, validated = 0, begun
        while (passed := time.monotonic() - begun) < span:
            factor = loop.one_cycle(round(1e6 * passed / span), 1_000_000, 0.05)
            for learner in learners:
                learner.optimizer.param_groups[0]["lr"].fill_(self.optim.lr * factor)
            self.batch(step, bins)
            step.draw_orders(count)
            if count == 3 and self.device.type == "cuda":
                with shelf.lock:
                    step.capture()
            step()
            count += 1
            if count % 20 == 0:
                shelf.check()
                losses = step.losses.tolist()  # which waits for the device
                if not all(map(np.isfinite, losses)):
                    raise UserError(f"loss {losses} in step {count}; begin again with a lower --lr")
                if count % 100 == 0:
                    row = {"step": count, "seconds": round(passed, 1), "lr": self.optim.lr * factor,
                           "crops": shelf.count, "losses": [round(loss, 5) for loss in losses],
                           "per_second": round(count * self.options.batch / passed)}  # fmt: skip
                    self.write(row)
                    if count % 1000 == 0:
                        self.say(json.dumps(row))
            if time.monotonic() - validated > self.options.validate:
                scores = self.validate(learners, count, shelf.count)
                for learner, score in zip(learners, scores, strict=True):
                    self.save(learner, score, count, shelf.count, last=False)
                validated = time.monotonic()
        shelf.stopped = True
        self.say(f"{count} steps of {self.options.batch}, {shelf.count} rendered crops, {shelf.left_out} left out")
        scores = self.validate(learners, count, shelf.count)
        for learner, score in zip(learners, scores, strict=True):
            self.save(learner, score, count, shelf.count, last=True)
        self.say("saved")

    def wait(self, shelf: Shelf) -> None:
        """For the first rendered crops."""
        while min(bin.count for bin in shelf.bins) < min(EARLY, self.options.most) / 8:
            shelf.check()
            time.sleep(0.5)
        self.say(f"{shelf.count} rendered crops")

    def write(self, row: dict[str, object]) -> None:
        with (self.options.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def validate(self, learners: list[Learner], count: int, crops: int) -> list[dict[str, float]]:
        scores = []
        for learner in learners:
            learner.model.eval()
            with torch.no_grad():
                scores.append(read(learner.model, self.tokenizer, self.validation, self.device, "36"))
            learner.model.train()
        named = {learner.name: score for learner, score in zip(learners, scores, strict=True)}
        self.write({"step": count, "crops": crops, "validation": named})
        self.say(f"step {count}, {crops} crops: {json.dumps(named)}")
        return scores

    def save(self, learner: Learner, score: dict[str, float], count: int, crops: int, last: bool) -> None:
        """The model; with a temperature at the end."""
        temperature = 1.0
        if last:
            learner.model.eval()
            with torch.no_grad():
                temperature = calibrated(learner.model, self.tokenizer, self.validation, self.device, "36")
        checkpoint = open_checkpoint(learner.folder)
        told = {"data": "validation part", "protocol": "36", "step": count, "n": len(self.validation), **score}
        used = ["labelled crops: iiit5k/train, ic15/train", f"rendered words: {crops:,} crops"]
        if learner.name != next(iter(self.named)):
            used.append(f"what {next(iter(self.named))} read of them")
        recipe = self.described(learner, count)
        card = {
            "name": learner.name,
            "kind": "recogniser",
            "trained_on": used,
            "recipe": recipe.model_dump(mode="json"),
            "results": [told],
        }
        save_checkpoint(
            self.options.out / learner.name, "recogniser", learner.model, checkpoint.config, checkpoint.charset,
            checkpoint.dual, card, half=True, temperature=temperature,
        )  # fmt: skip

    def described(self, learner: Learner, steps: int) -> FinetuneRecipe:
        """The recipe of ``dptr finetune`` that comes closest: there the rendered crops are not augmented."""
        options, teacher = self.options, next(iter(self.named))
        return FinetuneRecipe(
            run=CropRunConfig(seed=options.seed, steps=steps, batch_size=options.batch, precision="bf16"),
            optim=self.optim,
            model=load_recognizer(learner.folder).config,
            init=InitConfig(model=learner.folder),
            data=DataConfig(
                train=("iiit5k/train", "ic15/train"), rendered=1 - options.labelled, augment=options.strength[1]
            ),
            distillation=DistillationConfig(model=teacher, weight=DISTIL, temperature=1.0)
            if learner.name != teacher
            else DistillationConfig(),
            corpus=self.synth.corpus,
            render=self.synth.render,
        )

    def speed(self, shelf: Shelf, orders: list[list[Sequences]]) -> None:
        """Steps a second by what is trained, beside rendering."""
        self.wait(shelf)
        folders = list(self.named.items())
        sets = [folders[: number + 1] for number in range(len(folders))]
        for way, some in (("graph", sets), ("eager", sets[-1:])):
            for names in some:
                learners = [self.learner(*pair) for pair in names]
                step = Step(learners, shelf.bins, orders, self.size, self.optim.grad_clip, self.device)
                self.batch(step, shelf.bins)
                if way == "graph":
                    with shelf.lock:
                        step.capture()
                for _ in range(3):
                    step()
                rates = []
                for drawn in (False, True):
                    began, steps = time.monotonic(), 25
                    for number in range(steps):
                        if drawn:
                            self.batch(step, shelf.bins)
                            step.draw_orders(number)
                        step()
                    losses = step.losses.tolist()
                    rates.append(f"{steps * self.options.batch / (time.monotonic() - began):,.0f}")
                self.say(
                    f"{way} {', '.join(name for name, _ in names)}: {rates[0]} crops a second, {rates[1]} with "
                    f"drawing, losses {losses}, {shelf.count} crops rendered"
                )


if __name__ == "__main__":
    main()
