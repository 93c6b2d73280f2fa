"""Several recognisers further trained at once on a rented GPU, with all crops and all augmentation on it (docs/gpu.md).

    python scripts/gpu/resident.py --inputs runs/gpu-inputs --work /dev/shm/w --out runs/gpu-resident --seconds 540 \
        --model small=models/dptr-en-small --model tiny=dptr-en --model nano=dptr-en-tiny
    python scripts/gpu/resident.py ... --speed     # steps a second by what is trained, eager and as one CUDA graph

Cores render words from start to end; each crop goes to the GPU once and stays there. A step draws a batch of what is
there (a share of it labelled), augments it (``dptr.data.batch_augment``) and trains every model on it: the first on the
labels, the others on the labels and on what the first says. Forward, backward and update of all are one CUDA graph, so
that slow cores do not hold the GPU up. The learning rate follows the clock: one cycle over ``--seconds``.

``--out`` gets a recogniser folder a model, half precision, and ``log.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import tarfile
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dptr.checkpoint import load_recognizer, open_checkpoint, save_checkpoint
from dptr.config import (
    CorpusConfig,
    DataConfig,
    DistilConfig,
    FinetuneRecipe,
    InitConfig,
    OptimConfig,
    RunConfig,
    SourceConfig,
    SynthRecipe,
)
from dptr.data.batch_augment import augment_batch
from dptr.data.datasets import load_crops
from dptr.data.pack import rendered
from dptr.data.stream import Rendered
from dptr.errors import UserError
from dptr.models.decoders.parseq import PARSeq, Sequences, draw_permutations, in_sequence
from dptr.models.recognizer import Recognizer
from dptr.recipe_file import load_recipe
from dptr.text.tokenizer import Tokenizer
from dptr.train import loop
from dptr.train.crops import split
from dptr.train.finetune import calibrated, read

SPAN = 400  # crops that a worker renders at a time
SHORT = 8  # characters: shorter words are decoded apart from longer ones, for few tokens of a batch to be padding
ORDERS = 512  # sets of permutations, drawn before training
VALIDATION = 0.1  # of the labelled crops, as ``dptr finetune``
DISTIL = 0.5  # what the first model says, as a part of the others' loss
EARLY = 16_000  # crops to wait for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, required=True, help="from scripts/gpu/inputs.py")
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
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        Training(options).run()
    except UserError as error:
        sys.exit(f"resident: {error}")


@dataclass
class Learner:
    """A model in training."""

    name: str
    folder: str
    model: Recognizer
    optimizer: torch.optim.AdamW

    @property
    def decoder(self) -> PARSeq:
        assert isinstance(self.model.decoder, PARSeq)
        return self.model.decoder


@dataclass
class Bin:
    """Crops of words of some lengths, on the device: labelled ones, and rendered ones as they come."""

    longest: int
    labelled: Tensor  # uint8 (n, h, w, 3)
    labels: Tensor  # (n, longest + 2)
    crops: Tensor  # uint8 (room, h, w, 3)
    targets: Tensor  # (room, longest + 2)
    rows: tuple[int, int]  # labelled and rendered crops of a batch
    count: int = 0  # rendered ones so far


class Shelf:
    """Fills bins with rendered crops while they are read."""

    def __init__(self, bins: list[Bin], most: int):
        self.bins = bins
        self.most = most
        self.left_out = 0  # crops that came when their bin was full
        self.stopped = False
        self.lock = threading.Lock()  # held while the device is used: no graph may be captured then
        device = bins[0].crops.device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # not to wait for what is trained

    @property
    def count(self) -> int:
        return sum(bin.count for bin in self.bins)

    def fill(self, recipe: SynthRecipe, tokenizer: Tokenizer, workers: int) -> None:
        """Render until there are enough or ``stopped``. Workers read fonts and words themselves: none waits for one."""
        spans = [(first, min(first + SPAN, self.most)) for first in range(0, self.most, SPAN)]
        with multiprocessing.get_context("spawn").Pool(workers, _start, (recipe,)) as pool:
            for crops, words in pool.imap_unordered(_render, spans):
                lengths, least = np.array([len(word) for word in words]), 0
                for bin in self.bins:
                    chosen = np.flatnonzero((least < lengths) & (lengths <= bin.longest))
                    least = bin.longest
                    self.left_out += max(0, bin.count + len(chosen) - len(bin.crops))
                    chosen = chosen[: len(bin.crops) - bin.count]
                    if len(chosen):
                        self._put(bin, crops[chosen], encoded(tokenizer, [words[row] for row in chosen], bin.longest))
                if self.stopped:
                    return

    def _put(self, bin: Bin, crops: np.ndarray, targets: Tensor) -> None:
        last = bin.count + len(crops)
        with self.lock, torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            bin.crops[bin.count : last] = torch.from_numpy(crops).to(bin.crops.device)
            bin.targets[bin.count : last] = targets.to(bin.targets.device)
            if self.stream is not None:
                self.stream.synchronize()
        bin.count = last


def encoded(tokenizer: Tokenizer, words: list[str], longest: int) -> Tensor:
    """Targets (n, longest + 2)."""
    return torch.from_numpy(tokenizer.encode(words, full_length=True)[:, : longest + 2])


_SOURCE: list[Rendered] = []


def _start(recipe: SynthRecipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _SOURCE.append(rendered(recipe))


def _render(span: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    samples = [_SOURCE[0].sample(index) for index in range(*span)]
    return np.stack([crop for crop, _, _ in samples]), [word for _, word, _ in samples]


class Step:
    """One step of all learners on the batch in ``pixels`` and ``targets``; a CUDA graph after ``capture``.

    Args:
        bins: of which the batch is made, one after the other.
        orders: a bank of orders for each bin.
        size: height and width of crops.
    """

    def __init__(
        self,
        learners: list[Learner],
        bins: list[Bin],
        orders: list[list[Sequences]],
        size: tuple[int, int],
        clip: float,
        device: torch.device,
    ):
        self.learners = learners
        self.clip = clip
        self.device = device
        self.rows = [sum(bin.rows) for bin in bins]
        self.pixels = torch.zeros(sum(self.rows), 3, *size, device=device)
        self.targets = [
            torch.zeros(rows, bin.longest + 2, dtype=torch.long, device=device)
            for rows, bin in zip(self.rows, bins, strict=True)
        ]
        self.bank = [
            {part.name: torch.stack([getattr(one, part.name) for one in some]).to(device) for part in fields(Sequences)}
            for some in orders
        ]
        self.orders = [Sequences(*(bank[part.name][0].clone() for part in fields(Sequences))) for bank in self.bank]
        self.losses = torch.zeros(len(learners), device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def draw_orders(self, number: int) -> None:
        for bank, orders in zip(self.bank, self.orders, strict=True):
            for name, drawn in bank.items():
                getattr(orders, name).copy_(drawn[number % len(drawn)])

    def predictions(self, learner: Learner) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) of all symbols asked for, and these symbols."""
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            memory = learner.model.memory(self.pixels).split(self.rows)
            parts = [
                learner.decoder.ordered(some, None, targets, orders)
                for some, targets, orders in zip(memory, self.targets, self.orders, strict=True)
            ]
        return torch.cat([logits.flatten(0, 1).float() for logits, _ in parts]), torch.cat(
            [wanted.flatten() for _, wanted in parts]
        )

    def compute(self) -> None:
        """Forward, backward, update."""
        taught: Tensor | None = None
        for number, learner in enumerate(self.learners):
            learner.optimizer.zero_grad(set_to_none=True)
            logits, wanted = self.predictions(learner)
            loss = F.cross_entropy(logits, wanted, ignore_index=learner.decoder.pad)
            if taught is None:
                taught = logits.detach().log_softmax(-1)
            else:
                divergence = F.kl_div(logits.log_softmax(-1), taught, reduction="none", log_target=True).sum(-1)
                counted = (wanted != learner.decoder.pad).float()
                loss = (1 - DISTIL) * loss + DISTIL * (divergence * counted).sum() / counted.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learner.model.parameters(), self.clip)
            learner.optimizer.step()
            self.losses[number] = loss.detach()

    def capture(self) -> None:
        """Record ``compute``, after three steps to warm up, as PyTorch's notes on CUDA graphs say."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(side)
        for learner in self.learners:
            learner.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.compute()

    def __call__(self) -> None:
        if self.graph is None:
            self.compute()
        else:
            self.graph.replay()


class Training:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.began = time.monotonic()
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        torch.backends.cudnn.benchmark = True
        self.optim = OptimConfig(lr=options.lr, clip=5.0)
        self.named = dict(model.split("=", 1) for model in options.model)
        first = load_recognizer(next(iter(self.named.values())))
        self.config, self.tokenizer = first.config, first.tokenizer
        self.generator = torch.Generator().manual_seed(options.seed)
        self.noise = torch.Generator(self.device).manual_seed(options.seed)
        self.size = (self.config.encoder.height, self.config.encoder.width)
        crops = load_crops(
            [options.inputs / "iiit5k/train", options.inputs / "ic15/train"], self.tokenizer.charset,
            self.config.max_length, *self.size,
        )  # fmt: skip
        self.crops, self.validation = split(crops, VALIDATION)
        self.say(f"{len(self.crops)} labelled crops for training, {len(self.validation)} for validation")

    def orders(self, bins: list[Bin]) -> list[list[Sequences]]:
        drawer = torch.Generator().manual_seed(self.options.seed)
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
        model = load_recognizer(folder).model.to(self.device).train().requires_grad_(True)
        optimizer = loop.make_optimizer([(model, 1.0)], self.optim, fused=True)
        rate = torch.tensor(self.optim.lr, device=self.device)
        for group in optimizer.param_groups:
            group["lr"] = rate  # one tensor for all: a captured step reads it
            group["capturable"] = self.device.type == "cuda"
        return Learner(name, folder, model, optimizer)

    def recipe(self) -> SynthRecipe:
        """Of rendered words; unpacks the fonts."""
        inputs, work = self.options.inputs, self.options.work
        fonts = work / "scratch/fonts"  # as scripts/gpu/train-en.sh
        if not fonts.exists():
            fonts.mkdir(parents=True)
            with tarfile.open(inputs / "fonts.tar.xz") as archive:
                archive.extractall(fonts, filter="data")
        words = SourceConfig(kind="file", path=str(inputs / "words.gz"), weight=0.75)
        corpus = CorpusConfig(sources=[words, SourceConfig(kind="pattern", weight=0.25)])
        recipe = load_recipe(SynthRecipe, Path("recipes/synth/signs.toml"))
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
        filler = threading.Thread(target=shelf.fill, args=(recipe, self.tokenizer, self.options.workers), daemon=True)
        filler.start()
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
        step = Step(learners, bins, orders, self.size, self.optim.clip, self.device)
        self.validate(learners, 0, 0)
        self.wait(shelf)
        begun = time.monotonic()
        span = self.options.seconds - (begun - self.began)
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
            run=RunConfig(seed=options.seed, steps=steps, batch=options.batch, precision="bf16"),
            optim=self.optim,
            model=open_checkpoint(learner.folder).config,
            init=InitConfig(model=learner.folder),
            data=DataConfig(
                train=("iiit5k/train", "ic15/train"), rendered=1 - options.labelled, augment=options.strength[1]
            ),
            distil=DistilConfig(model=teacher, weight=DISTIL, temperature=1.0)
            if learner.name != teacher
            else DistilConfig(),
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
                step = Step(learners, shelf.bins, orders, self.size, self.optim.clip, self.device)
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
