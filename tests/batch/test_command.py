"""``dptr batch`` as it is typed: what is wrong is one line, code 2, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_batch import MODEL, draw_words, write_folder, write_parquet

from dptr.batch.engine import Pool, connect
from dptr.cli.app import run
from dptr.utils.errors import UserError

PICTURES = draw_words(3)


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "crops", PICTURES)
    write_parquet(tmp_path / "table" / "a.parquet", PICTURES)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "a.parquet").write_bytes((tmp_path / "table" / "a.parquet").read_bytes()[:-9])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "words.txt").write_text("one\n世界\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("read crops out --address 127.0.0.1:1", "cluster 127.0.0.1:1: cannot be reached"),
        ("read crops out --address ray://127.0.0.1:1", "cannot be reached"),
        ("read crops out --address nowhere", "write auto, HOST:PORT, or ray://HOST:PORT"),
        ("read crops out --workers many", "--workers many: write a number"),
        ("read crops out --workers 4-2", "the smaller number first"),
        ("read none out", "nothing is there"),
        ("read full out", "holds nothing that is read"),
        ("read crops full", "not empty (notes.txt) and no job of dptr"),
        ("read crops crops", "lies in"),
        ("read crops crops/out", "lies in"),
        ("read table out --column picture", "no column 'picture', but id, image"),
        ("read cut out", "no whole Parquet file"),
        ("read crops out --model nosuch", "nosuch"),
        ("read crops out --charset nosuch", "nosuch"),
        ("read crops out --tta 9", "tta 9"),
        ("read crops out --lexicon words.txt", "lexicon words.txt: '世界' (U+4E16 U+754C) not among"),
        ("ocr crops out --lexicon words.txt", "lexicon words.txt: '世界' (U+4E16 U+754C) not among"),
        ("read crops full/notes.txt", "a file; pass the name of a folder"),
        ("read nosuch://in out", "nosuch"),
        ("read crops nosuch://out", "nosuch"),
        ("ocr crops out --dpi 1", "dpi 1"),
        ("ocr crops out --detector nosuch", "nosuch"),
        ("synth out --count 4 --set render.nosuch=1", "nosuch"),
        ("synth full --count 4", "not empty (notes.txt) and no job of dptr"),
        ("synth out --count 0", "--count"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    inputs: Path, arguments: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    words = arguments.split()
    words += ["--model", MODEL] if "--model" not in words and words[0] != "synth" else []
    assert run(["batch", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and expected in printed.err
    assert {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()} == before
    assert not (inputs / "out").exists()


def test_the_group_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["batch"]) == 0
    assert {"read", "ocr", "synth"} <= set(capsys.readouterr().out.split())


def test_a_ray_that_does_not_start_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it gives up after half a minute, with a bare exception."""
    import ray

    def give_up(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.setattr(ray, "init", give_up)
    with (
        pytest.raises(UserError, match=r"^Ray on this machine: The current node timed out .* less to do$") as caught,
        connect(Pool(workers=1)),
    ):
        pass
    assert "\n" not in str(caught.value)
