"""What a newcomer types, right and wrong, with the base install alone: one clear line for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_bare import make_bare, run_bare
from PIL import Image, ImageDraw, ImageFont

from dptr.cli.app import SECTIONS

COMMANDS = [[str(command.name)] for commands in SECTIONS.values() for command in commands if command.name != "data"]
COMMANDS += [["data"], ["data", "build"], ["data", "check"], ["data", "stats"]]
NEEDS_TRAIN = ["adapt", "align", "bank", "finetune", "fonts", "pretrain", "synth"]

WRONG: list[tuple[str, str]] = [
    ("raed word.png", "did you mean 'read'"),
    ("bogus", "No such command 'bogus'"),
    ("--bogus", "No such option"),
    ("read", "Missing argument"),
    ("read --bogus word.png", "No such option"),
    ("read missing.png", "missing.png: No such file"),
    ("read empty", "no picture directly in it"),
    ("read -r empty", "in its sub-folders"),
    ("read notes.txt", "notes.txt: not a picture"),
    ("read zero.png", "zero.png: zero bytes"),
    ("read half.png", "half.png: damaged"),
    ("read none*.png", "no file matches this pattern"),
    ("read -", "zero bytes"),
    ("read word.png -m dptr-eng", "there are dptr-en,"),
    ("read word.png -m foo", "there are"),
    ("read word.png -m empty", "empty"),
    ("read word.png -m missing.onnx", "missing.onnx"),
    ("read word.png -m notes.txt", "notes.txt"),
    ("read word.png -m glyph-en", "glyph-en"),
    ("read word.png --device abacus", "device 'abacus'"),
    ("read word.png --device cuda", "device 'cuda'"),
    ("read word.png --batch-size 0", "--batch-size"),
    ("read word.png --batch-size two", "--batch-size"),
    ("read word.png --tta 9", "tta 9"),
    ("read word.png --format xml", "--format"),
    ("read word.png --min-confidence 2", "--min-confidence"),
    ("read word.png --precision 2", "--precision"),
    ("read word.png --precision 0.99 --min-confidence 0.5", "pass only one of them"),
    ("read word.png --charset missing.txt", "missing.txt"),
    ("read word.png --pattern [A-Z", "pattern '[A-Z': at position 1: '[' without ']'"),
    ("read word.png --model dptr-en --pattern €+", "matches no word over the 94 characters"),
    (
        "read word.png --model dptr-en --pattern x{26}",
        "its shortest words have 26 characters, the model reads 25 at most",
    ),
    ("read word.png --lexicon missing.txt", "missing.txt"),
    ("read word.png --lexicon blank.txt", "no words"),
    ("read word.png --model dptr-en --lexicon euro.txt", "'€' (U+20AC) not among the 94 characters"),
    (
        "read word.png -o words.xlsx",
        "words.xlsx: the suffix of no format of this command; pass --format (tsv, csv, json, text)",
    ),
    ("eval missing -o errors.html", "errors.html: the suffix of no format of this command; pass --format (text, json)"),
    ("read word.png -o empty", "a folder; pass the name of a file"),
    ("predict missing.png", "missing.png: No such file"),
    ("eval", "pass --data DIR"),
    ("eval missing", "missing: no such folder"),
    ("eval empty", "empty"),
    ("eval crops --protocol 37", "protocol '37'"),
    ("eval crops --json report.json", "write --json -o report.json"),
    ("eval crops --json -", "write --json -o -"),
    ("eval crops -o empty", "a folder; pass the name of a file"),
    ("eval crops -m foo", "there are"),
    ("val missing", "missing: no such folder"),
    ("models foo", "there are"),
    ("models dptr-en dptr-en-tiny", "unexpected extra argument"),
    ("data chekc", "did you mean"),
    ("data check", "pass --data DIR"),
    ("data check missing", "missing: no such folder"),
    ("data check crops --max-length 0", "--max-length"),
    ("data check crops --charset foo", "foo"),
    ("data check crops --against missing", "missing"),
    ("data stats", "pass --data DIR"),
    ("data stats --json x.json", "write --json -o x.json"),
    ("data build crops -o out", "Missing option '--kind'"),
    ("data build crops -o out --kind foo", "foo"),
    ("data build missing -o out --kind table", "missing"),
    ("data build notes.txt -o out --kind table --columns text", "--columns text"),
    ("data build notes.txt -o out --kind table --quality 100", "--quality"),
    ("bench -m foo", "foo"),
    ("bench --batch-size 0", "--batch-size"),
    ("bench --batch 4", "write --batch-size"),
    ("bench --backend torch", "torch is not installed"),
    ("bench missing", "missing: no such folder"),
    ("synth --as folder --count 3 -o out", "write --format"),
    ("bank --dual-model x -o out", "write --model"),
    ("info now", "unexpected extra argument"),
    ("version now", "unexpected extra argument"),
    ("completion tcsh", "tcsh"),
    *((f"{command} -o out", "pip install ./weights '.[train]'") for command in NEEDS_TRAIN if command != "fonts"),
    ("fonts", "dptr fonts needs"),
    ("export -o out.onnx", "pip install ./weights '.[train,export]'"),
    ("export dptr-en -o out.onnx", "pip install ./weights '.[train,export]'"),
    ("train crops -o out", "dptr train needs"),
    ("ocr --bogus word.png", "--bogus"),
    ("ocr --detector rapidocr word.png", "pip install 'rapidocr>=3.10'"),
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare")
    make_bare(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A word, a set of two crops of it, and a number of files that are none."""
    root = tmp_path_factory.mktemp("newcomer")
    picture = Image.new("RGB", (150, 40), "white")
    ImageDraw.Draw(picture).text((10, 4), "Coffee", fill="black", font=ImageFont.load_default(28))
    picture.save(root / "word.png")
    (root / "crops" / "deep").mkdir(parents=True)
    for name in ("1.png", "2.png", "deep/3.png"):
        picture.save(root / "crops" / name)
    (root / "crops" / "labels.tsv").write_text("1.png\tCoffee\n2.png\tcoffee\n")
    (root / "empty").mkdir()
    (root / "notes.txt").write_text("no picture, no model")
    (root / "blank.txt").write_text("\n")
    (root / "euro.txt").write_text("5€\n", encoding="utf-8")
    (root / "zero.png").touch()
    (root / "half.png").write_bytes((root / "word.png").read_bytes()[:200])
    return root


def test_nothing_of_the_extras_is_seen(bare: Path) -> None:
    names = {path.name for path in bare.iterdir()}
    assert "onnxruntime" in names and not names & {"torch", "cv2", "lmdb", "fontTools", "safetensors", "accelerate"}


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_a_mistake_is_one_line_and_exit_code_2(line: str, message: str, bare: Path, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = run_bare(bare, [word.strip("'") for word in line.split()], folder)
    error = done.stderr.decode()
    assert done.returncode == 2, error
    assert error.startswith("dptr: error: ") and error.count("\n") == 1 and error.endswith("\n"), error
    assert message.lower() in error.lower(), error
    assert "Traceback" not in error and done.stdout == b""
    assert sorted(folder.rglob("*")) == before


def test_words_are_read_as_they_are_expected(bare: Path, folder: Path) -> None:
    (folder / "drinks.txt").write_text("Toffee\nCoffee\nTea\n")
    rows = {}
    for expected in (["--pattern", "C[a-z]+"], ["--pattern", "[0-9]{3}"], ["--lexicon", "drinks.txt"]):
        done = run_bare(bare, ["read", "word.png", "--format", "csv", *expected], folder)
        assert done.returncode == 0, done.stderr
        names, row = (line.split(",") for line in done.stdout.decode().splitlines())
        assert names == ["path", "text", "confidence", "outside"]
        rows[expected[1]] = row[1], float(row[2]), float(row[3])
    (folder / "drinks.txt").unlink()
    word, number, listed = rows.values()
    assert word[0] == listed[0] == "Coffee" and min(word[1], listed[1]) > 0.5 and max(word[2], listed[2]) < 0.5
    assert number[0].isdecimal() and len(number[0]) == 3 and number[1] < 0.1 and number[2] > 0.9


@pytest.mark.parametrize("command", [[], *COMMANDS], ids=" ".join)
def test_help_needs_nothing_and_says_which_extra_the_command_does(command: list[str], bare: Path, folder: Path) -> None:
    for flag in ("-h", "--help"):
        done = run_bare(bare, [*command, flag], folder)
        assert done.returncode == 0 and done.stderr == b"" and b"Usage: dptr" in done.stdout
    needs = {"export": "[train,export]", "new-language": "[train,export]", "import": "[train]"}
    needs |= {"serve": "[serve]", "label": "[serve]"}
    needs |= dict.fromkeys(NEEDS_TRAIN, "[train]")
    wanted = needs.get(" ".join(command))
    text = " ".join(done.stdout.decode().split())
    assert (f"'.{wanted}'" in text) if wanted else "pip install" not in text


def test_reading_in_all_formats(bare: Path, folder: Path) -> None:
    def read(*arguments: str, standard_input: bytes = b"") -> str:
        done = run_bare(bare, ["read", *arguments], folder, standard_input)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
        return done.stdout.decode()

    path, text, confidence = read("word.png").rstrip("\n").split("\t")
    assert (path, text) == ("word.png", "Coffee") and 0.5 < float(confidence) <= 1
    assert read("word.png", "--format", "text") == "Coffee\n"
    assert read("word.png", "--format", "csv") == f"path,text,confidence\nword.png,Coffee,{confidence}\n"
    row = json.loads(read("word.png", "--json"))
    assert (row["path"], row["text"]) == ("word.png", "Coffee")
    assert json.loads(read("word.png", "--format", "json")) == row
    assert read("-", standard_input=(folder / "word.png").read_bytes()) == f"-\tCoffee\t{confidence}\n"
    names = [line.split("\t")[0] for line in read("crops").splitlines()]
    assert names == ["crops/1.png", "crops/2.png"]
    assert [line.split("\t")[0] for line in read("-r", "crops").splitlines()] == [*names, "crops/deep/3.png"]
    assert [line.split("\t")[0] for line in read("crops/**/*.png").splitlines()] == [*names, "crops/deep/3.png"]
    assert read("word.png", "-o", "out.tsv") == ""
    assert (folder / "out.tsv").read_text() == f"word.png\tCoffee\t{confidence}\n"
    (folder / "out.tsv").unlink()
    for name, begin in (
        ("out.csv", "path,text,"),
        ("out.JSON", '{"path"'),
        ("out.txt", "Coffee\n"),
        ("out", "word.png\t"),
    ):
        read("word.png", "-o", name)
        assert (folder / name).read_text().startswith(begin), name
        (folder / name).unlink()
    read("word.png", "-o", "out.csv", "--format", "text")
    assert (folder / "out.csv").read_text() == "Coffee\n"
    (folder / "out.csv").unlink()


def test_what_is_not_sure_enough_leaves_a_line_without_text(bare: Path, folder: Path) -> None:
    done = run_bare(bare, ["read", "word.png", "--min-confidence", "1", "--json"], folder)
    row = json.loads(done.stdout)
    assert done.returncode == 0 and (row["text"], row["rejected"]) == ("", "Coffee")
    assert b"1 of 1 readings below a confidence of 1" in done.stderr
    quiet = run_bare(bare, ["read", "word.png", "--min-confidence", "1", "-q"], folder)
    assert quiet.stderr == b"" and quiet.stdout.startswith(b"word.png\t\t")


def test_characters_are_restricted(bare: Path, folder: Path) -> None:
    for charset, allowed in (("10", "0123456789"), ("36", "0123456789abcdefghijklmnopqrstuvwxyz")):
        done = run_bare(bare, ["read", "word.png", "--charset", charset, "--format", "text"], folder)
        assert done.returncode == 0 and set(done.stdout.decode().strip()) <= set(allowed), done
    assert done.stdout.decode().strip() == "coffee"


def test_verbose_says_what_computes(bare: Path, folder: Path) -> None:
    done = run_bare(bare, ["read", "word.png", "-v"], folder)
    assert b"model dptr-latin, device cpu" in done.stderr


def test_info_and_version(bare: Path, folder: Path) -> None:
    found = json.loads(run_bare(bare, ["info", "--json"], folder).stdout)
    assert found["extras"]["train"].startswith("lacks torch") and "dptr-en" in found["models"]
    assert "onnxruntime" in found["packages"] and "torch" not in found["packages"]
    assert run_bare(bare, ["version"], folder).stdout == f"dptr {found['dptr']}\n".encode()
    assert run_bare(bare, ["--version"], folder).stdout == f"dptr {found['dptr']}\n".encode()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_a_script_that_completes(shell: str, bare: Path, folder: Path) -> None:
    script = run_bare(bare, ["completion", shell], folder).stdout.decode()
    assert "_DPTR_COMPLETE" in script and "dptr" in script


def test_nothing_is_written_outside(bare: Path, tmp_path: Path, folder: Path) -> None:
    """HOME is the working folder; caches and settings would show up in it."""
    (tmp_path / "word.png").write_bytes((folder / "word.png").read_bytes())
    assert run_bare(bare, ["read", "word.png"], tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["word.png"]
