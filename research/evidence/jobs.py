"""Runs of the evidence scripts: each a command of ``dptr``, started when those that it builds on are done, resumable.

A run's folder stands beside its log, its ``.cpu`` file (CPU seconds, one line each time that it was started), and,
once it is done, a ``.done`` file that holds the command.
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
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
TRAININGS = ("align", "pretrain", "finetune")


@dataclass(frozen=True)
class Job:
    """One run, by the folder (or file) that it writes to, and the runs that it starts from."""

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ("--resume",)


def options_of(about: str | None) -> argparse.ArgumentParser:
    """What the scripts that start from an aligned dual encoder and its pack have in common."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glyph", default="glyph-en", help="the aligned dual encoder")
    parser.add_argument("--pack", required=True, help="the rendered crops that it was aligned with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--recipes", type=Path, default=RECIPES / "evidence", help="text.toml, direct.toml, gain.toml")
    parser.add_argument("--times", type=float, default=1, help="so many times the steps of all but stage 1")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="in trainings")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    return parser


def data_folder() -> Path:
    """Where ``DPTR_DATA`` says that photographs and labeled crops are."""
    if "DPTR_DATA" not in os.environ:
        sys.exit("evidence: DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
    return Path(os.environ["DPTR_DATA"])


def finetuning(options: argparse.Namespace, data: Path, decoder: str = "parseq") -> tuple[str, ...]:
    """The command that fine-tunings of one kind of decoder on real crops share."""
    return (
        "finetune", "--config", str(options.recipes / "gain.toml"), *network(decoder),
        *told(f"data.pack={options.pack}", f"render.backgrounds={data / 'natural'}"),
        "--data", str(data / "iiit5k/train"), "--data", str(data / "ic15/train"),
    )  # fmt: skip


def network(decoder: str) -> tuple[str, ...]:
    """The kind of decoder, and what that kind alone has to be told."""
    own = ("model.decoder.permutations=4",) if decoder == "parseq" else ()
    return told(f"model.decoder.kind={decoder}", *own)


def told(*settings: str) -> tuple[str, ...]:
    """As ``--set`` options."""
    return tuple(part for setting in settings for part in ("--set", setting))


def steps(options: argparse.Namespace, count: int) -> str:
    """As a setting, ``--times`` as many."""
    return f"run.steps={max(1, round(options.times * count))}"


def finish(jobs: list[Job], out: Path, count: int, settings: Sequence[str] = ()) -> None:
    """``work``, or end the program with the names of the runs that did not get done."""
    out.mkdir(parents=True, exist_ok=True)
    if failed := work(jobs, out, count, settings):
        sys.exit(f"evidence: not done: {', '.join(failed)}; see the .log files in {out}; run this again")


def work(jobs: list[Job], out: Path, count: int, settings: Sequence[str] = ()) -> list[str]:
    """Run ``count`` jobs at once, each when what it needs is done; the names of those that did not get done.

    Args:
        settings: of every training; its own come after them.
    """
    waiting, running = list(jobs), dict[Future[bool], Job]()
    with ThreadPoolExecutor(count) as pool:
        while True:
            ready = [job for job in waiting if all(done(out / name) for name in job.needs)]
            for job in ready[: count - len(running)]:
                waiting.remove(job)
                running[pool.submit(run, job, out, settings)] = job
            if not running:
                return [job.name for job in jobs if not done(out / job.name)]
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]


def run(job: Job, out: Path, settings: Sequence[str] = ()) -> bool:
    """Run or resume a job; whether it is done."""
    if done(out / job.name):
        return True
    name, *arguments = job.arguments
    common = told(*(setting for setting in settings if knows(name, setting)))
    command = [sys.executable, "-m", "dptr", name, *common, *arguments, "--out", str(out / job.name), *job.flags]
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with open(out / f"{job.name}.log", "a", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **quiet})
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
    with open(out / f"{job.name}.cpu", "a", encoding="utf-8") as seconds:
        seconds.write(f"{usage.ru_utime + usage.ru_stime:.1f}\n")
    if code == 0:
        (out / f"{job.name}.done").write_text(" ".join(command) + "\n", encoding="utf-8")
    print(f"{job.name}: {'done' if code == 0 else f'exit code {code}'}", flush=True)
    return code == 0


def knows(command: str, setting: str) -> bool:
    """Whether a setting of every training is one of this command's: stage 1 renders nothing."""
    return command in TRAININGS and not (command == "pretrain" and setting.startswith("render."))


def done(folder: Path) -> bool:
    """Whether the run that writes there has ended well."""
    return folder.with_name(f"{folder.name}.done").exists()


def scores(folder: Path) -> list[float]:
    """Word accuracies of a finished run, by step; empty where it is not finished."""
    if not done(folder):
        return []
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [record["validation_word_accuracy"] for record in records if "validation_word_accuracy" in record]


def spread(values: Sequence[float]) -> str:
    """Mean, and the standard error over seeds where there are several."""
    if not values:
        return ""
    error = f" ± {100 * statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{error} %"
