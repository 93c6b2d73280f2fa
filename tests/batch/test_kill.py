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
from helpers_kill import MANY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360 * MANY)]
COUNT, BLOCK = 96, 8
BUSY, TRIES = "Ray on this machine: The current node timed out", 5  # it gives its processes 30 s to start
COMMANDS = {"read": ["-m", MODEL], "ocr": ["-m", MODEL], "synth": []}
TABLES = {"read": "readings", "ocr": "pages", "synth": "crops"}
HERE = {
    "read": f"plan_reading(sys.argv[1], {{'model': '{MODEL}'}}, size={BLOCK})",
    "ocr": f"plan_ocr(sys.argv[1], {{'model': '{MODEL}'}}, {{}}, size={BLOCK})",
}
"""The same jobs without Ray."""


def command(name: str, folder: Path, out: Path) -> list[str]:
    name, _, here = name.partition(" ")
    if here:
        script = f"import sys\nfrom dptr.batch.run import *\nrun_task({HERE[name]}, sys.argv[2], run_here)\n"
        return [sys.executable, "-c", script, str(folder / "crops"), str(out)]
    given = [str(out), "--count", str(COUNT)] if name == "synth" else [str(folder / "crops"), str(out)]
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


@pytest.mark.parametrize(
    ("name", "kills"), [*((f"{name} here", MANY) for name in HERE), *((name, 10) for name in COMMANDS)]
)
def test_killed_at_random_moments(name: str, kills: int, tmp_path: Path) -> None:
    write_folder(tmp_path / "crops", draw_words(COUNT))
    moments = random.Random(f"batch {name} {kills}")
    seconds = finish(command(name, tmp_path, tmp_path / "whole"))
    table = TABLES[name.partition(" ")[0]]
    expected = read_rows(tmp_path / "whole", table)
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
        assert read_rows(out, table) == expected
        assert read_totals(out)["inputs"] == COUNT
        left = [path.name for path in out.rglob("*") if path.name.startswith(".")]
        assert left == []
