"""Nothing is sent, and nothing is written but what a command was asked to write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

UPLOAD_AFTER = 12  # seconds; onnxruntime 1.32 sends its first events 8 to 9 seconds after it was imported

READ = (
    "import numpy\n"
    "from dptr import Reader\n"
    "Reader('dptr-en-tiny').read(numpy.zeros((32, 128, 3), numpy.uint8))\n"
    "import sys, time; time.sleep(float(sys.argv[1]))\n"
)


def run(home: Path, code: str, seconds: float, before: Sequence[str] = ()) -> None:
    """A program of its own, whose every usual place for files is in ``home``.

    Nothing of this machine's environment is passed on: ``CI`` alone would turn onnxruntime's telemetry off.
    """
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    environment = {**kept, **dict.fromkeys(places, str(home)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*before, sys.executable, "-c", code, str(seconds)]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reading_writes_no_file(tmp_path: Path) -> None:
    run(tmp_path, READ, 0)
    assert [str(path) for path in tmp_path.rglob("*")] == []


def test_reading_opens_no_connection(tmp_path: Path) -> None:
    home, trace = tmp_path / "home", tmp_path / "trace"
    home.mkdir()
    strace = [shutil.which("strace") or "strace", "-f", "-e", "trace=network", "-o", str(trace)]
    try:
        works = subprocess.run([*strace, sys.executable, "-c", ""], capture_output=True).returncode == 0
    except OSError:
        works = False
    if not works:
        pytest.skip("strace is not installed, or may not trace here")
    run(home, READ, UPLOAD_AFTER, strace)
    calls = [line for line in trace.read_text().splitlines() if "(" in line and "exited" not in line]
    assert calls == []


def test_the_users_own_choice_stays(tmp_path: Path) -> None:
    code = (
        "import os; os.environ['ORT_DISABLE_TELEMETRY'] = 'chosen'\n"
        "import dptr; assert os.environ['ORT_DISABLE_TELEMETRY'] == 'chosen'"
    )
    run(tmp_path, code, 0)
