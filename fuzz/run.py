"""Fuzz every kind of input for some minutes, and list what was found.

    make fuzz MINUTES=10                       # all kinds, in equal parts
    python -m fuzz.run --minutes 2 picture pdf

Cases that were found, and the corpus, which grows from run to run, are in build/fuzz. ``--keep`` adds the cases to the
regression files of tests/test_fuzz.py. Exit code 1 when something was found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz.seeds import ROOT, SEEDS
from fuzz.watch import Finding

STUCK = 60  # seconds by the clock after which a case is taken to hang for ever: other work may run beside
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(SEEDS)}; default: all")
    parser.add_argument("--minutes", type=float, default=10, help="in all; default: 10")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer, >= 1; default: 1")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "fuzz", help="default: build/fuzz")
    parser.add_argument("--keep", action="store_true", help="make regression files of what is found")
    options = parser.parse_args()
    kinds = options.kinds or [*SEEDS]
    if unknown := {*kinds} - {*SEEDS}:
        parser.error(f"unknown kind {', '.join(unknown)}; there are {', '.join(SEEDS)}")
    tallies = []
    for kind in kinds:
        tally = fuzz(kind, options.out / kind, 60 * options.minutes / len(kinds), options.seed)
        print(json.dumps(asdict(tally)), flush=True)
        tallies.append(tally)
        if options.keep:
            keep(options.out / kind / "found", REGRESSIONS / kind)
    (options.out / "report.json").write_text(json.dumps([asdict(each) for each in tallies], indent=1) + "\n")
    sys.exit(any(each.tracebacks + each.hangs + each.memory + each.deaths for each in tallies))


def fuzz(kind: str, folder: Path, seconds: float, seed: int) -> Tally:
    """Run workers of a kind, one after the other, until the time is over; what an earlier run found goes."""
    shutil.rmtree(folder / "found", ignore_errors=True)
    for name in ("corpus", "found"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(SEEDS[kind]()):
        (folder / "corpus" / f"seed-{index:02d}").write_bytes(data)
    (folder / "count").write_bytes(bytes(8))
    begun = time.monotonic()
    while (rest := round(begun + seconds - time.monotonic())) > 0:
        command = [sys.executable, "-m", "fuzz.worker", kind, str(folder), f"-max_total_time={rest}", f"-seed={seed}"]
        limits = [f"-timeout={STUCK}", f"-rss_limit_mb={ENOUGH}", f"-artifact_prefix={folder}/artifact-"]
        ended = subprocess.run([*command, *limits], capture_output=True, cwd=ROOT)
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
        seed += 1
    return count(kind, folder, round(time.monotonic() - begun))


def count(kind: str, folder: Path, seconds: int) -> Tally:
    """The tally of a run."""
    names = [path.name.partition("-")[0] for path in (folder / "found").iterdir() if path.suffix != ".txt"]
    kinds = (names.count(each) for each in ("traceback", "hang", "memory", "death"))
    return Tally(kind, int.from_bytes((folder / "count").read_bytes(), "little"), seconds, *kinds)


def keep(found: Path, folder: Path) -> None:
    """Copy cases, without their descriptions."""
    for path in (each for each in found.iterdir() if each.suffix != ".txt"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)


if __name__ == "__main__":
    main()
