"""``dptr ocr`` with a reader that needs no model: what goes in, what comes out, and what is said about mistakes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from helpers_photo import FakeOCR, make_pdf, picture, show
from PIL import Image

from dptr import __version__
from dptr.cli.app import run
from dptr.cli.ocr import STYLES
from dptr.photo.outputs import FORMATS
from dptr.photo.record import RECORD
from dptr.utils.outputs import is_marked

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The fake reader, and a folder of pictures and of files that are none as the working folder."""
    module = types.ModuleType("dptr.photo.ocr")
    module.OCR = FakeOCR  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dptr.photo.ocr", module)
    monkeypatch.setattr("dptr.cli.command.require_extras", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png", 11)
    picture(tmp_path / "frames.tif", 21, 22, 23)
    picture(Path("deep.png"), 31)
    Path("folder/sub").mkdir(parents=True)
    picture(Path("folder/2.png"), 2)
    picture(Path("folder/10.png"), 10)
    picture(Path("folder/sub/3.png"), 3)
    Image.new("RGB", (50, 40), "white").save("white.png")
    Path("text.pdf").write_bytes(make_pdf([show("one two", 50, 150), "", show("three", 50, 150)]))
    Path("folder/z.pdf").write_bytes(make_pdf([""]))


def _out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["ocr", *arguments]) == code, capsys.readouterr().err
    return capsys.readouterr().out


def _rows(text: str) -> list[tuple[str, int, str]]:
    return [(row["source"], row["page"], row["text"]) for row in map(json.loads, text.splitlines())]


def test_all_formats_are_offered() -> None:
    assert tuple(FORMATS) == STYLES


def test_text_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert _out(capsys, "a.png") == "red 11\npage 1\n"
    assert _out(capsys, "a.png", "frames.tif", "--pages", "1") == "red 11\npage 1\n\fred 21\npage 1\n"


def test_all_inputs_are_read_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = ["frames.tif", "folder", "white.png", "*a.png"]
    read = [
        *(("frames.tif", number, f"red {20 + number}\npage {number}") for number in (1, 2, 3)),
        ("folder/2.png", 1, "red 2\npage 1"), ("folder/10.png", 1, "red 10\npage 1"), ("folder/z.pdf", 1, ""),
        ("white.png", 1, ""), ("a.png", 1, "red 11\npage 1"),
    ]  # fmt: skip
    assert _rows(_out(capsys, *inputs, "--json")) == read
    assert _rows(_out(capsys, *inputs, "a.png", "--format", "json")) == read, "each once"
    deep = [row[0] for row in _rows(_out(capsys, "-r", "folder", "--json"))]
    assert deep == ["folder/2.png", "folder/10.png", "folder/sub/3.png", "folder/z.pdf"]


def test_standard_input_is_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(Path("frames.tif").read_bytes())))
    assert [row[:2] for row in _rows(_out(capsys, "-", "--json"))] == [("-", 1), ("-", 2), ("-", 3)]


def test_a_page_that_takes_long_is_announced_in_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowOCR(FakeOCR):
        def stream(self, sheets: Any) -> Iterator[Any]:
            for page in super().stream(sheets):
                for _ in range(1000):
                    time.sleep(0.01)
                    said.append(capsys.readouterr().err)
                    if "read 0 of 1 pages" in said[-1]:
                        break
                yield page

    said: list[str] = []
    monkeypatch.setattr(sys.modules["dptr.photo.ocr"], "OCR", SlowOCR)
    monkeypatch.setattr("dptr.utils.terminal.EVERY", 0.02)
    assert run(["ocr", "a.png", "-o", "a.txt"]) == 0
    assert "read 0 of 1 pages [00:00]\n" in "".join(said)


def test_pages_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row[1] for row in _rows(_out(capsys, "frames.tif", "--pages", "3,1", "--json"))] == [3, 1]


def test_the_text_layer_is_taken_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row[2] for row in _rows(_out(capsys, "text.pdf", "--json"))] == ["", "", ""]
    used = _rows(_out(capsys, "a.png", "text.pdf", "frames.tif", "--pages", "1", "--text-layer", "use", "--json"))
    assert [row[2] for row in used] == ["red 11\npage 1", "one two", "red 21\npage 1"]
    assert [row[2] for row in _rows(_out(capsys, "text.pdf", "--text-layer", "use", "--json"))] == [
        "one two",
        "",
        "three",
    ]


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        *(
            ("o.txt", b"red 11"),
            ("o.json", b'{"dptr"'),
            ("o.tsv", b"image\tpage"),
            ("o.csv", b"image,page"),
            ("o.pdf", b"%PDF-"),
        ),
        *((name, b"<?xml") for name in ("o.hocr", "o.alto.xml", "o.page.xml")),
    ],
)
def test_the_suffix_says_the_format(name: str, begin: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert _out(capsys, "a.png", "-o", name) == ""
    assert Path(name).read_bytes().startswith(begin)
    if is_marked(name):
        _out(capsys, "a.png", "-o", name)


def test_a_pdf_can_go_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["ocr", "frames.tif", "--format", "pdf"]) == 0
    with pypdfium2.PdfDocument(capfdbinary.readouterr().out) as document:
        texts = [document[index].get_textpage().get_text_range() for index in range(len(document))]
    assert [text.split() for text in texts] == [["red", str(red), "page", str(red - 20)] for red in (21, 22, 23)]


def test_texts_go_on_after_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    """Text and tables do not say that DPTR wrote them, so that what stood there ended the next run."""
    given = ["ocr", "a.png", "frames.tif", "deep.png", "-o", "new/"]
    _out(capsys, "frames.tif", "-o", "new/")
    Path("new/frames.txt").write_text("as it was")
    assert run(given) == 2 and "new/frames.txt: exists, and nothing in it says" in capsys.readouterr().err
    assert run([*given, "--resume"]) == 0
    assert "dptr: 1 of 3 inputs passed over, whose files are in new/\n" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in Path("new").glob("[!.]*")} == {
        "a.txt": "red 11\npage 1\n",
        "frames.txt": "as it was",
        "deep.txt": "red 31\npage 1\n",
    }
    assert run([*given, "--resume"]) == 0 and "3 of 3 inputs passed over" in capsys.readouterr().err
    assert run([*given, "missing.png", "--resume"]) == 2


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ("--model dptr-en-tiny", "model 'dptr-latin [0-9a-f]{16}', not 'dptr-en-tiny [0-9a-f]{16}'"),
        ("--pattern [0-9]+", r"pattern '', not '\[0-9\]\+'"),
        ("--charset 10", r"charset '', not '10 characters \(\w+\)'"),
        ("--lexicon words.txt", r"lexicon '', not 'words\.txt [0-9a-f]{16}'"),
        ("--min-confidence 0.9", "min-confidence '0.4', not '0.9'"),
        ("--pages 1", "pages '', not '1'"),
        ("--detector rapidocr", "detector 'ppocr', not 'rapidocr'"),
    ],
)
def test_files_of_other_options_are_not_passed_over(other: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They were, so that one folder held readings of two models."""
    Path("words.txt").write_text("red\n")
    _out(capsys, "a.png", "-o", "new/")
    before = {path: path.read_bytes() for path in Path("new").iterdir()}
    assert run(["ocr", "a.png", "deep.png", "-o", "new/", "--resume", *other.split()]) == 2
    assert re.fullmatch(
        rf"dptr: error: --resume: new/a\.txt was written with {named}; pass the same options, or another folder\n",
        capsys.readouterr().err,
    )
    assert {path: path.read_bytes() for path in Path("new").iterdir()} == before
    same = ["--device", "cpu", "--batch-size", "2", "--isolate", "--overlay", "drawn/"]
    _out(capsys, "a.png", "deep.png", "-o", "new/", "--resume", *same)
    _out(capsys, "deep.png", "-o", "json/", "--json")
    _out(capsys, "deep.png", "-o", "json/", "--json", *other.split())  # replaces it, and what is known about it
    _out(capsys, "deep.png", "-o", "json/", "--json", *other.split(), "--resume")
    with open("new/.dptr-ocr.jsonl", "ab") as record:
        record.write(b'\n{"file": "a.txt", "settings": {"mod')  # killed
    _out(capsys, "a.png", "-o", "new/", "--resume")
    Path("new/a.txt").unlink()
    _out(capsys, "a.png", "-o", "new/", "--resume", *other.split())
    assert run(["ocr", "a.png", "-o", "new/", "--resume"]) == 2
    capsys.readouterr()
    Path("new/.dptr-ocr.jsonl").unlink()  # as an earlier version left it
    _out(capsys, "a.png", "-o", "new/", "--resume", *other.split())


@pytest.mark.parametrize("isolate", [[], ["--isolate"]])
def test_inputs_that_have_changed_are_read_again(isolate: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that was scanned again, with the same names, was passed over."""
    given = ["ocr", "a.png", "deep.png", "frames.tif", "-o", "new/", "--format", "text,json", "--resume", *isolate]
    assert run(given) == 0
    picture(Path("a.png"), 12)
    picture(Path("frames.tif"), 24, 25)
    picture(Path("deep.png"), 31)  # as it was, and newer
    capsys.readouterr()
    assert run(given) == 0
    err = capsys.readouterr().err
    assert "dptr: a.png and 1 more: changed since the last run, and read again\n" in err
    assert "dptr: 1 of 3 inputs passed over" in err
    assert Path("new/a.txt").read_text() == "red 12\npage 1\n" and "red 25" in Path("new/frames.json").read_text()
    assert run(given) == 0 and "changed" not in (err := capsys.readouterr().err) and "3 of 3 inputs" in err


def test_a_corrected_text_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    """Though its picture has changed, and whoever corrected it must decide."""
    given = ["ocr", "a.png", "-o", "new/", "--resume"]
    assert run(given) == 0
    Path("new/a.txt").write_text("corrected")
    picture(Path("a.png"), 12)
    assert run(given) == 2
    assert "new/a.txt: exists, and nothing in it says" in capsys.readouterr().err
    assert Path("new/a.txt").read_text() == "corrected"


def test_files_of_another_version_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["ocr", "a.png", "deep.png", "-o", "new/", "--resume"]
    assert run(given) == 0 and run(given) == 0
    assert "another version" not in capsys.readouterr().err
    record = Path("new", RECORD)
    record.write_text(record.read_text().replace(f'"{__version__}"', '"0.0.9"', 1))
    assert run(given) == 0
    assert "dptr: another version wrote 1 of these files" in capsys.readouterr().err


def test_an_input_of_which_a_page_is_missing_is_not_finished(capsys: pytest.CaptureFixture[str]) -> None:
    _out(capsys, "frames.tif", "-o", "new/", "--format", "page", "--overlay", "drawn/")
    Path("new/frames-2.page.xml").unlink()
    _out(capsys, "frames.tif", "-o", "new/", "--format", "page", "--overlay", "drawn/", "--resume")
    assert {path.name for path in Path("new").glob("[!.]*")} == {f"frames-{number}.page.xml" for number in (1, 2, 3)}


def test_several_formats_are_written_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Each file is the one that its format alone would give, and an input that lacks one of its files is read again."""
    given = ["a.png", "frames.tif"]
    for style in ("alto", "page", "pdf", "text"):
        _out(capsys, *given, "-o", "alone/", "--format", style)
    several = [*given, "-o", "both/", "--format", "pdf,page,alto,text"]
    _out(capsys, *several)
    alone, both = (
        {path.name: path for path in Path(folder).iterdir() if path.name != RECORD} for folder in ("alone", "both")
    )
    assert sorted(alone) == sorted(both) and len(both) == 2 * 3 + 4
    for name, path in both.items():
        if name.endswith(".pdf"):
            assert _pdf_words(path) == _pdf_words(alone[name]) != []
        else:
            assert _timeless(path) == _timeless(alone[name])
    both["frames.txt"].unlink()
    repeated = ["--format", "pdf", "--format", "page,alto", "--format", "text"]
    _out(capsys, *given, "-o", "both/", *repeated, "--resume")
    assert both["frames.txt"].read_bytes() == alone["frames.txt"].read_bytes()


def test_a_repeated_format_is_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    _out(capsys, "a.png", "-o", "out/", "--format", "tsv", "--json", "--format", "alto")
    assert {path.name for path in Path("out").iterdir()} == {RECORD, "a.tsv", "a.json", "a.alto.xml"}
    assert run(["ocr", "a.png", "--format", "json", "--format", "tsv"]) == 2
    assert "--format json,tsv: several formats need a folder" in capsys.readouterr().err


def _timeless(path: Path) -> str:
    """A text without the times of PAGE XML."""
    return re.sub(r"<(Created|LastChange)>.*?</", "", path.read_text(encoding="utf-8"))


def _pdf_words(path: Path) -> list[list[str]]:
    with pypdfium2.PdfDocument(path) as document:
        return [page.get_textpage().get_text_range().split() for page in document]


@pytest.mark.parametrize("out", ["-", "all.txt"])
def test_only_a_folder_goes_on(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ocr", "a.png", "-o", out, "--resume"]) == 2
    assert f"--resume with -o {out}: only a folder, -o DIR/, holds" in capsys.readouterr().err


def test_a_folder_gets_a_file_for_each_input(capsys: pytest.CaptureFixture[str]) -> None:
    _out(capsys, "a.png", "frames.tif", "-o", "new/")
    assert {path.name: path.read_text() for path in Path("new").glob("[!.]*")} == {
        "a.txt": "red 11\npage 1\n",
        "frames.txt": "\f".join(f"red {20 + number}\npage {number}\n" for number in (1, 2, 3)),
    }
    _out(capsys, "a.png", "frames.tif", "--pages", "1-", "-o", "pages/", "--format", "page")
    names = [f"{stem}.page.xml" for stem in ("a", "frames-1", "frames-2", "frames-3")]
    assert sorted(path.name for path in Path("pages").glob("[!.]*")) == names
    _out(capsys, "a.png", "frames.tif", "-o", "pages", "--format", "page")  # DPTR wrote them
    _out(capsys, "frames.tif", "-o", "two/", "--format", "page", "--pages", "2-3")
    assert sorted(path.name for path in Path("two").glob("[!.]*")) == ["frames-2.page.xml", "frames-3.page.xml"]


def test_an_overlay_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    text = _out(capsys, "a.png", "--overlay", "drawn.png")
    assert text == "red 11\npage 1\n"
    with Image.open("drawn.png") as drawn, Image.open("a.png") as plain:
        assert drawn.size == plain.size and drawn.text["Software"].startswith("dptr ")  # type: ignore[attr-defined]
        assert (np.asarray(drawn.convert("RGB")) != np.asarray(plain)).any()
    _out(capsys, "frames.tif", "--overlay", "drawings/", "-o", "o.pdf")
    assert sorted(path.name for path in Path("drawings").iterdir()) == [f"frames-{number}.png" for number in (1, 2, 3)]
    _out(capsys, "frames.tif", "--pages", "3", "--overlay", "third.png", "-o", "third.json")
    assert Path("third.png").exists()


def test_boxes_of_a_file_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    """As data sets write them, and as ``--format tsv`` does: read and given back, boxes are the same."""
    Path("folder/words.tsv").write_text(
        "# image\tx1\ty1\tx2\ty2\tx3\ty3\tx4\ty4\ttext\n2.png\t1\t2\t31\t2\t31\t12\t1\t12\tignored\n"
    )
    out = _out(capsys, "folder/2.png", "--boxes", "folder/words.tsv", "--format", "tsv")
    row = dict(zip(*(line.split("\t") for line in out.splitlines()), strict=True))
    assert row["text"] == "given"
    assert [row[f"{axis}{corner}"] for corner in range(1, 5) for axis in "xy"] == [
        "1",
        "2",
        "31",
        "2",
        "31",
        "12",
        "1",
        "12",
    ]
    Path("again.tsv").write_text(out)
    assert _out(capsys, "folder/2.png", "--boxes", "again.tsv", "--format", "tsv") == out
    Path("bare.tsv").write_text("frames.tif\t1\t2\t31\t2\t31\t12\t1\t12\n")
    rows = _rows(_out(capsys, "frames.tif", "--boxes", "bare.tsv", "--json"))
    assert [row[2] for row in rows] == ["given", "", ""]


def test_words_that_are_not_sure_enough_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ocr", "a.png", "--min-confidence", "0.95"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "dptr: 4 of 4 words below a confidence of 0.95: left out; if the script is not Latin, --lang auto names it\n"
    )
    assert run(["ocr", "a.png", "--model", "dptr-en", "--min-confidence", "0.95"]) == 0
    assert capsys.readouterr().err == "dptr: 4 of 4 words below a confidence of 0.95: left out\n"
    assert _out(capsys, "a.png", "--min-confidence", "0.9") == "red 11\npage 1\n"


def test_no_text_is_an_empty_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ocr", "white.png"]) == 0
    assert capsys.readouterr() == ("", "dptr: no text found\n")
    assert _rows(_out(capsys, "white.png", "--json")) == [("white.png", 1, "")]
    _out(capsys, "white.png", "-o", "white.pdf")
    assert Path("white.pdf").exists()


WRONG: list[tuple[str, str]] = [
    ("", "missing argument"),
    ("missing.png", "missing.png: No such file"),
    ("empty", "no picture directly in it"),
    ("-r empty", "in its sub-folders"),
    ("none*.png", "no file matches this pattern"),
    ("notes.txt", "notes.txt: not a picture; expected one of AVIF,"),
    ("notes.txt", ", PDF"),
    ("zero.png", "zero.png: zero bytes"),
    ("encrypted.pdf", "encrypted.pdf: encrypted; remove its password first"),
    ("broken.pdf", "broken.pdf: damaged"),
    ("none.pdf", "without pages"),
    ("huge.pdf", "lower --dpi"),
    ("bomb.ppm", "MAX_IMAGE_PIXELS"),
    ("a.png --pages 2", "a.png: has 1 page, not page 2"),
    ("text.pdf --pages 2-9", "text.pdf: has 3 pages, not page 9"),
    ("text.pdf --pages 0", "no page and no range"),
    ("text.pdf --pages 3-1", "no page and no range"),
    ("a.png --dpi 5", "dpi 5: outside"),
    ("a.png --text-layer maybe", "--text-layer"),
    ("a.png --format docx", "--format"),
    ("a.png -o out.docx", "pass --format"),
    ("a.png -o out.xml", "pass --format"),
    ("a.png --format pdf,docx -o out/", "'docx' is not one of"),
    ("a.png --format pdf,alto -o out.pdf", "--format pdf,alto: several formats need a folder, -o DIR/, not -o out.pdf"),
    ("a.png --format pdf,alto", "several formats need a folder, -o DIR/, not -o -"),
    ("a.png deep.png --format pdf -o out", "pass -o out/ for a file for each input, or -o out.pdf for one file of all"),
    ("a.png -o notes.txt", "nothing in it says that dptr wrote it"),
    ("a.png -o a.png --format pdf", "also what is read"),
    ("a.png -o notes.txt/x.txt", "cannot write notes.txt/x.txt"),
    ("a.png -o mine/", "mine/a.txt: exists"),
    ("frames.tif -o out.page.xml", "one page a file"),
    ("frames.tif --overlay out.png", "write to a folder"),
    ("a.png --overlay out.jpg", "ends in .png"),
    ("a.png --overlay mine.png", "nothing in it says that dptr wrote it"),
    ("folder/2.png other/2.png -o out/", "both would be"),
    ("frames.tif frames-1.png --format page -o out/", "both would be frames-1.page.xml"),
    ("frames.tif frames-1.png --overlay out/", "both would be frames-1.png"),
    ("a.png --format text -o z.png --overlay ./z.png", "named for -o and for --overlay"),
    ("a.png --pages " + "9" * 5000, "no page and no range"),
    ("a.png --min-confidence 2", "--min-confidence"),
    ("a.png --batch-size 0", "--batch-size"),
    ("a.png --boxes missing.tsv", "missing.tsv: No such file"),
    ("a.png --boxes notes.txt", "line 1: no box"),
    ("a.png --boxes zero.png", "no boxes in it"),
    ("a.png --boxes outside.tsv", "outside.tsv: line 2: the box lies outside a.png, 120x80 pixels"),
    ("http://127.0.0.1:1/x.png", "http://127.0.0.1:1/x.png"),
    ("--bogus a.png", "no such option"),
    ("a.png --overlay", "see 'dptr ocr --help'"),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_mistake_is_one_line_and_exit_code_2(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    Path("mine").mkdir()
    Path("mine/a.txt").write_text("mine")
    Path("mine.png").write_bytes(Path("white.png").read_bytes())
    Path("other").mkdir()
    picture(Path("other/2.png"), 2)
    picture(Path("frames-1.png"), 2)
    Path("notes.txt").write_text("no picture")
    Path("zero.png").touch()
    Path("encrypted.pdf").write_bytes(make_pdf(["a"], encrypted=True))
    Path("broken.pdf").write_bytes(make_pdf(["a"])[:60])
    Path("none.pdf").write_bytes(make_pdf([]))
    Path("huge.pdf").write_bytes(make_pdf([""], box="0 0 14000 14000"))
    Path("outside.tsv").write_text("b.png\t0\t0\t9\t0\t9\t9\t0\t9\na.png\t200\t0\t209\t0\t209\t9\t200\t9\n")
    Path("bomb.ppm").write_bytes(b"P6 30000 30000 255\n")
    before = sorted(Path().rglob("*"))
    assert run(["ocr", *line.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("dptr: error: ") and captured.err.count("\n") == 1, captured.err
    assert message.lower() in captured.err.lower() and captured.out == ""
    assert sorted(Path().rglob("*")) == before


def test_two_frames_of_standard_input_have_no_single_overlay(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("frames.tif", "rb") as file:
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=file))
        assert run(["ocr", "-", "--overlay", "x.png"]) == 2
    assert "write to a folder, --overlay DIR/" in capsys.readouterr().err


def test_a_full_disk_loses_no_page_that_was_finished() -> None:
    picture(Path("many.tif"), *range(60))
    script = (
        "import resource, sys, types; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests']\n"
        "import helpers_photo\n"
        "module = types.ModuleType('dptr.photo.ocr'); module.OCR = helpers_photo.FakeOCR\n"
        "sys.modules['dptr.photo.ocr'] = module\n"
        "from dptr.cli.app import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))\n"
        "sys.exit(run(['ocr', 'many.tif', '-o', 'out.txt']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(ROOT)], capture_output=True, check=False, text=True)
    assert done.returncode == 2 and "out.txt" in done.stderr and "Traceback" not in done.stderr
    assert "what was finished is on standard output" in done.stderr
    pages = done.stdout.rstrip("\n").split("\f")
    assert len(pages) > 9 and pages[3] == "red 3\npage 4\n" and not Path("out.txt").exists()


def test_the_others_are_read_where_one_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.pdf").write_bytes(b"%PDF-1.4\n")
    assert run(["ocr", "a.png", "broken.pdf", "missing.png", "deep.png", "--json"]) == 2
    captured = capsys.readouterr()
    assert [row[0] for row in _rows(captured.out)] == ["a.png", "deep.png"]
    assert captured.err.count("dptr: error: ") == 2


def test_a_file_is_whole_or_not_there_after_an_interrupt() -> None:
    """Ctrl-C in the middle of many pages: a folder holds whole files, a file to be is not there."""
    Path("many").mkdir()
    for number in range(60):
        picture(Path(f"many/{number}.png"), number)
    script = (
        "import sys, time, types; sys.path[:0] = [sys.argv[1], sys.argv[1] + '/tests']\n"
        "import helpers_photo\n"
        "from dptr.photo.pipeline import run_pipeline\n"
        "class Slow(helpers_photo.FakeOCR):\n"
        "    def _find(self, picture):\n"
        "        time.sleep(0.1)\n"
        "        return self._read(*picture)\n"
        "    def stream(self, pictures):\n"
        "        enough = lambda found: len(found) > 1\n"
        "        return run_pipeline(pictures, self._find, lambda found, _: found, enough, lambda _: 1, 8, 99)\n"
        "module = types.ModuleType('dptr.photo.ocr'); module.OCR = Slow\n"
        "sys.modules['dptr.photo.ocr'] = module\n"
        "from dptr.cli.app import run\n"
        "sys.exit(run(['ocr', 'many', *sys.argv[2:]]))\n"
    )
    for arguments, kept in ((["-o", "out/"], True), (["-o", "all.pdf"], False)):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(ROOT), *arguments], stderr=subprocess.PIPE, env=os.environ,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not (list(Path("out").glob("[0-9]*.txt"))[2:] if kept else list(Path().glob(".partial-*"))):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < 2
        assert process.returncode == 130 and b"interrupted" in errors and b"Traceback" not in errors
        assert not list(Path().rglob(".partial-*")) and not Path("all.pdf").exists()
    files = sorted(Path("out").glob("[!.]*"))
    assert 2 < len(files) < 60
    assert all(path.read_text() == f"red {path.stem}\npage 1\n" for path in files)
