"""``dptr batch`` under kill -9 at random moments: what is written is whole, and the same command makes it good."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers_batch import MODEL, draw_words, read_rows, read_totals, write_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
COUNT, BLOCK = 96, 8
BUSY, TRIES = "Ray on this machine: The current node timed out", 5  # it gives its processes 30 s to start
COMMANDS = {"read": ["-m", MODEL], "synth": []}
HERE = (
    "import sys\nfrom dptr.batch.run import plan_reading, run_here, run_task\n"
    f"run_task(plan_reading(sys.argv[1], {{'model': '{MODEL}'}}, size={BLOCK}), sys.argv[2], run_here)\n"
)
"""The same job without Ray."""


def command(name: str, folder: Path, out: Path) -> list[str]:
    if name == "here":
        return [sys.executable, "-c", HERE, str(folder / "crops"), str(out)]
    given = [str(folder / "crops"), str(out)] if name == "read" else [str(out), "--count", str(COUNT)]
    options = ["--block", str(BLOCK), "--workers", "1", *COMMANDS[name]]
    return [sys.executable, "-m", "dptr", "batch", name, *given, *options]


def check_whole(out: Path) -> None:
    """Every part can be read; what is being written has another name."""
    for part in out.rglob("part-*.parquet"):
        pq.read_table(part)


def finish(command: list[str]) -> float:
    """Run a command to its end; the seconds that it took."""
    for _ in range(TRIES):
        begun = time.monotonic()
        last = subprocess.run(command, capture_output=True, text=True)
        if BUSY not in last.stderr:
            break
    assert last.returncode == 0, last.stderr
    return time.monotonic() - begun


def table(name: str) -> str:
    return "crops" if name == "synth" else "readings"


@pytest.mark.parametrize(("name", "kills"), [("here", 20), *((name, 10) for name in COMMANDS)])
def test_killed_at_random_moments(name: str, kills: int, tmp_path: Path) -> None:
    write_folder(tmp_path / "crops", draw_words(COUNT))
    moments = random.Random(f"batch {name} {kills}")
    seconds = finish(command(name, tmp_path, tmp_path / "whole"))
    expected = read_rows(tmp_path / "whole", table(name))
    assert len(expected) == COUNT
    done, run = 0, 0
    while done < kills:
        run += 1
        out = tmp_path / f"out-{run}"
        code = -signal.SIGKILL
        while done < kills and code:
            with subprocess.Popen(
                command(name, tmp_path, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as driver:
                time.sleep(moments.uniform(0, seconds))
                driver.kill()
                _, said = driver.communicate()
                code = driver.returncode
            assert code in (0, -signal.SIGKILL) or BUSY in said, said
            done += code == -signal.SIGKILL
            check_whole(out)
        finish(command(name, tmp_path, out))
        assert read_rows(out, table(name)) == expected
        assert read_totals(out)["inputs"] == COUNT
        left = [path.name for path in out.rglob("*") if path.name.startswith(".")]
        assert left == []
