"""Fuzz every kind of input for some minutes, and list what was found.

    make fuzz MINUTES=10                       # all kinds, in equal parts
    python -m fuzz.run --minutes 2 picture pdf
    python -m fuzz.run --minutes 60 --blind --cases 200000
    python -m fuzz.run --minutes 0             # the sum of all runs

Cases that were found, and the corpus, which grows from run to run, are in build/fuzz; build/fuzz/runs.jsonl has a line
for each run of a kind. ``--blind`` measures no coverage (``fuzz.blind``). ``--keep`` adds the cases to the regression
files of tests/test_fuzz.py. Exit code 1 when something was found.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fuzz.blind import STUCK, read_case
from fuzz.seeds import ROOT, SEEDS
from fuzz.watch import Finding

MANY = 1 << 62  # cases: no end
ENOUGH = 2048  # MB, in which all that a worker loads has room too
REGRESSIONS = ROOT / "tests" / "fuzzed"


@dataclass
class Tally:
    """What became of a kind: cases that were run, seconds, distinct faults by their kind."""

    kind: str
    cases: int
    seconds: int
    tracebacks: int = 0
    hangs: int = 0
    memory: int = 0
    deaths: int = 0
    seed: int = 0
    blind: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(SEEDS)}; default: all")
    parser.add_argument("--minutes", type=float, default=10, help="in all; default: 10")
    parser.add_argument("--seed", type=int, help=">= 1; default: another one in each run")
    parser.add_argument("--blind", action="store_true", help="measure no coverage: about five times as many cases")
    parser.add_argument("--cases", type=int, default=MANY, help="of a kind in all runs, at which it is enough")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz", help="default: build/fuzz")
    parser.add_argument("--keep", action="store_true", help="make regression files of what is found")
    options = parser.parse_args()
    kinds = options.kinds or [*SEEDS]
    if unknown := {*kinds} - {*SEEDS}:
        parser.error(f"unknown kind {', '.join(unknown)}; there are {', '.join(SEEDS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    ledger = options.out / "runs.jsonl"
    before = read_runs(ledger)
    tallies = []
    for number, kind in enumerate(kinds):
        rest = options.cases - sum(each.cases for each in before if each.kind == kind)
        if rest <= 0 or not options.minutes:
            continue
        seed = options.seed or 1 + len(before) + number
        seconds = 60 * options.minutes / len(kinds)
        tally = fuzz(kind, options.out / kind, seconds, seed, options.blind, rest)
        print(json.dumps(asdict(tally)), flush=True)
        with open(ledger, "a") as file:
            print(json.dumps(asdict(tally)), file=file)
        tallies.append(tally)
        if options.keep:
            keep(options.out / kind / "found", REGRESSIONS / kind)
    for tally in total(read_runs(ledger)):
        print(f"all runs: {tally.kind}: {tally.cases:,} cases, {tally.seconds} s, {faults(tally)} faults")
    sys.exit(any(map(faults, tallies)))


def read_runs(ledger: Path) -> list[Tally]:
    """The tallies of earlier runs."""
    return [Tally(**json.loads(line)) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def total(tallies: Iterable[Tally]) -> list[Tally]:
    """One tally a kind."""
    sums: dict[str, Tally] = {}
    for each in tallies:
        held = sums.setdefault(each.kind, Tally(each.kind, 0, 0))
        added = {
            name: getattr(held, name) + getattr(each, name)
            for name in ("cases", "seconds", "tracebacks", "hangs", "memory", "deaths")
        }
        sums[each.kind] = replace(held, **added)
    return [*sums.values()]


def faults(tally: Tally) -> int:
    return tally.tracebacks + tally.hangs + tally.memory + tally.deaths


def fuzz(kind: str, folder: Path, seconds: float, seed: int, blind: bool = False, most: int = MANY) -> Tally:
    """Run workers of a kind, one after the other, until the time is over; what an earlier run found goes."""
    shutil.rmtree(folder / "found", ignore_errors=True)
    for name in ("corpus", "found"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(SEEDS[kind]()):
        (folder / "corpus" / f"seed-{index:02d}").write_bytes(data)
    (folder / "count").write_bytes(bytes(8))
    begun = time.monotonic()
    first = seed
    while (rest := round(begun + seconds - time.monotonic())) > 0 and (done := read_count(folder)) < most:
        run = run_blind if blind else run_guided
        ended = run(kind, folder, seed, rest, most - (0 if blind else done))
        for work in folder.glob("work-*"):
            shutil.rmtree(work, ignore_errors=True)
        if ended.returncode == 0:
            break
        artifacts = [*folder.glob("artifact-*")]
        said = ended.stderr[-20_000:].decode("utf-8", "replace")
        if not artifacts:
            sys.exit(f"fuzz: a worker ended with code {ended.returncode} and no case\n{said}")
        for artifact in artifacts:
            name = artifact.name.removeprefix("artifact-")
            found = Finding({"timeout": "hang", "oom": "memory"}.get(name.partition("-")[0], "death"), name, said)
            artifact.rename(folder / "found" / found.name)
            (folder / "found" / f"{found.name}.txt").write_text(f"{found.place}\n{found.text}\n")
        seed += 0 if blind else 1
    return replace(count(kind, folder, round(time.monotonic() - begun)), seed=first, blind=blind)


def run_guided(kind: str, folder: Path, seed: int, seconds: int, most: int) -> subprocess.CompletedProcess[bytes]:
    """A worker that Atheris guides; a case that it dies of is left as an ``artifact-``."""
    command = [sys.executable, "-m", "fuzz.worker", kind, str(folder), f"-max_total_time={seconds}", f"-seed={seed}"]
    limits = [f"-timeout={STUCK}", f"-rss_limit_mb={ENOUGH}", f"-artifact_prefix={folder}/artifact-"]
    if most < MANY:
        limits.append(f"-runs={most}")
    return subprocess.run([*command, *limits], capture_output=True, cwd=ROOT)


def run_blind(kind: str, folder: Path, seed: int, seconds: int, most: int) -> subprocess.CompletedProcess[bytes]:
    """A worker without coverage; a case that it dies of becomes an ``artifact-``."""
    before = read_count(folder)
    command = [sys.executable, "-m", "fuzz.blind", kind, str(folder), *map(str, (seed, seconds, most))]
    ended = subprocess.run(command, capture_output=True, cwd=ROOT)
    if ended.returncode and read_count(folder) > before:
        data = read_case(folder / "case")
        name = "timeout" if ended.returncode == -signal.SIGALRM else "crash"
        (folder / f"artifact-{name}-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
    return ended


def read_count(folder: Path) -> int:
    return int.from_bytes((folder / "count").read_bytes(), "little")


def count(kind: str, folder: Path, seconds: int) -> Tally:
    """The tally of a run."""
    names = [path.name.partition("-")[0] for path in (folder / "found").iterdir() if path.suffix != ".txt"]
    tracebacks, hangs, memory, deaths = map(names.count, ("traceback", "hang", "memory", "death"))
    return Tally(kind, read_count(folder), seconds, tracebacks, hangs, memory, deaths)


def keep(found: Path, folder: Path) -> None:
    """Copy cases, without their descriptions."""
    for path in (each for each in found.iterdir() if each.suffix != ".txt"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)


if __name__ == "__main__":
    main()
