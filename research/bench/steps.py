"""What ``stage1.py`` and ``stage2.py`` share: ways to step that take turns, and the table of their speeds."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dptr.config.render import CorpusConfig
from dptr.data.loader import text_batch
from dptr.models.decoders import Decoder
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.tokenizer import Tokenizer
from dptr.training.task import Scores, Share, Task, Validation

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))  # reference_loop


TIMED = 8  # batches of a pool that are timed, of all lengths


def options_of(about: str | None, batch: int, what: str) -> argparse.ArgumentParser:
    """What both benches ask for; ``batch`` and ``what`` are their own."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, choices=(1, 2, 4, 8))
    parser.add_argument("--batch", type=int, default=batch, help=what)
    parser.add_argument("--bucket", type=int, default=64, help="batches whose words are sorted by length together")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def words_of(longest: int) -> tuple[Corpus, Tokenizer]:
    """The English corpus, and the tokenizer of its charset."""
    charset = resolve_charset("94")
    return Corpus(CorpusConfig(), charset, longest, seed=0), Tokenizer(charset, longest)


def spread(corpus: Corpus, batch: int, pool: int) -> list[int]:
    """``TIMED`` steps of a pool of batches sorted by length (``text_batch``), spread evenly over the lengths.

    Where batches come as they are, any steps.
    """
    if pool == 1:
        return list(range(TIMED))
    steps = sorted(range(pool), key=lambda step: max(map(len, text_batch(corpus, batch, step, pool))))
    return [steps[(2 * place + 1) * pool // (2 * TIMED)] for place in range(TIMED)]


class StepTask(Task):
    """Steps alone, for ``Trainer.train_step``: no data, no validation."""

    splittable = True

    def __init__(self, objective: nn.Module, decoder: Decoder, unit: str):
        self.objective, self.decoder, self.unit = objective, decoder, unit
        self.parts = [(objective, 1.0)]

    def term_count(self, tensors: Mapping[str, Tensor]) -> float:
        return self.decoder.term_count(tensors["targets"])

    def batches(self, first: int, last: int, share: Share) -> Generator[Any, None, None]:
        raise NotImplementedError

    def tensors(self, batch: Any, step: int, generator: torch.Generator, share: Share) -> Any:
        raise NotImplementedError

    def validate(self, step: int, baseline: Mapping[str, Scores]) -> Iterator[Validation]:
        raise NotImplementedError

    def is_better(self, scores: Scores, best: Scores, baseline: Scores) -> bool:
        raise NotImplementedError

    def save(self, validation: Validation, step: int, out: Path) -> None:
        raise NotImplementedError


@dataclass
class Way:
    """A way to train: ``step(number)`` takes a step and says how many samples it was of.

    The seconds of a round are those of ``steps`` steps, by the clock and by the CPUs of this process.
    """

    name: str
    step: Callable[[int], int]
    steps: int = 1
    samples: int = 0
    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def per_second(self, seconds: list[float]) -> float:
        return self.samples / sum(seconds)


def take_turns(ways: list[Way], rounds: int) -> None:
    """Each way steps in each round, after one step that is not timed."""
    for way in ways:
        way.step(0)
    for number in range(rounds):
        for way in ways:
            clock, cpu = time.perf_counter(), time.process_time()
            for place in range(way.steps):
                way.samples += way.step(number * way.steps + place)
            way.clock.append(time.perf_counter() - clock)
            way.cpu.append(time.process_time() - cpu)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)


def table(ways: list[Way], unit: str, bar: float) -> str:
    """Markdown: speeds, and ratios to the first way, the plain loop, and to the row before."""
    lines = [
        f"| way | {unit}/s | over the plain loop | over the row before | by CPU time, over the plain loop |",
        "|---|---:|---:|---:|---:|",
    ]
    plain = ways[0]
    for before, way in zip([plain, *ways], ways, strict=False):
        speed = way.per_second(way.clock)
        ratios = [
            speed / plain.per_second(plain.clock),
            speed / before.per_second(before.clock),
            way.per_second(way.cpu) / plain.per_second(plain.cpu),
        ]
        lines.append(f"| {way.name} | {speed:.2f} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    best = max(way.per_second(way.clock) for way in ways)
    rounds = [way.samples / len(way.clock) / seconds for way in ways[:1] for seconds in way.clock]
    lines += [
        f"\n{best / plain.per_second(plain.clock):.1f} times the plain loop at best (bar {bar:g}); torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads; rounds of the plain loop: {min(rounds):.2f} to "
        f"{max(rounds):.2f} {unit}/s"
    ]
    return "\n".join(lines)
