"""An interrupted run that goes on is the uninterrupted run, bit for bit."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from helpers_train import STEPS, Parts, check_whole, contents, records

from dptr.evaluation.calibration import Calibration
from dptr.training.adapt import adapt
from dptr.training.align import align
from dptr.training.finetune import finetune
from dptr.training.pretrain import pretrain
from dptr.training.trainer import Trainer
from dptr.utils.errors import UserError
from dptr.utils.files import lock_folder, read_json, write_json
from dptr.utils.tensors import load_tensors, save_tensors

TRAIN = {"adapt": adapt, "align": align, "teach": align, "pretrain": pretrain, "finetune": finetune}


class Crash(Exception):
    pass


@pytest.fixture(scope="module", params=sorted(TRAIN))
def command(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(command: str, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    TRAIN[command](parts.recipe(command), out)
    return out


def test_interrupted_again_and_again_it_is_the_same_run(
    command: str, whole: Path, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def run_until(step: int, ctrl_c: bool) -> None:
        def learn(run: Trainer, *rest: Any) -> Any:
            losses = real_learn(run, *rest)
            if ctrl_c and run.progress.step == step:
                os.kill(os.getpid(), signal.SIGINT)
            return losses

        def end_step(run: Trainer) -> bool:
            if run.progress.step == step and not ctrl_c:  # everything is logged and validated, nothing saved
                raise Crash
            return real_end(run)

        with monkeypatch.context() as patch:
            real_learn, real_end = Trainer.train_step, Trainer.end_step
            patch.setattr(Trainer, "train_step", learn)
            patch.setattr(Trainer, "end_step", end_step)
            with pytest.raises(KeyboardInterrupt if ctrl_c else Crash):
                TRAIN[command](parts.recipe(command), out, resume=True)
        check_whole(out)

    def saved() -> list[str]:
        return [path.name for path in sorted((out / "state").glob("*"))]

    for step, ctrl_c, left in [(2, False, 0), (5, True, 5), (8, False, 6), (STEPS, False, 9)]:
        run_until(step, ctrl_c)
        assert saved() == ([f"step-{left:09d}"] if left else [])
        assert records(out)[-1]["step"] == step  # more than is saved
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    TRAIN[command](parts.recipe(command), out, resume=True)
    assert records(out) == records(whole)
    assert contents(out) == contents(whole)


def test_a_run_with_a_frozen_part_goes_on_too(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its optimizer has no slots for that part."""
    recipe = parts.recipe("finetune", "decoder_lr_scale=0", "run.steps=6")
    finetune(recipe, tmp_path / "whole")

    def end_step(run: Trainer) -> bool:
        done = real_end(run)
        if run.progress.step == 3:
            raise Crash
        return done

    with monkeypatch.context() as patch:
        real_end = Trainer.end_step
        patch.setattr(Trainer, "end_step", end_step)
        with pytest.raises(Crash):
            finetune(recipe, tmp_path / "cut")
    finetune(recipe, tmp_path / "cut", resume=True)
    kept = "state/step-000000006/tensors.safetensors"
    states = [load_tensors(tmp_path / name / kept, "state") for name in ("whole", "cut")]
    assert states[0].keys() == states[1].keys()
    assert all(tensor.equal(states[1][name]) for name, tensor in states[0].items())
    assert not [name for name in states[0] if name.startswith("optimizer.") and "decoder" in name]


def test_a_second_ctrl_c_ends_at_once(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*arguments: object) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigpending()
        raise AssertionError("still here")

    monkeypatch.setattr("dptr.training.pretrain.spelling_accuracy", encode)
    with pytest.raises(KeyboardInterrupt):
        pretrain(parts.recipe("pretrain"), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "state").iterdir()] == ["step-000000003"]


def test_ctrl_c_counts_where_the_shell_had_it_ignored(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that starts a run in the background has SIGINT ignored."""

    def interrupt(*arguments: object) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return {"word_accuracy": 0.0}

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr("dptr.training.trainer.Trainer.validate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            pretrain(parts.recipe("pretrain"), tmp_path / "run")
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert [path.name for path in (tmp_path / "run" / "state").iterdir()] == ["step-000000004"]


def test_a_folder_that_is_gone_ends_the_run_and_is_not_made_anew(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(trainer: Trainer) -> None:
        trainer.writer.wait()
        shutil.rmtree(trainer.out)

    monkeypatch.setattr(Trainer, "validate", delete)
    for number, settings in enumerate((["run.log_every=1"], ["run.log_every=1000", "run.save_every=5"])):
        out = tmp_path / f"run-{number}"
        with pytest.raises(UserError, match="gone since the run began"):
            pretrain(parts.recipe("pretrain", "run.tensorboard=false", *settings), out)
        assert not out.exists()


def test_a_run_does_not_go_on_where_another_began(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that pass ``check_out`` at the same time: one is refused, and the recipe is the other's."""
    out, mine = tmp_path / "run", parts.recipe("pretrain", "run.tensorboard=false")
    run = Trainer.run

    def late(trainer: Trainer) -> None:
        write_json(trainer.out / "recipe.json", {"run": {}, "optim": {}})
        run(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", late)
        with pytest.raises(UserError, match="another run began in it"):
            pretrain(mine, out)
    assert not (out / "state").exists()
    monkeypatch.setattr("dptr.training.pretrain.check_out", lambda *arguments: None)
    with lock_folder(out), pytest.raises(UserError, match="another run writes in it"):
        pretrain(mine, out)
    assert read_json(out / "recipe.json", "recipe") == {"run": {}, "optim": {}}


def test_a_resumed_run_says_which_crops_have_changed(parts: Parts, tmp_path: Path, capsys) -> None:
    crops = shutil.copytree(parts.folder / "crops", tmp_path / "crops")
    recipe = parts.recipe("finetune", f"data.train=[{json.dumps(str(crops))}]", "run.tensorboard=false")
    finetune(recipe, tmp_path / "run")
    finetune(recipe, tmp_path / "run", resume=True)
    assert "have changed" not in capsys.readouterr().err
    lines = (crops / "labels.tsv").read_text().splitlines(keepends=True)
    (crops / "labels.tsv").write_text("".join(lines[1:]))
    finetune(recipe, tmp_path / "run", resume=True)
    said = capsys.readouterr().err
    assert re.search(
        r"warning: the crops for (training|validation) have changed: \d+ \(\w+\) before, \d+ \(\w+\) now", said
    )


def test_the_best_state_is_measured_again_if_the_validation_crops_have_changed(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was compared by its score on the crops of before: 90 % of easy ones, so that nothing was kept any more."""
    scores: list[float] = []
    weights: list[dict[str, Any]] = []

    def score(crops: Any, tokenizer: Any, recognize: Any, *rest: Any) -> dict[str, float]:
        weights.append({name: tensor.clone() for name, tensor in recognize.args[0].state_dict().items()})
        return {"word_accuracy": scores.pop(0)}

    def end_step(run: Trainer) -> bool:
        done = real_end(run)
        if run.progress.step == 1:
            raise Crash
        return done

    monkeypatch.setattr("dptr.training.finetune.score_crops", score)
    monkeypatch.setattr("dptr.training.finetune.calibrate", lambda *_: Calibration(1.0))
    crops = shutil.copytree(parts.folder / "crops", tmp_path / "crops")
    recipe = parts.recipe(
        "finetune", f"data.validation=[{json.dumps(str(crops))}]", "run.steps=3", "run.validate_every=1",
        "run.save_every=1", "run.tensorboard=false", "optim.ema_decay=0",
    )  # fmt: skip
    scores[:] = [0.9, 0.1, 0.1, 0.1]
    finetune(recipe, tmp_path / "whole")
    initial, *_, third, last = weights
    weights.clear()
    scores[:] = [0.9, 0.1]
    with monkeypatch.context() as patch:
        real_end = Trainer.end_step
        patch.setattr(Trainer, "end_step", end_step)
        with pytest.raises(Crash):
            finetune(recipe, tmp_path / "run")
    lines = (crops / "labels.tsv").read_text().splitlines(keepends=True)
    (crops / "labels.tsv").write_text("".join(lines[1:]))
    weights.clear()
    scores[:] = [0.2, 0.5, 0.4]
    model = finetune(recipe, tmp_path / "run", resume=True)
    said = capsys.readouterr().err
    assert "validation have changed" in said and "now; the best state so far is measured on the new ones" in said
    assert re.search(r"best state so far: reads 20\.0% of \d+ validation crops", said)
    (result,) = read_json(model / "card.json", "card")["results"]
    assert (result["step"], result["word_accuracy"]) == (2, 0.5)
    for measured, expected in zip(weights, (initial, third, last), strict=True):  # what trains on is what trained
        assert all(tensor.equal(expected[name]) for name, tensor in measured.items())


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_a_run_does_not_go_on_with_another_order_of_characters(command: str, parts: Parts, tmp_path: Path) -> None:
    """The file is named as before and holds as many, so that the weights fit; they would read other letters."""
    if command == "adapt":
        pytest.skip("its charset is the recognizer's")
    file, out = tmp_path / "letters.txt", tmp_path / "run"
    key = "glyph.charset" if command in ("align", "teach") else "model.charset"
    more = [f"{key}={json.dumps(str(file))}", 'decomposition=""', "run.steps=3"]
    more += ['init.decoder=""'] if command == "finetune" else []
    file.write_text("0123456789" + LETTERS)
    recipe = parts.recipe(command, *more)
    TRAIN[command](recipe, out)
    before = contents(out)
    file.write_text("0123456789" + LETTERS[::-1])
    with pytest.raises(
        UserError, match=r"the charset has changed: 36 characters \(\w+\) before, 36 characters \(\w+\) now"
    ):
        TRAIN[command](recipe, out, resume=True)
    assert contents(out) == before
    file.write_text("0123456789" + LETTERS[:-1])
    with pytest.raises(UserError, match=r"the charset has changed: 36 characters \(\w+\) before, 35 characters"):
        TRAIN[command](recipe, out, resume=True)
    file.write_text("0123456789" + LETTERS)
    TRAIN[command](recipe, out, resume=True)


def test_adaptation_does_not_go_on_with_another_encoder(parts: Parts, tmp_path: Path) -> None:
    model = shutil.copytree(parts.folder / "recognizer", tmp_path / "recognizer")
    recipe = parts.recipe("adapt", f"init.model={json.dumps(str(model))}", "run.steps=3")
    adapt(recipe, tmp_path / "run")
    weights = load_tensors(model / "model.safetensors", "model")
    save_tensors(model / "model.safetensors", {name: tensor * 2 for name, tensor in weights.items()})
    with pytest.raises(UserError, match=r"the recognizer \(init.model\) has changed"):
        adapt(recipe, tmp_path / "run", resume=True)


def test_there_is_something_to_lose(command: str, whole: Path) -> None:
    """The runs compared above hold dropout, batch norm, EMA, noise and validation, and losses that differ by step."""
    losses = [line["loss"] for line in records(whole) if "loss" in line]
    assert len(set(losses)) == len(losses) == STEPS
    validated = {line["step"] for line in records(whole) if any(key.startswith("validation_") for key in line)}
    assert len(validated) == 3 + (command in ("adapt", "finetune"))  # before the first step, too
    tensors = load_tensors(whole / "state" / f"step-{STEPS:09d}" / "tensors.safetensors", "state")
    kinds = {name.partition(".")[0] for name in tensors}
    assert kinds == {"model", "ema", "optimizer"}
    assert any("running_mean" in name for name in tensors) == (command not in ("adapt", "pretrain"))
    assert (whole / "model" / "model.safetensors").is_file()


def test_a_finished_run_stays_as_it_is(command: str, whole: Path, parts: Parts) -> None:
    """But for older states that a kill left, half-deleted or not."""
    before, log = contents(whole), (whole / "log.jsonl").read_bytes()
    last = whole / "state" / f"step-{STEPS:09d}"
    shutil.copytree(last, last.with_name("step-000000009"))
    (last.with_name("step-000000006")).mkdir()
    shutil.copy(last / "tensors.safetensors", last.with_name("step-000000006"))
    assert TRAIN[command](parts.recipe(command), whole, resume=True) == whole / "model"
    assert contents(whole) == before
    assert (whole / "log.jsonl").read_bytes() == log


@pytest.mark.parametrize("command", ["align", "finetune"], indirect=True)
def test_an_error_ends_the_workers_at_once(command: str, parts: Parts, tmp_path: Path, monkeypatch) -> None:
    def learn(run: Trainer, *rest: object) -> Any:
        assert len(multiprocessing.active_children()) == 2
        raise UserError("no")

    monkeypatch.setattr(Trainer, "train_step", learn)
    with pytest.raises(UserError, match="no") as caught:
        TRAIN[command](parts.recipe(command, "run.workers=2"), tmp_path / "run")
    assert caught.tb is not None  # it keeps the loop's variables alive
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("command", ["align", "finetune"], indirect=True)
def test_workers_change_nothing(command: str, whole: Path, parts: Parts, tmp_path: Path) -> None:
    TRAIN[command](parts.recipe(command, "run.workers=2"), tmp_path / "run")
    assert records(tmp_path / "run") == records(whole)


def test_a_clock_that_is_set_back_changes_nothing(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the losses nor when a run ends that follows a clock."""
    recipe, timed = parts.recipe("pretrain"), parts.recipe("pretrain", "run.seconds=600")
    pretrain(recipe, tmp_path / "a")
    hours = itertools.count()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(hours))
    pretrain(recipe, tmp_path / "b")
    assert next(hours) > 3  # it was asked
    assert records(tmp_path / "a") == records(tmp_path / "b")
    pretrain(timed, tmp_path / "c")
    assert records(tmp_path / "c")[-1]["step"] == STEPS
    spent = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "c").glob("state/*/state.json")]
    assert spent and all(0 < each < 600 for each in spent)
