"""No command deletes, overwrites, or moves a file that DPTR did not write; its own outputs it replaces."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.cli.app import run
from dptr.data.lmdb import write_lmdb
from dptr.inference.prediction import Prediction
from dptr.inference.reader import Reader
from dptr.utils.errors import UserError
from dptr.utils.files import list_files
from dptr.utils.images import Picture
from dptr.weights import model_file

MINE = "mine, the only copy\n"
SYNTH = ["--set", 'corpus.sources=[{kind="pattern", patterns=["random"]}]', "--set", "corpus.heldout=0"]
SYNTH += ["--set", "size.height=16", "--set", "size.width=32"]
Command = Callable[[Path], list[str]]


@pytest.fixture(autouse=True)
def _quick_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.bench.STARTS", 1)
    monkeypatch.setattr("dptr.bench.WARM_UP", 1)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labeled crops without a fault."""
    folder = tmp_path_factory.mktemp("crops")
    for index, array in enumerate(np.random.default_rng(0).integers(0, 256, (2, 32, 128, 3), dtype=np.uint8)):
        Image.fromarray(array).save(folder / f"{index}.png")
    (folder / "labels.tsv").write_text("0.png\tone\n1.png\ttwo\n")
    return folder


@pytest.fixture
def files(crops: Path, font_folder: Path) -> dict[str, Command]:
    """The commands that write a file, each as a function of that file."""
    evaluate = ["eval", "--data", str(crops), "--model", "dptr-en-tiny"]
    bench = ["bench", "--model", "dptr-en-tiny", "--backend", "onnx", "--batch-size", "1", "--repeats", "1"]
    bank = ["bank", "--images", str(crops), "--dual", "glyph"]
    synth = ["synth", "--count", "4", *SYNTH, "--set", f'render.fonts=["{font_folder}"]']
    return {
        "eval --json": lambda out: [*evaluate, "--json", "-o", str(out)],
        "eval --html": lambda out: [*evaluate, "--html", str(out)],
        "data check --json": lambda out: ["data", "check", str(crops), "--json", "-o", str(out)],
        "data check --html": lambda out: ["data", "check", str(crops), "--html", str(out)],
        "data stats --json": lambda out: ["data", "stats", str(crops), "--json", "-o", str(out)],
        "bench --json": lambda out: [*bench, "--json", "-o", str(out)],
        "bank": lambda out: [*bank, "--out", str(out)],
        "fonts --sheet": lambda out: ["fonts", str(font_folder), "--sheet", str(out)],
        "synth --sheet png": lambda out: [*synth, "--out", str(_fresh(out)), "--sheet", str(out)],
        "synth --sheet html": lambda out: [*synth, "--out", str(_fresh(out)), "--sheet", str(out)],
    }


def _fresh(out: Path) -> Path:
    """A folder for the pack, which is not what is looked at."""
    folder = out.parent.parent / "packs" / str(len(list((out.parent.parent).glob("packs/*"))))
    folder.mkdir(parents=True)
    return folder


def name_of(command: str) -> str:
    return {"eval --html": "a.html", "data check --html": "a.html", "bank": "bank", "fonts --sheet": "a.png"}.get(
        command, f"a.{command.split()[-1]}" if "sheet" in command else "a.json"
    )


FILES = (
    "eval --json", "eval --html", "data check --json", "data check --html", "data stats --json", "bench --json", "bank",
    "fonts --sheet", "synth --sheet png", "synth --sheet html",
)  # fmt: skip


@pytest.mark.parametrize("command", FILES)
def test_a_file_of_a_user_stays_and_ones_own_is_replaced(
    command: str, files: dict[str, Command], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out" / name_of(command)
    out.parent.mkdir()
    out.write_text(MINE)
    assert run(files[command](out)) == 2
    assert out.read_text() == MINE and list_files(out.parent) == [out.name]
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"dptr: error: {out}: exists, and nothing in it says that dptr wrote it; pass another name")
    out.unlink()
    for _ in range(2):
        assert run(files[command](out)) == 0, capsys.readouterr().err
        assert list_files(out.parent) == [out.name] and out.stat().st_size > len(MINE)
    real = tmp_path / "elsewhere"
    shutil.move(out, real)
    out.symlink_to(real)
    before = real.stat().st_ino
    assert run(files[command](out)) == 0
    assert os.readlink(out) == str(real) and real.stat().st_ino != before  # a new file under the same name
    real.write_text(MINE)
    assert run(files[command](out)) == 2
    assert os.readlink(out) == str(real) and real.read_text() == MINE


def test_a_model_and_a_report_of_another_kind_stay(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model, crop, page = tmp_path / "mine.onnx", tmp_path / "crop.png", tmp_path / "page.html"
    shutil.copy(model_file("dptr-en-tiny", "model.onnx"), model)
    Image.new("RGB", (64, 16), "white").save(crop)
    page.write_text('<!doctype html><html><head>\n<meta name="generator" content="dptr 0">')
    digests = {path: path.read_bytes() for path in (model, crop, page)}
    for out in digests:
        assert run(["read", str(crop), "--model", str(model), "-o", str(out)]) == 2
        assert run(["info", "--json", "-o", str(out)]) == 2
    assert run(["eval", str(tmp_path), "--json", "-o", str(tmp_path / "r"), "--html", str(tmp_path / "r")]) == 2
    assert "named for two outputs" in capsys.readouterr().err
    assert run(["eval", str(tmp_path), "--html", "-"]) == 2
    assert "--html -: pictures go to a file" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in digests} == digests and len(list_files(tmp_path)) == 3


def test_what_was_read_before_an_interruption_is_not_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 16), "white").save(tmp_path / "crop.png")
    real = Reader.stream

    def interrupted(reader: Reader, sources: Iterable[Picture]) -> Iterator[Prediction | UserError]:
        yield from real(reader, list(sources)[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(Reader, "stream", interrupted)
    crop = str(tmp_path / "crop.png")
    assert run(["read", crop, crop, "--model", "dptr-en-tiny", "-o", str(tmp_path / "out.tsv")]) == 130
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{crop}\t") and captured.out.count("\n") == 1
    assert "out.tsv is not written; what was finished is on standard output" in captured.err
    assert list_files(tmp_path) == ["crop.png"]


@pytest.mark.parametrize("command", FILES)
def test_what_is_no_plain_file_is_written_through(command: str, files: dict[str, Command], tmp_path: Path) -> None:
    out = tmp_path / "out" / name_of(command)
    out.parent.mkdir()
    os.mkfifo(out)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(out.read_bytes()), daemon=True)
    reader.start()
    assert run(files[command](out)) == 0
    reader.join(60)
    assert len(read[0]) > len(MINE) and b"dptr" in read[0][:200]
    assert stat.S_ISFIFO(out.lstat().st_mode) and list_files(out.parent) == [out.name]
    out.unlink()
    try:
        os.mknod(out, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.close(os.open(out, os.O_WRONLY))
    except OSError as error:
        pytest.skip(f"no devices here, the pipe was tried: {error}")
    assert run(files[command](out)) == 0
    assert stat.S_ISCHR(out.lstat().st_mode) and list_files(out.parent) == [out.name]


def test_an_export_stays_off_what_is_no_export(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "mine.onnx").write_text(MINE)
    assert run(["export", "--model", "dptr-en-tiny", "--out", str(tmp_path / "mine.onnx")]) == 2
    assert "nothing in it says that dptr wrote it" in capsys.readouterr().err
    assert (tmp_path / "mine.onnx").read_text() == MINE and list_files(tmp_path) == ["mine.onnx"]


def test_unfinished_work_on_a_bank_is_not_somebodys_folder(tmp_path: Path, files: dict[str, Command], capsys) -> None:
    (tmp_path / "bank.parts").mkdir()
    (tmp_path / "bank.parts" / "thesis.txt").write_text(MINE)
    assert run(files["bank"](tmp_path / "bank")) == 2
    assert "no unfinished bank that dptr made" in capsys.readouterr().err
    assert (tmp_path / "bank.parts" / "thesis.txt").read_text() == MINE


# --- rendered crops ---------------------------------------------------------------------------------------------------


@pytest.fixture
def synth(font_folder: Path) -> Callable[..., int]:
    def call(kind: str, out: Path, *more: str) -> int:
        fonts = ["--set", f'render.fonts=["{font_folder}"]']
        return run(["synth", "--format", kind, "--count", "4", "--out", str(out), *SYNTH, *fonts, *more])

    return call


@pytest.mark.parametrize("kind", ["pack", "folder", "lmdb"])
def test_rendered_crops_go_to_no_folder_of_a_user(kind: str, synth: Callable[..., int], tmp_path: Path) -> None:
    for folder in (tmp_path / "out", tmp_path / ".unfinished-out"):
        folder.mkdir()
        (folder / "thesis.txt").write_text(MINE)
        (folder / "labels.tsv").write_text(MINE)
    for more in ([], ["--resume"]):
        assert synth(kind, tmp_path / "out", *more) == 2
    if kind == "lmdb":
        shutil.rmtree(tmp_path / "out")
        assert synth(kind, tmp_path / "out") == 2
        assert list_files(tmp_path) == [".unfinished-out/labels.tsv", ".unfinished-out/thesis.txt"]
    assert all((tmp_path / name).read_text() == MINE for name in list_files(tmp_path))


@pytest.mark.parametrize("kind", ["pack", "folder", "lmdb"])
def test_what_lies_beside_rendered_crops_stays(kind: str, synth: Callable[..., int], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert synth(kind, out) == 0
    before = {name: (out / name).read_bytes() for name in list_files(out)}
    mine = ("notes.txt", ".partial-download", "images/mine.png")
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(MINE)
    assert synth(kind, out) == 2
    assert synth(kind, out, "--resume") == 0
    assert {name: (out / name).read_bytes() for name in before} == before
    assert sorted(list_files(out)) == sorted([*before, *mine])
    assert all((out / name).read_text() == MINE for name in mine)


def test_a_picture_and_a_line_that_were_not_rendered_stay(synth: Callable[..., int], tmp_path: Path, capsys) -> None:
    assert synth("folder", tmp_path / "out") == 0
    picture, labels = tmp_path / "out" / "images" / "000000" / "000000003.png", tmp_path / "out" / "labels.tsv"
    lines, rendered = labels.read_text().splitlines(keepends=True), picture.read_bytes()
    labels.write_text("".join(lines[:3]))  # as after an interruption
    picture.write_text(MINE)
    assert synth("folder", tmp_path / "out", "--resume") == 2
    assert picture.read_text() == MINE and "another picture than dptr renders" in capsys.readouterr().err
    picture.write_bytes(rendered[:50])  # its own, cut
    labels.write_text("".join(lines[:3]) + "images/mine.png\tmi")
    assert synth("folder", tmp_path / "out", "--resume") == 2
    assert labels.read_text().endswith("images/mine.png\tmi") and "dptr did not write" in capsys.readouterr().err
    labels.write_text("".join(lines[:3]) + lines[3][:10])
    assert synth("folder", tmp_path / "out", "--resume") == 0
    assert labels.read_text() == "".join(lines) and picture.read_bytes() == rendered
    labels.write_text("".join(lines) + "images/mine.png\tmi")  # nothing is left to render
    assert synth("folder", tmp_path / "out", "--resume") == 2
    assert labels.read_text() == "".join(lines) + "images/mine.png\tmi"


# --- data sets --------------------------------------------------------------------------------------------------------


def build(source: Path, out: Path, *more: str) -> int:
    return run(["data", "build", str(source), "--kind", "table", "--out", str(out), *more])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder ``photos`` with the only copies of two pictures in ``photos/images``, and their labels outside of it."""
    for index in range(2):
        path = tmp_path / "photos" / "images" / f"{index + 1:09d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + index, 12), (100 * index, 200, 50)).save(path)
    (tmp_path / "words.tsv").write_text("000000001.png\tone\n000000002.png\ttwo\n")
    return tmp_path / "words.tsv"


def state(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in list_files(folder)}


@pytest.mark.parametrize("manifest", [None, '{"mine": 1}', "mine"])
@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
@pytest.mark.parametrize("labels", [True, False])
def test_the_only_copies_of_pictures_stay(
    option: str, labels: bool, manifest: str | None, table: Path, tmp_path: Path, capsys
) -> None:
    photos = tmp_path / "photos"
    if labels:
        (photos / "labels.tsv").write_text("images/000000001.png\tone\nimages/000000002.png\ttwo\n")
    if manifest:
        (photos / "import.json").write_text(manifest)
    before = state(photos)
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, tmp_path / "link", tmp_path / "photos" / "images" / ".."):
        assert build(table, out, "--images", str(photos / "images"), option) == 2
        assert "holds the pictures" in capsys.readouterr().err
    shutil.copytree(photos / "images", tmp_path / "copies")
    assert build(table, photos, "--images", str(tmp_path / "copies"), option) == 2
    assert "no data set that dptr made" in capsys.readouterr().err
    assert state(photos) == before and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["out", "out.lmdb"])
def test_a_data_set_is_replaced_by_the_next_until_it_is_changed(name: str, table: Path, tmp_path: Path, capsys) -> None:
    out, images = tmp_path / name, ["--images", str(tmp_path / "photos" / "images")]
    assert build(table, out, *images) == 0
    table.write_text("000000002.png\tzwei\n")
    assert build(table, out, *images, "--overwrite") == 0
    files = list_files(out)
    assert files == (
        ["data.mdb", "import.json"] if name == "out.lmdb" else ["images/000000001.png", "import.json", "labels.tsv"]
    )

    def add_a_file() -> None:
        (out / "thesis.txt").write_text(MINE)

    def correct_the_data() -> None:
        file = out / ("data.mdb" if name == "out.lmdb" else "labels.tsv")
        file.write_bytes(file.read_bytes().replace(b"zwei", b"Zwei"))

    def add_a_picture() -> None:
        (out / "images").mkdir(exist_ok=True)
        shutil.copy(tmp_path / "photos" / "images" / "000000001.png", out / "images" / "000000002.png")

    def add_an_empty_folder() -> None:
        (out / "mine").mkdir()

    whole = tmp_path / "whole"
    shutil.copytree(out, whole)
    for change in (add_a_file, correct_the_data, add_a_picture, add_an_empty_folder):
        change()
        before = state_with_folders(out)
        assert build(table, out, *images, "--overwrite") == 2
        assert "not as dptr wrote it" in capsys.readouterr().err
        assert state_with_folders(out) == before
        shutil.rmtree(out)
        shutil.copytree(whole, out)
    moved = tmp_path / f"moved{Path(name).suffix}"
    moved.symlink_to(out)
    assert build(table, moved, *images, "--overwrite") == 0  # unchanged, by way of a link
    assert moved.is_symlink() and list_files(out) == files


def state_with_folders(folder: Path) -> dict[str, bytes | None]:
    return {name: (folder / name).read_bytes() if (folder / name).is_file() else None for name in list_files(folder)}


@pytest.mark.parametrize("way", ["path", "link to a picture", "link to a folder"])
def test_a_data_set_whose_pictures_are_read_is_not_replaced(way: str, table: Path, tmp_path: Path, capsys) -> None:
    """Made by DPTR, and now the only copies."""
    out = tmp_path / "out"
    assert build(table, out, "--images", str(tmp_path / "photos" / "images")) == 0
    shutil.rmtree(tmp_path / "photos")
    before = state(out)
    picture = out / "images" / "000000002.png"
    if way == "link to a picture":
        (tmp_path / "a.png").symlink_to(picture)
        picture = Path("a.png")
    elif way == "link to a folder":
        (tmp_path / "pictures").symlink_to(out / "images")
        picture = Path("pictures") / picture.name
    table.write_text(f"{picture}\tonly this\n")
    assert build(table, out, "--overwrite") == 2
    assert "which is read; pass another path" in capsys.readouterr().err
    assert state(out) == before and not list(tmp_path.glob(".*"))


def test_a_data_set_of_an_earlier_version_can_be_checked_but_is_not_removed(
    table: Path, tmp_path: Path, capsys
) -> None:
    out, images = tmp_path / "out", ["--images", str(tmp_path / "photos" / "images")]
    assert build(table, out, *images) == 0
    (out / "import.json").write_text('{"kind": "table", "source": "words.tsv", "words": 2, "dropped": {}}')
    assert build(table, out, *images, "--resume") == 0
    before = state(out)
    assert build(table, out, *images, "--overwrite") == 2
    assert "made before dptr kept track of its files" in capsys.readouterr().err and state(out) == before


@pytest.mark.parametrize("name", ["out", "out.lmdb"])
def test_data_sets_of_others_and_what_lies_beside_unfinished_ones_stay(name: str, table: Path, tmp_path: Path) -> None:
    images = ["--images", str(tmp_path / "photos" / "images")]
    if name == "out.lmdb":
        write_lmdb(tmp_path / name, [(b"picture", "theirs")])
    else:
        shutil.copytree(tmp_path / "photos", tmp_path / name)
        (tmp_path / name / "labels.tsv").write_text("images/000000001.png\ttheirs\n")
    unfinished = tmp_path / f".unfinished-{name}"
    unfinished.mkdir()
    (unfinished / "thesis.txt").write_text(MINE)
    before = state(tmp_path / name)
    for more in ([], ["--resume"], ["--overwrite"]):
        assert build(table, tmp_path / name, *images, *more) == 2
    assert state(tmp_path / name) == before
    shutil.rmtree(tmp_path / name)
    assert build(table, tmp_path / name, *images) == 2
    assert (unfinished / "thesis.txt").read_text() == MINE and not (tmp_path / name).exists()


def test_a_full_disk_loses_no_reading_that_was_finished(tmp_path: Path) -> None:
    Image.new("RGB", (64, 16), "white").save(tmp_path / "crop.png")
    script = (
        "import resource, sys\n"
        "from dptr.cli.app import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))\n"
        "sys.exit(run(['read', *['crop.png'] * 30, '--model', 'dptr-en-tiny', '-o', 'out.tsv']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "out.tsv is not written; what was finished is on standard output" in done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 5 and len(set(lines)) == 1 and lines[0].startswith("crop.png\t")
    assert list_files(tmp_path) == ["crop.png"]
