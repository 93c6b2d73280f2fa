"""What text-only pre-training is worth: equal fine-tuning budgets from five starts, at three numbers of labelled crops.

    DPTR_DATA=... python scripts/evidence_gain.py --glyph runs/glyph-en/model --pack runs/pack-en --out runs/gain

Needs the glyph encoder and the pack that it was aligned with (scripts/cpu/train-en.sh makes both). Starts:

- a: the aligned encoder and slots, a decoder from scratch;
- b: the same, the decoder pre-trained on text without ORP;
- c: the same, with ORP;
- d: the same network trained directly on the same rendered crops, for the compute of alignment and stage 1;
- e: d, its decoder first pre-trained on text.

Runs are independent of each other once their start is made, each resumes where it was interrupted, and what is done is
not done again: start the same command anew at any time. Each run computes with one thread, ``--jobs`` at once. Scores
are those of the last step, not of the best, on the fixed tenth of the real train crops that is held out (protocol 36).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
STARTS = "abcde"
BUDGETS = ((500, (0, 1, 2)), (2000, (0,)), (0, (0,)))  # labelled crops (0 = all), seeds


@dataclass(frozen=True)
class Job:
    """One training run, by the folder that it writes to."""

    name: str
    arguments: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glyph", required=True, help="the aligned dual encoder")
    parser.add_argument("--pack", required=True, help="the rendered crops that it was aligned with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--direct-steps", type=int, default=9000, help="steps of 64 crops of d and e: the same compute")
    parser.add_argument("--steps", type=int, default=0, help="steps of each fine-tuning; 0 = as in the recipe")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("evidence: DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
    data = Path(os.environ["DPTR_DATA"])
    for stage in (decoders(options), direct(options, data), finetunes(options, data)):
        with ThreadPoolExecutor(options.jobs) as pool:
            failed = [
                job.name
                for job, ok in zip(stage, pool.map(lambda job: run(job, options.out), stage), strict=True)
                if not ok
            ]
        if failed:
            sys.exit(f"evidence: failed: {', '.join(failed)}; see the .log files in {options.out}; run this again")
        print(table(options.out), flush=True)


def decoders(options: argparse.Namespace) -> list[Job]:
    """Stage 1 without ORP and with it, from the glyph encoder's text tokens."""
    settings = ("--config", str(RECIPES / "pretrain-en.toml"), "--set", f"dual.model={options.glyph}")
    return [
        Job("text", ("pretrain", *settings, "--set", "orp.strength=0")),
        Job("text-orp", ("pretrain", *settings)),
    ]


def direct(options: argparse.Namespace, data: Path) -> list[Job]:
    """The control: the network of the glyph encoder, unaligned, on rendered crops alone."""
    settings = (
        "--set", "data.rendered=1", "--set", f"run.steps={options.direct_steps}", "--set", "optim.lr=2e-3",
        "--set", "run.validate_every=1000", "--set", "model.encoder.size=nano", "--set", "model.decoder.dim=128",
    )  # fmt: skip
    start = base(options, data)
    taught = ("--set", f"init.decoder={options.out / 'text-orp' / 'model'}")
    return [Job("direct", (*start, *settings)), Job("direct-text", (*start, *settings, *taught))]


def finetunes(options: argparse.Namespace, data: Path) -> list[Job]:
    """Every start, at every budget."""
    out: Path = options.out
    glyph = ("--set", f"init.glyph={options.glyph}")
    starts = {
        "a": glyph,
        "b": (*glyph, "--set", f"init.decoder={out / 'text' / 'model'}"),
        "c": (*glyph, "--set", f"init.decoder={out / 'text-orp' / 'model'}"),
        "d": ("--model", str(out / "direct" / "model")),
        "e": ("--model", str(out / "direct-text" / "model")),
    }
    crops = ("--data", str(data / "iiit5k/train"), "--data", str(data / "ic15/train"))
    steps = ("--set", f"run.steps={options.steps}") if options.steps else ()
    return [
        Job(
            f"{start}-{count or 'all'}-{seed}",
            (*base(options, data), *crops, *starts[start], *steps,
             "--set", f"data.limit={count}", "--set", f"run.seed={seed}"),
        )
        for count, seeds in BUDGETS
        for seed in seeds
        for start in STARTS
    ]  # fmt: skip


def base(options: argparse.Namespace, data: Path) -> tuple[str, ...]:
    """What all fine-tuning runs have in common."""
    return (
        "finetune", "--config", str(RECIPES / "evidence" / "gain.toml"), "--set", f"data.pack={options.pack}",
        "--set", f"render.backgrounds={data / 'natural'}",
    )  # fmt: skip


def run(job: Job, out: Path) -> bool:
    """Run or resume a job; whether it is done."""
    done = out / f"{job.name}.done"
    if done.exists():
        return True
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "dptr", *job.arguments, "--out", str(out / job.name), "--resume"]
    with open(out / f"{job.name}.log", "a", encoding="utf-8") as log:
        code = subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
    if code == 0:
        done.write_text(" ".join(command) + "\n", encoding="utf-8")
    print(f"{job.name}: {'done' if code == 0 else f'exit code {code}'}", flush=True)
    return code == 0


def table(out: Path) -> str:
    """Markdown: word accuracy on the validation crops before and after fine-tuning, mean and spread over seeds."""
    lines = ["| start | before | " + " | ".join(f"{count or 'all'} crops" for count, _ in BUDGETS) + " |"]
    lines.append("|---|---:|" + "---:|" * len(BUDGETS))
    for start in STARTS:
        runs = [[scores(out / f"{start}-{count or 'all'}-{seed}") for seed in seeds] for count, seeds in BUDGETS]
        before = [values[0] for some in runs for values in some if values]
        cells = [spread([values[-1] for values in some if values]) for some in runs]
        lines.append(f"| {start} | {spread(before[:1])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def scores(folder: Path) -> list[float]:
    """Word accuracies of a finished run, by step; empty where it is not finished."""
    if not folder.with_name(f"{folder.name}.done").exists():
        return []
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [record["validation_word_accuracy"] for record in records if "validation_word_accuracy" in record]


def spread(values: Sequence[float]) -> str:
    """Mean, and the standard error over seeds where there are several."""
    if not values:
        return ""
    error = f" ± {100 * statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{error} %"


if __name__ == "__main__":
    main()
