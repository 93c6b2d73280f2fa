"""Names, labels, and settings that are meant to do harm: one clear line each, and nothing else is lost."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dptr.cli.app import run
from dptr.data.lmdb import write_lmdb

MODEL = "dptr-en-tiny"


@pytest.fixture
def crop(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 20), "white").save(tmp_path / "crop.png")
    return tmp_path / "crop.png"


def test_a_name_forges_no_line_and_commands_no_terminal(crop: Path, tmp_path: Path, capsys) -> None:
    name = tmp_path / "a.png\tWORD\t0.9999\n\x1b[2J\u202eb.png"
    shutil.copy(crop, name)
    reads = ["read", "--model", MODEL, str(name), str(crop)]
    assert run(reads) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2 and all(line.count("\t") == 2 for line in out.splitlines())
    assert out.replace("\t", "").replace("\n", "").isprintable()
    assert run([*reads, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == [str(name), str(crop)]
    assert run([*reads, "--format", "csv"]) == 0
    assert next(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))["path"] == str(name)
    assert run(["read", "--model", MODEL, f"{name}.gone"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err[:-1].isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes and devices")
def test_labels_that_name_devices_and_pipes_are_counted_and_the_others_read(crop: Path, tmp_path: Path, capsys) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    names = ["crop.png", "/dev/zero", "pipe.png", "endless.png", "../crop.png", str(crop)]
    (tmp_path / "labels.tsv").write_text("".join(f"{name}\tword\n" for name in names))
    assert run(["data", "check", str(tmp_path), "--json"]) == 1
    unreadable = json.loads(capsys.readouterr().out)["problems"]["unreadable image"]
    assert unreadable["count"] == 4
    assert run(["eval", "--model", MODEL, str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["n"] == 2


def test_read_goes_on_behind_pictures_that_break_decoders(crop: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    def overflow(*arguments: object) -> None:
        raise OverflowError("signed integer is greater than maximum")

    Image.new("RGB", (9, 9)).save(tmp_path / "a.tif")
    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.load", overflow)
    Image.new("L", (1, 900_000)).save(tmp_path / "line.png")
    paths = [str(tmp_path / name) for name in ("a.tif", "line.png", "crop.png")]
    assert run(["read", "--model", MODEL, "--tta", "2", *paths]) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in out.splitlines()] == paths[1:]
    assert "a.tif: damaged" in err and "signed integer" in err


@pytest.mark.parametrize(
    "text",
    ["a=" + "[" * 1500 + "]" * 1500, "a" + ".a" * 1500 + "=1", "[run]\nsteps=" + "9" * 5000, "run.steps=" + "9" * 4000],
)
def test_recipes_that_are_too_much_are_one_line(text: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    assert run(["pretrain", "--config", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "out")]) == 2
    assert run(["pretrain", "--set", text.replace("\n", ""), "--out", str(tmp_path / "out")]) == 2
    assert run(["pretrain", "--config", "/dev/zero", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [b"1" + b"0" * 30, b"9" * 5000, b"3"])
def test_an_lmdb_that_claims_more_samples_than_it_holds(count: bytes, crop: Path, tmp_path: Path, capsys) -> None:
    import lmdb

    write_lmdb(tmp_path / "set.lmdb", [(crop.read_bytes(), "word")])
    with lmdb.open(str(tmp_path / "set.lmdb")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"num-samples", count)
        if count == b"3":
            transaction.delete(b"label-000000001")
    assert run(["data", "check", str(tmp_path / "set.lmdb")]) == 2
    err = capsys.readouterr().err
    assert "num-samples" in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["pretrain", "finetune", "align", "synth"])
def test_an_empty_name_is_no_folder(command: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([command, "--out", ""]) == 2
    assert "empty name" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "setting", ["run.workers=100000", "run.batch_size=100000000", "model.decoder.refinements=10000000"]
)
def test_settings_that_would_bring_a_machine_down(setting: str, tmp_path: Path, capsys) -> None:
    assert run(["finetune", "--set", setting, "--set", "data.rendered=1", "--out", str(tmp_path / "out")]) == 2
    assert "less than or equal to" in capsys.readouterr().err


def test_a_working_folder_that_was_deleted_is_told(tmp_path: Path, capsys, monkeypatch) -> None:
    """Some libraries end the process then, with a line about themselves."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(["synth", "--count", "1", "--out", "x"]) == 2
    assert capsys.readouterr().err == "dptr: error: the working folder was deleted; cd to one that exists\n"


def test_a_label_of_megabytes_is_told_in_a_line_that_can_be_read(crop: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "labels.tsv").write_text(f"crop.png\t{'a' * 2_000_000}\n")
    assert run(["data", "check", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "too long" in said
    assert len(said) < 5000
