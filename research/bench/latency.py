"""How fast dptr-en reads a word beside rapidocr's PP-OCRv6 recognizer: one crop at a time and 32, in one run.

    python research/bench/latency.py
    python research/bench/latency.py --json runs/bench-latency.json
    python research/bench/latency.py --accuracy $DPTR_DATA/iiit5k/test $DPTR_DATA/ic15/test
    python research/bench/latency.py --accuracy DIR... --tall 1.2    # rapidocr reads tall crops turned too

Both compute in the same version of onnxruntime on the CPU, rapidocr in an environment of its own, and read the same
crops: photographs of words from ``iiit5k/test`` in DPTR_DATA, evenly spread, or words that our renderer draws where
DPTR_DATA is not set. Timed is a call from decoded pixels in memory to text. Of rapidocr the recognizer alone runs, no
detector and no classifier. The engines take turns, in another order each round, so that a busy minute hits all alike.
Labels are not looked at, but with --accuracy: then nothing is timed, and both read whole data sets (protocol 36).

"default" is each engine as it comes: both leave the number of threads to onnxruntime; rapidocr computes 6 crops at
once, of 32 that it is given. "2 threads" sets that number for both, and lets rapidocr compute all 32 at once.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from engines import Worker, corpus_words, environment

from dptr import DEFAULT_MODEL
from dptr.config.render import RenderConfig
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import protocol, word_accuracy
from dptr.synth import Renderer
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.terminal import write_text

RAPIDOCR = "3.10.0"
BATCHES = (1, 32)
THREADS = {"default": 0, "2 threads": 2}
BAR_MS, BAR_RATIO = 7.0, 2.0  # a crop at batch 1, at most; times as fast as rapidocr at each batch size, at least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="as dptr read takes it; needs its model.onnx")
    parser.add_argument("--data", type=Path, default=_real(), help="labeled crops; default: iiit5k/test in DPTR_DATA")
    parser.add_argument("--rounds", type=int, default=8, help="of 32 crops one by one, and two batches of 32")
    parser.add_argument("--venv", type=Path, default=Path("runs/bench-rapidocr"), help="environment of rapidocr")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--accuracy", type=Path, nargs="+", default=[], metavar="DIR", help="read these; time nothing")
    parser.add_argument(
        "--tall", type=float, default=0.0, help="rapidocr too reads crops so many times as tall as wide turned"
    )
    parser.add_argument(
        "--tta", type=int, default=1, help="dptr reads each crop in so many ways (dptr.inference.views)"
    )
    options = parser.parse_args()
    try:
        for data in options.accuracy:
            print(accuracy(options.model, data, options.venv, options.tall, options.tta), flush=True)
        if options.accuracy:
            return
        report = measure(options.model, options.data, options.rounds, options.venv, options.tta)
    except UserError as error:
        sys.exit(f"latency: {error}")
    for line in lines(report):
        print(line)
    if options.json:
        write_text(options.json, dump_json(report, indent=1) + "\n")


def _real() -> Path | None:
    return Path(os.environ["DPTR_DATA"]) / "iiit5k" / "test" if "DPTR_DATA" in os.environ else None


def accuracy(model: str, data: Path, venv: Path, tall: float, tta: int) -> str:
    """Word accuracy of both engines, each as it comes but for ``tall`` and ``tta``, on a whole data set, as a line.

    Raises:
        UserError: see ``pictures``, ``prepared``.
    """
    dataset = open_labeled(data)
    fold, count = protocol("36"), len(dataset)
    truths = [fold(dataset.label(index)) for index in range(count)]
    calls = [list(range(start, min(start + max(BATCHES), count))) for start in range(0, count, max(BATCHES))]
    told = []
    for name, engine in prepared(model, pictures(data, count), venv, tall, tta).items():
        if name.endswith(", default"):
            with Worker(*engine, venv / "bench" / f"{name}.log", one_thread=False) as worker:
                texts = [text for call in worker.ask({"calls": calls})["texts"] for text in call]
            pairs = [(fold(text), truth) for text, truth in zip(texts, truths, strict=True) if truth]
            told.append(f"{name} {word_accuracy(pairs):.2%}")
    return f"{'/'.join(data.parts[-2:])}: {', '.join(told)} of {sum(map(bool, truths))} crops, protocol 36"


def pictures(data: Path | None, count: int) -> list[np.ndarray]:
    """Crops as RGB arrays (h, w, 3): ``count`` of a data set, evenly spread, or as many drawn.

    Raises:
        UserError: no such data set, or a crop that cannot be opened.
    """
    if data is None:
        renderer = Renderer(RenderConfig(), seed=0)
        return [renderer.render(word, index) for index, word in enumerate(corpus_words(count))]
    dataset = open_labeled(data)
    return [np.asarray(dataset.image(number * len(dataset) // count).convert("RGB")) for number in range(count)]


Engine = tuple[str | Path, str, dict[str, Any]]  # interpreter, worker, its options


def packages() -> tuple[str, ...]:
    return (f"rapidocr=={RAPIDOCR}", f"onnxruntime=={version('onnxruntime')}")


def prepared(model: str, crops: list[np.ndarray], venv: Path, tall: float = 0.0, tta: int = 1) -> dict[str, Engine]:
    """Each engine as it comes and with two threads, to read ``crops``; ``tall`` and ``tta`` as their workers take them.

    Raises:
        UserError: an environment that does not come up.
    """
    python = environment(venv, packages())
    file = (venv / "bench" / "crops.npz").absolute()
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, *crops)
    engines: dict[str, Engine] = {}
    for name, threads in THREADS.items():
        given = {"crops": str(file), "threads": threads}
        engines[f"dptr, {name}"] = (sys.executable, "dptr_reader.py", {**given, "model": model, "tta": tta})
        engines[f"rapidocr, {name}"] = (
            python,
            "rapid_reader.py",
            {**given, "batch": max(BATCHES) if threads else 0, "tall": tall},
        )
    return engines


def measure(model: str, data: Path | None, rounds: int, venv: Path, tta: int) -> dict[str, Any]:
    """All engines, in turn.

    Raises:
        UserError: no crops, an environment or a worker that does not come up.
    """
    count = max(BATCHES) * rounds
    engines = prepared(model, pictures(data, count), venv, tta=tta)
    taken: dict[str, dict[int, list[dict[str, Any]]]] = {name: {batch: [] for batch in BATCHES} for name in engines}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(*engine, venv / "bench" / f"{name}.log", one_thread=False))
            for name, engine in engines.items()
        }
        for number in range(-1, rounds):
            for batch in BATCHES:
                for name in sorted(workers, reverse=number % 2 == 1):
                    reply = workers[name].ask({"calls": _calls(batch, number % rounds, count)})
                    if number >= 0:  # the one before warms caches up
                        taken[name][batch].append(reply)
    measured = {name: {batch: _summary(batch, replies) for batch, replies in of.items()} for name, of in taken.items()}
    texts = {name: [text for reply in of[1] for call in reply["texts"] for text in call] for name, of in taken.items()}
    ratios = {
        name: {
            batch: measured[f"rapidocr, {name}"][batch]["ms"] / measured[f"dptr, {name}"][batch]["ms"]
            for batch in BATCHES
        }
        for name in THREADS
    }
    ours, theirs = (texts[f"{engine}, default"] for engine in ("dptr", "rapidocr"))
    alike = sum(one == two for one, two in zip(ours, theirs, strict=True)) / count
    source = "drawn words" if data is None else "/".join(data.parts[-2:])
    return {
        "model": model, "tta": tta, "crops": count, "source": source, "rounds": rounds, "packages": packages(),
        "cores": _cores(), "measured": measured, "ratios": ratios, "read_alike": alike,
        "bars": {"ms": BAR_MS, "ratio": BAR_RATIO},
    }  # fmt: skip


def _calls(batch: int, number: int, count: int) -> list[list[int]]:
    """32 calls of one crop, or two of 32; the crops of round ``number``, and for the second call those after them."""
    first = number * max(BATCHES)
    if batch == 1:
        return [[first + place] for place in range(max(BATCHES))]
    return [[(first + start + place) % count for place in range(batch)] for start in (0, batch)]


def _summary(batch: int, replies: list[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds a crop: median and 95th percentile over calls, median CPU time; and crops a second."""
    wall = np.array([seconds for reply in replies for seconds in reply["wall"]])
    middle, late = np.percentile(wall, (50, 95)) * 1000 / batch
    cpu = statistics.median(seconds for reply in replies for seconds in reply["cpu"])
    return {"ms": float(middle), "p95": float(late), "cpu": 1000 * cpu / batch, "crops_per_second": 1000 / middle}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lines(report: dict[str, Any]) -> list[str]:
    """A table in Markdown, and the ratios."""
    told = [
        f"{report['crops']} crops ({report['source']}), {report['rounds']} rounds in turn, {report['cores']} cores; "
        f"{', '.join(report['packages'])}",
        "",
        "| engine | batch | ms a crop, median | p95 | CPU ms | crops/s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, of in report["measured"].items():
        for batch, row in of.items():
            times = " | ".join(f"{row[key]:.2f}" for key in ("ms", "p95", "cpu"))
            told.append(f"| {name} | {batch} | {times} | {row['crops_per_second']:.0f} |")
    told.append("")
    for name, of in report["ratios"].items():
        each = ", ".join(f"{ratio:.2f} at batch {batch}" for batch, ratio in of.items())
        told.append(f"rapidocr / dptr, {name}: {each} (bar {report['bars']['ratio']:g})")
    ours = report["measured"]["dptr, default"][BATCHES[0]]["ms"]
    told.append(f"dptr, batch 1: {ours:.2f} ms (bar {report['bars']['ms']:g})")
    told.append(f"both read the same text on {report['read_alike']:.0%} of the crops")
    return told


if __name__ == "__main__":
    main()
