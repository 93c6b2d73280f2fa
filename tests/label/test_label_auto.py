"""``dptr label --lang``: words are proposed by the recognizer of a language, or of the script that each shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers_docs import ROOT
from helpers_label import make_words
from helpers_serve import find_all, make_app, make_client

from dptr import OCR, AutoReader, UserError
from dptr.cli.app import run
from dptr.inference.prediction import OF_NO_RECOGNIZER
from dptr.label.finder import Finder
from dptr.label.store import Store
from dptr.label.trainings import Trainings
from dptr.serve.labeling import Labeling

CROPS = ROOT / "tests" / "golden" / "recognizers"


def proposed(folder: Path) -> dict[str, str]:
    store = Store(folder)
    held = {Path(item.photo.path).stem: item.proposed for item in store.each(["open", "sure"])}
    store.close()
    return held


@pytest.mark.parametrize("language", ["auto", "ru"])
def test_words_are_proposed_by_their_recognizer(language: str, installed: list[str], tmp_path: Path) -> None:
    out = tmp_path / "set"
    arguments = ["label", str(CROPS / "cyrillic-3.png"), "-o", str(out), "--crops", "--no-page", "--lang", language]
    assert run(arguments) == 0
    assert proposed(out) == {"cyrillic-3": "ВОСЬМОМУ"}


def test_a_missing_script_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)
    for name in "abc":
        shutil.copy(CROPS / "cyrillic-0.png", tmp_path / f"{name}.png")
    arguments = ["label", str(tmp_path), "-o", str(tmp_path / "set"), "--crops", "--no-page", "--lang", "auto"]
    assert run(arguments) == 0
    err = capsys.readouterr().err
    assert err.count(OF_NO_RECOGNIZER) == 1 and "pip install ./recognizers/cyrillic" in err
    assert len(proposed(tmp_path / "set")) == 3 and "0 accepted unseen" in err


def test_the_page_is_told_of_a_missing_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)
    reader, store = AutoReader(), Store(tmp_path / "set")
    finder = Finder(store, crops=True)
    app = make_app(labeling=Labeling(finder, 50_000_000), reader=reader)
    with make_client(app) as client:
        finder.start([str(CROPS / "cyrillic-0.png")], OCR(detector=find_all, reader=reader))
        finder.stop()
        (note,) = client.get("/v1/label").json()["finding"]["missing"]
        files = {"files": ("b.png", (CROPS / "cyrillic-0.png").read_bytes())}
        for crops in ("true", "false"):
            answer = client.post("/v1/label/pictures", files=files, data={"crops": crops}).json()
            assert answer["missing"] == [note] and note.endswith(OF_NO_RECOGNIZER)
    store.close()


def test_a_language_and_a_model_contradict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["label", "-o", str(tmp_path / "set"), "--model", "dptr-en", "--lang", "auto"]) == 2
    assert "--model and --lang" in capsys.readouterr().err
    assert run(["label", "-o", str(tmp_path / "set"), "--lang", "klingon"]) == 2
    assert "not one of the" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_training_goes_on_with_one_recognizer(tmp_path: Path) -> None:
    store = make_words(tmp_path)
    with pytest.raises(UserError, match=r"goes on with one recognizer.*--lang or --model of that one"):
        Trainings(store).base_of(AutoReader())
    store.close()
