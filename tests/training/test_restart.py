"""A launch that restarts its processes goes on with its own run, and with no other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers_signal import start
from helpers_train import Parts, check_whole, contents, records

from dptr.training import restart
from dptr.training.restart import await_release, is_restart, note_launch, rendezvous_address
from dptr.utils.errors import UserError
from dptr.utils.files import lock_folder

Attempt = Callable[..., None]


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Makes this process one of a launch's attempts."""

    def set_environment(count: int, name: str = "job", most: int = 3) -> None:
        values = {"RESTART_COUNT": count, "MAX_RESTARTS": most, "RUN_ID": name}
        for key, value in values.items():
            monkeypatch.setenv(f"TORCHELASTIC_{key}", str(value))

    return set_environment


def test_only_what_the_same_launch_began_goes_on(attempt: Attempt, tmp_path: Path) -> None:
    attempt(1)
    assert not is_restart(tmp_path)  # nothing there yet
    attempt(0)
    note_launch(tmp_path)
    assert not is_restart(tmp_path)  # the user's own start: --resume is asked for
    attempt(1)
    assert is_restart(tmp_path)
    attempt(1, "another")
    assert not is_restart(tmp_path)
    attempt(1, "job", most=0)
    assert not is_restart(tmp_path)


def test_a_launch_without_a_name_is_known_by_its_process(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(0, "none")
    note_launch(tmp_path)
    attempt(2, "none")
    assert is_restart(tmp_path)
    parent = os.getppid()
    monkeypatch.setattr(os, "getppid", lambda: parent + 1)
    assert not is_restart(tmp_path)


def test_each_attempt_meets_at_a_place_of_its_own(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(1)
    assert rendezvous_address() == ""  # no store of the launcher
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert rendezvous_address() == rendezvous_address() == "attempt://"
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    assert rendezvous_address() == ""
    monkeypatch.delenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE")
    attempt(0)
    assert rendezvous_address() == ""


def test_a_run_without_restarts_forgets_the_launch_before(
    attempt: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(0)
    note_launch(tmp_path)
    monkeypatch.delenv("TORCHELASTIC_MAX_RESTARTS")
    note_launch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_the_attempt_before_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock_folder(tmp_path):
        monkeypatch.setattr(restart, "PATIENCE", 0.0)
        with pytest.raises(UserError, match="another run writes in it"):
            await_release(tmp_path)
        monkeypatch.setattr(restart, "PATIENCE", 60.0)
        waiting = threading.Thread(target=await_release, args=(tmp_path,))
        waiting.start()
        time.sleep(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


# --- torchrun ---------------------------------------------------------------------------------------------------------

LONGER = ("run.steps=60", "run.save_every=10", "run.validate_every=30", "model.decoder.dropout=0.1")


def launch(parts: Parts, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", *options, "-m", "dptr"]
    return start(
        [*command, *parts.arguments("pretrain", out, *LONGER)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_three_processes_of_which_one_is_killed_end_as_if_nothing_had_been(parts: Parts, tmp_path: Path) -> None:
    """No ``--resume``: losses and scores are the uninterrupted run's, to rounding.

    torch puts gradients into other buckets in the first step after a start than in those that follow, and three numbers
    in another order add up to another sum.
    """
    whole = launch(parts, tmp_path / "whole", "--nproc-per-node", "3")
    said, _ = whole.communicate(timeout=900)
    assert whole.returncode == 0, said
    out = tmp_path / "out"
    process = launch(parts, out, "--nproc-per-node", "3", "--max-restarts", "2")
    deadline = time.monotonic() + 900
    while not list((out / "state").glob("step-*")) if out.exists() else True:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    workers = [int(line) for line in children.stdout.split()]
    assert len(workers) == 3
    os.kill(workers[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    resumed = re.findall(r"goes on after step (\d+) of 60", said)
    assert len(resumed) == 1 and 0 < int(resumed[0]) < 60 and int(resumed[0]) % 10 == 0
    check_whole(out)
    one, other = records(tmp_path / "whole"), records(out)
    assert [record.keys() for record in other] == [record.keys() for record in one]
    for expected, found in zip(one, other, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    (out / "launch.json").unlink()
    assert contents(out).keys() == contents(tmp_path / "whole").keys()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_another_run_is_refused_in_each_attempt(parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole = launch(parts, out, "--nproc-per-node", "1")
    assert whole.wait(timeout=900) == 0
    before = contents(out)
    process = launch(parts, out, "--nproc-per-node", "2", "--max-restarts", "1")
    said, _ = process.communicate(timeout=900)
    assert process.returncode != 0
    assert said.count("already holds a run; pass --resume") == 4  # two processes, twice
    assert contents(out) == before
