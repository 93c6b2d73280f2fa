"""Run the ``dptr`` commands of an evidence script in parallel, in the order of their dependencies; resumable.

Beside the folder of each run are its log, a ``.cpu`` file with the CPU seconds of each start on a line, and, when the
run is finished, a ``.done`` file with the command.
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
    """One run.

    Attributes:
        name: the folder or file that the run writes.
        arguments: the ``dptr`` command and its arguments, without ``--out``.
        needs: names of the runs that must be finished first.
        flags: arguments at the end of the command.
    """

    name: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ("--resume",)


def options_of(about: str | None) -> argparse.ArgumentParser:
    """The options of the scripts that start from an aligned dual encoder and its pack."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--glyph", default="glyph-en", help="the aligned dual encoder")
    parser.add_argument("--pack", required=True, help="the rendered crops that it was aligned with")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--recipes", type=Path, default=RECIPES / "evidence", help="text.toml, direct.toml, gain.toml")
    parser.add_argument("--times", type=float, default=1, help="multiply the steps of all trainings but stage 1")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="of all trainings"
    )
    parser.add_argument("--table", action="store_true", help="only print the results of finished runs")
    return parser


def data_folder() -> Path:
    """The folder with photographs and labeled crops, from ``DPTR_DATA``; ends the program if it is not set."""
    if "DPTR_DATA" not in os.environ:
        sys.exit("evidence: DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
    return Path(os.environ["DPTR_DATA"])


def finetuning(options: argparse.Namespace, data: Path, decoder: str = "parseq") -> tuple[str, ...]:
    """The common part of the commands that fine-tune one kind of decoder on real crops."""
    return (
        "finetune", "--config", str(options.recipes / "gain.toml"), *network(decoder),
        *set_options(f"data.pack={options.pack}", f"render.backgrounds={data / 'natural'}"),
        "--data", str(data / "iiit5k/train"), "--data", str(data / "ic15/train"),
    )  # fmt: skip


def network(decoder: str) -> tuple[str, ...]:
    """The kind of decoder, and the settings that only this kind has."""
    specific = ("model.decoder.permutations=4",) if decoder == "parseq" else ()
    return set_options(f"model.decoder.kind={decoder}", *specific)


def set_options(*settings: str) -> tuple[str, ...]:
    """Settings as ``--set`` options."""
    return tuple(part for setting in settings for part in ("--set", setting))


def steps(options: argparse.Namespace, count: int) -> str:
    """The setting of the number of steps: ``count``, multiplied by ``--times``."""
    return f"run.steps={max(1, round(options.times * count))}"


def finish(jobs: list[Job], out: Path, count: int, settings: Sequence[str] = ()) -> None:
    """Run all jobs (``work``); end the program with an error that names the unfinished ones, if any."""
    out.mkdir(parents=True, exist_ok=True)
    if failed := work(jobs, out, count, settings):
        sys.exit(f"evidence: not done: {', '.join(failed)}; see the .log files in {out}; run this again")


def work(jobs: list[Job], out: Path, count: int, settings: Sequence[str] = ()) -> list[str]:
    """Run up to ``count`` jobs at once, each when the runs that it needs are finished.

    Args:
        jobs: the jobs.
        out: the folder of the runs.
        count: parallel jobs.
        settings: settings of all trainings. Those of a job count before them.

    Returns:
        The names of the unfinished jobs.
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
    """Run or resume a job. Returns whether it is finished."""
    if done(out / job.name):
        return True
    name, *arguments = job.arguments
    own = {argument.partition("=")[0] for argument in arguments}
    common = set_options(*(each for each in settings if knows(name, each) and each.partition("=")[0] not in own))
    command = [sys.executable, "-m", "dptr", name, *common, *arguments, "--out", str(out / job.name), *job.flags]
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with open(out / f"{job.name}.log", "a", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **threads})
        _, status, usage = os.wait4(process.pid, 0)
        code = process.returncode = os.waitstatus_to_exitcode(status)
    with open(out / f"{job.name}.cpu", "a", encoding="utf-8") as seconds:
        seconds.write(f"{usage.ru_utime + usage.ru_stime:.1f}\n")
    if code == 0:
        (out / f"{job.name}.done").write_text(" ".join(command) + "\n", encoding="utf-8")
    print(f"{job.name}: {'done' if code == 0 else f'exit code {code}'}", flush=True)
    return code == 0


def knows(command: str, setting: str) -> bool:
    """Whether a command has a setting of all trainings. Stage 1 renders nothing, so it has no ``render`` settings."""
    return command in TRAININGS and not (command == "pretrain" and setting.startswith("render."))


def done(folder: Path) -> bool:
    """Whether the run that writes this folder or file is finished."""
    return folder.with_name(f"{folder.name}.done").exists()


def scores(folder: Path) -> list[float]:
    """Validation word accuracies of a finished run, in the order of steps; empty for an unfinished run."""
    if not done(folder):
        return []
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return [record["validation_word_accuracy"] for record in records if "validation_word_accuracy" in record]


def spread(values: Sequence[float]) -> str:
    """The mean in percent, and for several seeds the standard error; "" without values."""
    if not values:
        return ""
    error = f" ± {100 * statistics.stdev(values) / math.sqrt(len(values)):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{error} %"
