"""``--lang auto`` of ``dptr read`` and ``dptr batch read``: whose reading it is, and what is said once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers_docs import ROOT

from dptr.batch.run import plan_ocr, plan_reading, run_here, run_task
from dptr.cli.app import run
from dptr.cli.options import choose_recognizer
from dptr.utils.errors import UserError
from dptr.weights import AUTO, DEFAULT_MODEL

CROPS = ROOT / "tests" / "golden" / "recognizers"
CYRILLIC = [str(CROPS / f"cyrillic-{number}.png") for number in (0, 3)]


def test_the_options_name_it() -> None:
    assert choose_recognizer(None, AUTO) == AUTO
    with pytest.raises(UserError, match="pass one of them"):
        choose_recognizer(DEFAULT_MODEL, AUTO)


def test_json_names_script_and_recognizer(installed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["read", "--lang", "auto", "--json", *CYRILLIC]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["script"], row["recognizer"]) for row in rows] == [("Cyrillic", "cyrillic")] * 2
    assert rows[1]["text"] == "ВОСЬМОМУ" and not err


def test_what_is_not_installed_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dptr.inference.zoo.find_packages", dict)
    for name in "abc":
        shutil.copy(CYRILLIC[0], tmp_path / f"{name}.png")
    assert run(["read", "--lang", "auto", "--min-confidence", "0.2", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[1] for line in out.splitlines()] == [""] * 3
    assert err.count("no recognizer that reads them is installed") == 1
    assert "pip install ./recognizers/cyrillic" in err


@pytest.mark.parametrize("option", [["--charset", "10"], ["--pattern", "date"], ["--precision", "0.9"]])
def test_what_is_of_one_language_needs_one(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["read", "--lang", "auto", *option, CYRILLIC[0]]) == 2
    assert "language" in capsys.readouterr().err


def test_a_job_reads_each_crop_with_its_recognizer(installed: list[str], tmp_path: Path) -> None:
    from helpers_batch import read_rows

    (tmp_path / "crops").mkdir()
    for name in ("cyrillic-3.png", "chinese-1.png"):
        shutil.copy(CROPS / name, tmp_path / "crops")
    settings = {"model": AUTO, "turn": True, "tta": 1, "charset": "", "pattern": "", "lexicon": None, "isolate": False}
    task = plan_reading(str(tmp_path / "crops"), settings)
    assert run_task(task, str(tmp_path / "out"), run_here).rows == 2
    rows = {row["source"]: row for row in read_rows(tmp_path / "out")}
    assert rows["cyrillic-3.png"]["recognizer"] == "cyrillic" and rows["cyrillic-3.png"]["text"] == "ВОСЬМОМУ"
    assert (rows["chinese-1.png"]["script"], rows["chinese-1.png"]["recognizer"]) == ("Han", "chinese")
    assert task.asked["model"].startswith(f"{AUTO} ")


def test_a_job_of_photographs_takes_it_too(installed: list[str], tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "golden" / "photograph.jpg", tmp_path / "photograph.jpg")
    task = plan_ocr(str(tmp_path), {"model": AUTO, "detector": "ppocr"}, {"dpi": 200, "text_layer": "ignore"})
    assert run_task(task, str(tmp_path / "out"), run_here).rows == 1
