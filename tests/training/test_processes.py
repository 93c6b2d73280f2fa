"""Two processes that share each batch, started as ``torchrun`` does, on the CPU (gloo)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers_signal import start
from helpers_train import STEPS, Parts, records

from dptr.cli.app import run

# Without dropout, whose masks depend on how the batch is divided.
PLAIN = ["model.decoder.dropout=0"]
VIT = ['init.glyph=""', 'model.encoder={kind="vit", size="tiny", height=16, width=32}']  # no batch norm
TOGETHER = ["run.sync_batch_norm=true"]  # svtr
ALL_SLOW = [("finetune", 2, 1, VIT), ("finetune", 2, 1, TOGETHER), ("finetune", 3, 1, TOGETHER), ("pretrain", 2, 2, [])]


@pytest.fixture(autouse=True, scope="module")
def _short_validation() -> None:
    """This process validates on as many samples as those that it starts."""


def launch(processes: int, arguments: list[str]) -> subprocess.Popen[str]:
    """The command in so many processes of one thread."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] * (processes > 1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return start(
        [sys.executable, *several, "-m", "dptr", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def arguments(parts: Parts, command: str, out: Path, *settings: str) -> list[str]:
    return parts.arguments(command, out, *PLAIN, *settings)


@pytest.mark.parametrize(
    ("command", "several", "accumulate", "settings"),
    [("pretrain", 2, 1, []), *(pytest.param(*case, marks=pytest.mark.slow) for case in ALL_SLOW)],
)
def test_processes_step_as_one(
    command: str, several: int, accumulate: int, settings: list[str], parts: Parts, tmp_path: Path
) -> None:
    """The same losses and validation scores with the same batch over all, and the first process alone writes.

    Also where each computes its share in parts.
    """
    assert run(arguments(parts, command, tmp_path / "1", *settings)) == 0
    counted = f"run.gradient_accumulation_steps={accumulate}"
    process = launch(several, arguments(parts, command, tmp_path / "2", counted, *settings))
    said, _ = process.communicate(timeout=250)
    assert process.returncode == 0, said
    one, two = (records(tmp_path / str(processes)) for processes in (1, 2))
    losses = [record["loss"] for record in one if "loss" in record]
    assert len(losses) == STEPS and len(set(losses)) == STEPS
    assert [record.keys() for record in two] == [record.keys() for record in one]
    for ours, theirs in zip(one, two, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-5)
    assert {path.name for path in (tmp_path / "2").iterdir()} == {path.name for path in (tmp_path / "1").iterdir()}


def signalled(number: signal.Signals, arguments: list[str], out: Path) -> tuple[int, str]:
    """Two processes, of which the second gets a signal once it trains; its process id, and what the launcher said."""
    process = launch(2, arguments)
    log = out / "log.jsonl"
    while not log.exists() or not log.read_text():
        assert process.poll() is None
        time.sleep(0.2)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    workers = [int(line) for line in children.stdout.split()]
    assert len(workers) == 2
    os.kill(workers[1], number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    return workers[1], said


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run(parts: Parts, tmp_path: Path) -> None:
    """The other one would wait for it for ever; the launcher ends both and says which failed."""
    asked = arguments(parts, "pretrain", tmp_path / "out", "run.steps=100000")
    worker, said = signalled(signal.SIGKILL, asked, tmp_path / "out")
    assert f"exitcode  : -9 (pid: {worker})" in said


@pytest.mark.slow
def test_interrupting_one_stops_both_and_one_can_go_on_alone(parts: Parts, tmp_path: Path) -> None:
    """The state of the step at which both stopped is there, and no step is done twice or left out."""
    rarely = ("run.steps=3000", "run.save_every=3000", "run.validate_every=3000")
    asked = arguments(parts, "pretrain", tmp_path / "out", *rarely)
    _, said = signalled(signal.SIGINT, asked, tmp_path / "out")
    assert "Connection closed" not in said
    (state,) = (tmp_path / "out" / "state").iterdir()
    assert 0 < int(state.name.removeprefix("step-")) < 3000
    process = launch(1, [*asked, "--resume"])
    said, _ = process.communicate(timeout=250)
    assert process.returncode == 0, said
    steps = [record["step"] for record in records(tmp_path / "out") if "loss" in record]
    assert steps == list(range(1, 3001))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_both(parts: Parts, tmp_path: Path) -> None:
    """In the same step, each with its share of the batch saved."""
    huge = ("optim.lr=1e30", "optim.grad_clip=1e30")
    process = launch(2, arguments(parts, "pretrain", tmp_path / "out", *huge))
    said, _ = process.communicate(timeout=120)
    saved = sorted(path.name for path in (tmp_path / "out").glob("nan-*"))
    assert process.returncode != 0 and "loss is nan" in said
    assert [name.rpartition("-")[2] for name in saved] == ["0.safetensors", "1.safetensors"]
    assert len({name.rpartition("-")[0] for name in saved}) == 1
