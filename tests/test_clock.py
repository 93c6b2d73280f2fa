"""A clock that is set back changes no result and no duration."""

from __future__ import annotations

import ast
import itertools
import json
import time
from pathlib import Path

import pytest
from helpers_docs import ROOT
from helpers_label import proposal, save_photo

from dptr.cli.app import run
from dptr.label.store import Store

OF_THE_WALL = {
    "dptr/dual/orp/bank.py",  # the day on which a bank was made; also below
    "dptr/dual/orp/residuals.py",
    "dptr/label/curves.py",  # how old a file is, by the time that the file system gave it; bounded
    "dptr/label/store.py",  # when a word was corrected
    "dptr/photo/outputs/page_xml.py",  # when a page was written
    "dptr/training/logger.py",  # when an event of TensorBoard was written
}
"""What asks for the time of the day. Everything else that takes time takes it from a clock that nobody sets."""


def asks_for_the_day(path: Path) -> bool:
    calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return any(call in ("time.time", "time.time_ns") or call.endswith(("datetime.now", "date.today")) for call in calls)


def test_durations_are_not_taken_from_the_time_of_the_day() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "dptr").rglob("*.py") if asks_for_the_day(path)}
    assert found == OF_THE_WALL


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that it is asked, an hour is gone."""
    hours = itertools.count()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(hours))
    monkeypatch.setattr(time, "time_ns", lambda: int((now - 3600 * next(hours)) * 1e9))


def test_words_that_are_rendered_and_read(falling: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["synth", "--format", "folder", "--count", "3", "--out", str(tmp_path / "set")]) == 0
    assert run(["data", "check", str(tmp_path / "set")]) == 0
    capsys.readouterr()
    assert run(["eval", "-m", "dptr-en-tiny", str(tmp_path / "set"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["n"] == 3


def test_corrections_of_a_word_follow_each_other(falling: None, tmp_path: Path) -> None:
    store = Store(tmp_path / "set")
    store.add(save_photo(tmp_path / "a.png"), 1, (200, 100), [proposal("a")])
    for number in range(1, 4):
        store.change(1, number, text=f"label {number}", state="labeled")
    assert (store.get(1).text, store.get(1).version) == ("label 3", 4)
    store.close()
    assert Store(tmp_path / "set").get(1).text == "label 3"
