"""The real commands under kill -9, Ctrl-C and a full disk: what is saved is whole, and ``--resume`` makes it good."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers_kill import KILLS
from helpers_signal import start
from helpers_train import STEPS, Parts, Warm, check_whole, contents, records

from dptr.dual.orp.bank import load_bank
from dptr.utils.tensors import load_tensors

TRAINING = ("align", "finetune", "pretrain")
ALIGN_SLOW = (pytest.param("align", marks=pytest.mark.slow), "finetune", "pretrain")  # the trainer is the same


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run, and how long it took."""

    command: str
    out: Path
    seconds: float


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, warm: Warm, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp(f"whole-{request.param}") / "run"
    begun = time.monotonic()
    code, printed, said = warm.run(*parts.arguments(request.param, out))
    assert code == 0, said
    assert printed.startswith(str(out))
    return Whole(request.param, out, time.monotonic() - begun)


def resumed(command: str) -> list[str]:
    return [] if command == "bank" else ["--resume"]


def check_same(whole: Whole, out: Path) -> None:
    """A run that has got through: same losses, same files, nothing left over."""
    if whole.command == "bank":
        assert out.read_bytes() == whole.out.read_bytes()
        assert list(out.parent.iterdir()) == [out]
    else:
        assert records(out) == records(whole.out)
        assert contents(out) == contents(whole.out)


def check_after_kill(command: str, out: Path) -> None:
    if command != "bank":
        check_whole(out)
    elif out.exists():
        load_bank(out)


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("whole", [*ALIGN_SLOW, pytest.param("adapt", marks=pytest.mark.slow), "bank"], indirect=True)
def test_killed_at_random_moments(whole: Whole, kills: int, warm: Warm, parts: Parts, tmp_path: Path) -> None:
    moments = random.Random(f"{whole.command} {kills}")
    done, run = 0, 0
    while done < kills:
        run += 1
        out = tmp_path / f"{run}" / "run"
        command = [*parts.arguments(whole.command, out), *resumed(whole.command)]
        out.parent.mkdir()
        while done < kills:
            process = warm.start(*command)
            time.sleep(moments.uniform(0, whole.seconds))
            os.kill(process, signal.SIGKILL)
            code, _, said = warm.end()
            assert code in (0, -signal.SIGKILL), said
            check_after_kill(whole.command, out)
            if code == 0:
                break
            done += 1
        code, _, said = warm.run(*command)
        assert code == 0, said
        check_same(whole, out)


@pytest.mark.parametrize("whole", TRAINING, indirect=True)
def test_ctrl_c_saves_and_resumes(whole: Whole, warm: Warm, parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = warm.start(*parts.arguments(whole.command, out))
    wait_for_step(out, 4)
    os.kill(process, signal.SIGINT)
    code, printed, said = warm.end()
    assert (code, printed) == (130, "")
    assert said.endswith("\ndptr: interrupted; continue with --resume\n")
    assert "Traceback" not in said
    last = records(out)[-1]["step"]
    assert 4 <= last < STEPS
    assert [path.name for path in (out / "state").iterdir()] == [f"step-{last:09d}"]
    check_whole(out)
    code, printed, said = warm.run(*parts.arguments(whole.command, out))
    assert code == 2
    assert said == f"dptr: error: {out} already holds a run; pass --resume to continue it, or another --out\n"
    code, printed, said = warm.run(*parts.arguments(whole.command, out), "--resume")
    assert (code, printed) == (0, f"{out / 'model'}\n")
    assert said.count(f"{out}: goes on after step {last} of {STEPS}\n") == 1
    check_same(whole, out)


@pytest.mark.parametrize("names", ["SIGTERM", "SIGHUP", "SIGTERM SIGINT SIGHUP"])
@pytest.mark.parametrize("whole", ["pretrain"], indirect=True)
def test_other_signals_to_stop_save_too(names: str, whole: Whole, warm: Warm, parts: Parts, tmp_path: Path) -> None:
    """Several different ones are one wish to stop; of a program and all that it started, each gets each."""
    out = tmp_path / "run"
    process = warm.start(*parts.arguments(whole.command, out))
    wait_for_step(out, 4)
    for name in names.split():
        os.kill(process, signal.Signals[name])
    code, _, said = warm.end()
    assert code == 130 and said.endswith("\ndptr: interrupted; continue with --resume\n")
    assert warm.run(*parts.arguments(whole.command, out), "--resume")[0] == 0
    check_same(whole, out)


@pytest.mark.parametrize("whole", ["bank"], indirect=True)
def test_ctrl_c_while_a_bank_is_made(whole: Whole, warm: Warm, parts: Parts, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = warm.start(*parts.arguments("bank", out))
    wait_until(lambda: any((tmp_path / "run.parts").glob("0*.safetensors")))
    os.kill(process, signal.SIGINT)
    assert warm.end() == (130, "", "dptr: interrupted\n")
    assert not out.exists()
    code, _, said = warm.run(*parts.arguments("bank", out))
    assert (code, said) == (0, "")
    check_same(whole, out)


def wait_for_step(out: Path, step: int) -> None:
    """Until the log holds a step."""
    log, sought = out / "log.jsonl", f'\n{{"step": {step}, "loss"'
    wait_until(lambda: log.exists() and sought in log.read_text())


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("whole", ALIGN_SLOW, indirect=True)
def test_a_full_disk_leaves_what_was_saved(whole: Whole, warm: Warm, parts: Parts, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk; the state, with its moments, is larger than the model."""
    out = tmp_path / "run"
    command = [*parts.arguments(whole.command, out), "--resume"]
    model, state = (largest(whole.out / part) for part in ("model", "state"))
    assert state > 2 * model
    fresh = parts.arguments(whole.command, tmp_path / "fresh", f"run.save_every={STEPS}")
    check_full(tmp_path / "fresh", "model", warm.run(*fresh, file_limit=model // 2))
    assert not (tmp_path / "fresh" / "model").exists()
    process = warm.start(*command)
    wait_for_step(out, 4)
    os.kill(process, signal.SIGINT)
    assert warm.end()[0] == 130
    before = contents(out)
    check_full(out, r"state/step-\d+", warm.run(*command, file_limit=2 * model))
    after = contents(out)
    changed = {name for name in before if name.startswith("state/") and after.get(name) != before[name]}
    assert changed == set()
    check_whole(out)
    code, _, said = warm.run(*command)
    assert code == 0, said
    check_same(whole, out)


def largest(folder: Path) -> int:
    return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_full(out: Path, folder: str, outcome: tuple[int, str, str]) -> None:
    code, printed, said = outcome
    assert (code, printed) == (2, ""), said
    error = (
        rf"dptr: error: cannot write {out}/{folder}/\w+\.safetensors: File too large; free space or pass another path"
    )
    assert re.fullmatch(error, said.splitlines()[-1])
    assert "Traceback" not in said
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_ctrl_c_at_a_terminal_reaches_workers_too(parts: Parts, tmp_path: Path) -> None:
    """A process of its own, with workers; a terminal sends Ctrl-C to all of them."""
    out = tmp_path / "run"
    longer = "run.workers=2", "run.steps=2000", "run.validate_every=2000"
    command = [sys.executable, "-m", "dptr.cli.app", *parts.arguments("align", out, *longer)]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    wait_for_step(out, 2)
    os.killpg(process.pid, signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, ""), said
    assert said.endswith("\ndptr: interrupted; continue with --resume\n")
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):  # the whole group is gone
        os.killpg(process.pid, 0)
    (state,) = (out / "state").iterdir()
    assert json.loads((state / "state.json").read_text())["step"] == records(out)[-1]["step"]
    assert load_tensors(state / "tensors.safetensors", "state")


@pytest.mark.slow
def test_a_training_of_dptr_label_is_saved_when_all_processes_are_told_to_stop(parts: Parts, tmp_path: Path) -> None:
    """It gets SIGTERM itself, and its parent, which gets one too, closes its input: that is no second Ctrl-C."""
    out = tmp_path / "run"
    longer = "run.steps=2000", "run.validate_every=2000", "run.save_every=2000"
    command = [sys.executable, "-m", "dptr.label.child", *parts.arguments("align", out, *longer)]
    process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_step(out, 2)
    process.terminate()
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.endswith("\ndptr: interrupted; continue with --resume\n"), said
    (state,) = (out / "state").iterdir()
    assert json.loads((state / "state.json").read_text())["step"] == records(out)[-1]["step"] >= 2
