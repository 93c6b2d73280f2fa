"""Trainings in the background: one at a time, stopped and resumed, cut off, failed; what they changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_label import fake_training, make_words
from helpers_serve import CROPS, make_app, make_client, tiny
from PIL import Image

from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.labeled import open_labeled
from dptr.data.report import DropReport
from dptr.inference.reader import Reader
from dptr.label.compare import SHARE, compare, hold_out
from dptr.label.curves import read_curves, read_spent
from dptr.label.export import export_crops
from dptr.label.finder import Finder
from dptr.label.item import Proposal
from dptr.label.propose import propose
from dptr.label.reread import read_again
from dptr.label.run import Run, list_runs, open_run
from dptr.label.store import Store
from dptr.label.trainings import Trainings
from dptr.photo.ocr import OCR
from dptr.serve.labeling import Labeling
from dptr.serve.trainings import find_used
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError
from dptr.weights import model_file


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A set of six labeled words; what trains does not, but says what it was told."""
    monkeypatch.setattr("dptr.label.trainings.COMMAND", fake_training(tmp_path))
    made = make_words(tmp_path)
    yield made
    made.close()


def await_end(trainings: Trainings, number: int) -> Run:
    deadline = time.monotonic() + 60
    while trainings.busy is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    return trainings.get(number)


def await_step(run: Run) -> None:
    deadline = time.monotonic() + 60
    while not (run.train / "log.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_from_labels_to_a_file_and_what_it_changed(store: Store) -> None:
    trainings = Trainings(store)
    run = await_end(trainings, trainings.start("finetune", tiny(), 1).number)
    assert (run.phase, run.error, run.base) == ("done", "", "dptr-en-tiny")
    told = [json.loads(line) for line in run.said.read_text().splitlines()]
    assert told[0][:7] == ["finetune", "--data", str(run.crops), "--model", "dptr-en-tiny", "--out", str(run.train)]
    assert "run.seconds=60" in told[0] and f"data.validation_share={run.share!r}" in told[0]
    assert told[1][:2] == ["export", "--model"] and len(open_labeled(run.crops)) == 6
    compared = json.loads(run.compared.read_text())
    assert compared["held_out"] and 1 <= compared["words"] < 6 and compared["changes"] == 0
    second = await_end(trainings, trainings.start("finetune", tiny(), 1).number)
    assert second.number == 2 and [each.number for each in list_runs(store.folder)] == [2, 1]


def test_a_line_is_one_text_for_a_recognizer_that_writes_spaces(store: Store) -> None:
    for reader, text in ((tiny(), "Rue\nde\nla\nPaix"), (Reader("dptr-latin"), "Rue de la Paix")):
        trainings = Trainings(store)
        run = await_end(trainings, trainings.start("adapt", reader, 1, [" Rue de\u00a0la  Paix "]).number)
        assert run.words.read_text() == f"{text}\n"


def test_one_at_a_time_stopped_and_resumed(store: Store) -> None:
    trainings = Trainings(store)
    run = trainings.start("adapt", tiny(), 1, ["slow", "Müller", "slow", ""])
    with pytest.raises(UserError, match="run 1 goes on"):
        trainings.start("finetune", tiny(), 1)
    await_step(run)
    with pytest.raises(UserError, match="run 1: it is training"):
        trainings.resume(1)
    other = Trainings(store)  # of another server: the folder is locked
    blocked = await_end(other, other.start("finetune", tiny(), 1).number)
    assert blocked.phase == "failed" and "another run writes" in blocked.error
    trainings.stop()
    stopped = await_end(trainings, 1)
    assert (stopped.phase, stopped.spent) == ("stopped", 7.5)
    assert run.words.read_text() == "slow\nMüller\n"
    run.words.write_text("quick\n")
    trainings.resume(1)
    done = await_end(trainings, 1)
    assert done.phase == "done" and json.loads(done.compared.read_text())["words"] == 6
    assert json.loads(done.said.read_text().splitlines()[1])[-1] == "--resume"
    with pytest.raises(UserError, match="run 1: it is done"):
        trainings.resume(1)
    with pytest.raises(UserError, match="run 9: not in"):
        trainings.get(9)


@pytest.mark.skipif(sys.platform == "win32", reason="without groups of processes")
def test_ctrl_c_at_a_terminal_does_not_reach_a_training(store: Store) -> None:
    """A terminal sends it to the server's group; the server stops the training, and a second one would end it unsaved.

    It stays in the server's session: Linux weighs ``os.nice`` within a session.
    """
    trainings = Trainings(store)
    run = trainings.start("adapt", tiny(), 1, ["slow"])
    await_step(run)
    assert trainings._child is not None
    child = trainings._child.pid
    assert os.getpgid(child) == child != os.getpgrp() and os.getsid(child) == os.getsid(0)
    trainings.close()
    assert trainings.get(1).phase == "stopped"


@pytest.mark.skipif(sys.platform == "win32", reason="without this signal")
def test_a_signal_to_all_processes_stops_a_run_and_does_not_fail_it(store: Store) -> None:
    """A machine that is shut down, and a container that is stopped, send it to the training too, or first."""
    trainings = Trainings(store)
    run = trainings.start("adapt", tiny(), 1, ["slow"])
    await_step(run)
    assert trainings._child is not None
    trainings._child.terminate()
    stopped = await_end(trainings, 1)
    assert (stopped.phase, stopped.error, stopped.spent) == ("stopped", "", 7.5)
    run.words.write_text("quick\n")
    trainings.resume(1)
    assert await_end(trainings, 1).phase == "done"


def test_a_run_that_was_cut_off_is_a_stopped_one(store: Store) -> None:
    trainings = Trainings(store)
    run = await_end(trainings, trainings.start("finetune", tiny(), 1).number)
    run.write(phase="training")  # as a killed server leaves it
    again = Trainings(store)
    assert again.get(1).phase == "stopped"
    again.resume(1)
    assert await_end(again, 1).phase == "done"


def test_what_fails_is_told(store: Store) -> None:
    trainings = Trainings(store)
    failed = await_end(trainings, trainings.start("adapt", tiny(), 1, ["broken"]).number)
    assert (failed.phase, failed.error) == ("failed", "dptr adapt: the disk is full")
    with pytest.raises(UserError, match="0 words"):
        trainings.start("adapt", tiny(), 1, [" "])
    with pytest.raises(UserError, match=r"0\.1 minutes"):
        trainings.start("finetune", tiny(), 0.1)
    (failed.folder / "run.json").write_text('{"kind": "other"}')
    with pytest.raises(UserError, match="not as dptr wrote it"):
        open_run(failed.folder)


def test_too_few_labels_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="less than two labeled words"):
        Trainings(Store(tmp_path / "set")).start("finetune", tiny(), 1)


def test_a_child_ends_with_its_parent() -> None:
    command = [sys.executable, "-m", "dptr.label.child", "serve", "--port", "0", "-m", "dptr-en-tiny"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stderr is not None
        assert "serving dptr-en-tiny" in child.stderr.readline()
        assert child.poll() is None
        child.stdin.close()
        assert child.stderr.read() in ("dptr: stopped\n", "dptr: interrupted\n")  # before it listened
    assert child.returncode in (0, 130)


def test_curves_are_read_while_they_grow(tmp_path: Path) -> None:
    run = Run(tmp_path, 1, "finetune", "dptr-en", "dptr-en", 1, phase="training").write()
    assert read_curves(run).to_dict()["loss"] == [] and read_spent(run) == 0
    run.train.mkdir()
    (run.train / "recipe.json").write_text(json.dumps({"run": {"steps": 100, "seconds": 0, "batch_size": 64}}))
    rows = [
        {"step": 0, "validation_word_accuracy": 0.5, "validation_others_words": 0.8},
        {"step": 20, "loss": 1.5, "crops_per_second": 64},
        {"step": 40, "loss": None, "crops_per_second": 64},
        {"step": 40, "validation_word_accuracy": 0.75, "validation_others_words": 0.7},
        {"step": 40, "validation_word_accuracy_0.5": 0.6, "validation_others_words_0.5": 0.9},
    ]
    (run.train / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"step": 60, "lo')
    curves = read_curves(run)
    assert (curves.step, curves.steps, curves.loss) == (40, 100, [(20, 1.5), (40, 0.0)])
    assert curves.accuracy == [(0, 0.5), (40, 0.75)] and curves.others == {"words": [(0, 0.8), (40, 0.7)]}
    assert curves.seconds_left == 60
    curves.loss = [(step, 1.0) for step in range(5000)]
    thin = curves.to_dict()["loss"]
    assert len(thin) <= 401 and thin[-1] == (4999, 1.0)


def test_words_that_are_read_otherwise_are_listed(tmp_path: Path) -> None:
    digits = tiny().expect(charset="10")
    compared = compare(tiny(), digits, CROPS, 0)
    assert compared.words == len(open_labeled(CROPS)) and not compared.held_out
    assert compared.before > compared.after and compared.changes == len(compared.changed) > 3
    first = compared.changed[0]
    assert first.right_before and not first.right_after  # what got worse comes first
    assert compared.changed[-1].right_after >= first.right_after


def test_at_least_one_crop_is_held_out(tmp_path: Path) -> None:
    for count in (1, 2, 3, 6):
        store = make_words(tmp_path / str(count), count)
        export_crops(store, tmp_path / f"crops-{count}", DropReport())
        if count == 1:
            with pytest.raises(UserError, match="1 labeled word"):
                hold_out(tmp_path / "crops-1")
            continue
        dataset = open_labeled(tmp_path / f"crops-{count}")
        share = hold_out(dataset.path)
        held = is_held_out(np.array([hash_picture(dataset.image_bytes(i)) for i in range(count)], np.uint32), share)
        assert 0 < held.sum() < count and (share == SHARE or held.sum() == 1)


def test_a_word_list_has_one_text_a_line(store: Store) -> None:
    app = make_app(labeling=Labeling(Finder(store), 10_000_000), reader=Reader("dptr-latin"))
    with make_client(app) as client:
        begun = {"kind": "adapt", "minutes": 1, "words": "Rue Foch\r\n\nAvenue de  Paris\n"}
        number = client.post("/v1/label/trainings", json=begun).json()["number"]
    assert open_run(store.folder / "runs" / str(number)).words.read_text() == "Rue Foch\nAvenue de Paris\n"


def test_a_recognizer_is_used_without_a_restart(store: Store, tmp_path: Path) -> None:
    app = make_app(labeling=Labeling(Finder(store), 10_000_000))
    with make_client(app) as client:
        where = "/v1/label/trainings"
        assert client.get(where).json()["runs"] == [] and client.get(where).json()["model"] == "tiny"
        assert client.post(where, json={"kind": "finetune", "minutes": 1}).json()["number"] == 1
        deadline = time.monotonic() + 60
        while client.get(where).json()["busy"] and time.monotonic() < deadline:
            time.sleep(0.05)
        told = client.get(f"{where}/1").json()
        assert told["phase"] == "done" and told["curves"]["accuracy"] and told["compared"]["words"]
        assert client.get("/v1/models").json()["models"][0]["name"] == "tiny"
        assert client.post(f"{where}/1", json={"action": "use"}).json()["model"] == "set-1"
        models = client.get("/v1/models").json()["models"]
        assert [(model["name"], model["default"]) for model in models] == [("set-1", True), ("tiny", False)]
        files = [("files", ("clean.png", (CROPS / "clean.png").read_bytes()))]
        for model in ("", "set-1", "tiny"):
            answer = client.post("/v1/read", files=files, data={"model": model} if model else {})
            assert answer.json()["readings"][0]["text"] == "Market"
        exported = client.get(f"{where}/1/model.onnx")
        assert exported.content == (store.folder / "runs" / "1" / "model.onnx").read_bytes()
        assert "set-1.onnx" in exported.headers["content-disposition"]
        assert client.get(f"{where}/1/crops/000000001.png").content.startswith(b"\x89PNG")
        for path in ("1/crops/..%2f..%2frun.json", "1/crops/labels.tsv", "7", "7/model.onnx", "1/crops/000000099.png"):
            assert client.get(f"{where}/{path}").status_code in (400, 404)
        assert client.post(f"{where}/1", json={"action": "resume"}).status_code == 400
        assert client.post(where, json={"kind": "other"}).status_code == 400
        assert client.post(where, json={"kind": "adapt", "words": "x" * 300}).status_code == 400
        # what is used now is what the next training starts from
        assert client.post(where, json={"kind": "finetune", "minutes": 1}).json()["base"]
        assert open_run(store.folder / "runs" / "2").base == str(store.folder / "runs" / "1" / "train" / "model")
    assert find_used(store) == ("set-1", store.folder / "runs" / "1" / "model.onnx")


def test_a_trained_recognizer_reads_what_is_expected(store: Store) -> None:
    """As the one before: with its pattern, also where the two are compared."""
    reader = tiny().expect(pattern="[a-z]+1")
    with make_client(make_app(labeling=Labeling(Finder(store), 10_000_000), reader=reader)) as client:
        where = "/v1/label/trainings"
        client.post(where, json={"kind": "finetune", "minutes": 1})
        deadline = time.monotonic() + 60
        while client.get(where).json()["busy"] and time.monotonic() < deadline:
            time.sleep(0.05)
        told = client.get(f"{where}/1").json()["compared"]
        assert told["changed"] == []  # the same weights
        client.post(f"{where}/1", json={"action": "use"})
        files = [("files", ("clean.png", (CROPS / "clean.png").read_bytes()))]
        assert client.post("/v1/read", files=files).json()["readings"][0]["text"].endswith("1")


def test_another_recognizer_is_not_taken_for_that_of_a_run(store: Store) -> None:
    reader = copy(tiny())
    reader.name = "plates-1"
    with make_client(make_app(labeling=Labeling(Finder(store), 10_000_000), reader=reader)) as client:
        where = "/v1/label/trainings"
        client.post(where, json={"kind": "finetune", "minutes": 1})
        deadline = time.monotonic() + 60
        while (told := client.get(where).json())["busy"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (told["model"], told["used"], told["runs"][0]["phase"]) == ("plates-1", None, "done")
        told = client.post(f"{where}/1", json={"action": "use"}).json()
        assert (told["model"], told["used"]) == ("set-1", 1)


def test_signs_alone_are_compared_as_they_stand(tmp_path: Path) -> None:
    """The protocol of letters and digits leaves nothing of them, so that any sign would be right."""
    store = Store(tmp_path / "set")
    for name, label in (("clean", "-"), ("digits", "$"), ("letter", "B:")):
        with Image.open(CROPS / f"{name}.png") as image:
            store.add(str(CROPS / f"{name}.png"), 1, image.size, [Proposal((), label, 1, "sure")])
    export_crops(store, tmp_path / "crops", DropReport())

    def reading(*texts: str) -> Any:
        told = SimpleNamespace(charset=resolve_charset("94"))
        return SimpleNamespace(tokenizer=told, stream=lambda crops: [SimpleNamespace(text=text) for text in texts])

    compared = compare(reading("+", "$", "b"), reading("-", "", "B"), tmp_path / "crops", 0)
    assert (compared.before, compared.after) == (2 / 3, 2 / 3)
    assert [(word.right_before, word.right_after) for word in compared.changed] == [
        (True, False), (True, True), (False, True)
    ]  # fmt: skip


def test_open_words_are_read_again_by_another_recognizer(tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    paths = [str(CROPS / f"{name}.png") for name in ("clean", "digits", "letter")]
    propose(store, paths, OCR(reader=tiny()), crops=True, threshold=2)
    clean, digits, letter = store.each()
    store.change(digits.id, 1, "somebody writes")
    store.change(letter.id, 1, "X", "labeled")
    before = [*store.each()]
    assert read_again(store, tiny().expect(charset="10"), stopped=lambda: True) == 0
    assert read_again(store, tiny().expect(charset="10")) == 1
    again, *others = store.each()
    assert others == before[1:]
    assert again.proposed == again.text != clean.text and again.confidence != clean.confidence
    assert store.change(clean.id, clean.version, clean.text, "labeled").text == "Market"  # whoever looked at it


def test_an_exported_file_cannot_be_trained(store: Store, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(model_file("dptr-en-tiny", "model.onnx").read_bytes())
    with pytest.raises(UserError, match="an exported file cannot be trained"):
        Trainings(store).start("finetune", Reader(alone), 1)
