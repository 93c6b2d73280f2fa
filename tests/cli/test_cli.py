from __future__ import annotations

import errno
import fcntl
import inspect
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from helpers_signal import start
from PIL import Image, ImageFont

from dptr import __version__
from dptr.cli.app import app, run
from dptr.config.model import FMUConfig, ModelConfig, PARSeqConfig, SVTRConfig
from dptr.config.train import AdaptRecipe, AlignRecipe, FinetuneRecipe, PretrainRecipe
from dptr.inference.prediction import has_repeated_ending, note_cut
from dptr.inference.reader import Reader
from dptr.models.checkpoint import save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.synth import EMBEDDED
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError
from dptr.utils.inputs import list_images
from dptr.weights import DEFAULT_MODEL, START_MODEL, model_file

CONFIG = ModelConfig(
    encoder=SVTRConfig(size="nano", height=16, width=32),
    fmu=FMUConfig(queries=6, heads=2),
    decoder=PARSeqConfig(dim=16, depth=1, heads=2),
    charset="36",
    max_length=5,
)
DPTR = [sys.executable, "-m", "dptr.cli.app"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recognizer with random weights, large enough that words differ from crop to crop."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    charset = resolve_charset("36")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build_recognizer(CONFIG, len(charset))
        for parameter in module.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    save_checkpoint(folder, "recognizer", module, CONFIG, charset, {}, {})
    return str(folder)


@pytest.fixture(scope="module")
def words(model: str, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str, float]]:
    """Crops, each with what the model reads there."""
    folder = tmp_path_factory.mktemp("crops")
    arrays = np.random.default_rng(3).integers(0, 256, (12, 16, 32, 3), dtype=np.uint8)
    for index, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"crop {index}.png")
    reader = Reader(model)
    paths = [folder / f"crop {index}.png" for index in range(12)]
    result = [(path, word.text, word.confidence) for path, word in zip(paths, reader.read(paths), strict=True)]
    return [row for row in result if row[1]][:8]


@pytest.fixture
def data(words: list[tuple[Path, str, float]], tmp_path: Path) -> Path:
    """Eight crops, five of them labeled with what the model reads; and one broken picture."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path, _, _ in words:
        shutil.copy(path, folder)
    lines = [f"{path.name}\t{text if index < 5 else text + 'x'}\n" for index, (path, text, _) in enumerate(words)]
    (folder / "labels.tsv").write_text("".join(lines) + "broken.png\tword\n")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    return folder


def lines_of(captured: str) -> list[str]:
    return captured.splitlines()


def test_read_prints_a_line_an_image(words, model: str, capsys: pytest.CaptureFixture) -> None:
    assert len({text for _, text, _ in words}) > 1
    assert run(["read", "--model", model, *(str(path) for path, _, _ in words)]) == 0
    out, err = capsys.readouterr()
    away = "the reading repeats itself to the longest word of the model; take it as none"
    endless = [(path, text) for path, text, _ in words if len(text) == 6]  # random readings, as long as can be
    assert {has_repeated_ending(text) for _, text in endless} == {True, False}
    assert lines_of(err) == [
        f"dptr: {path}: {away if has_repeated_ending(text) else note_cut(6)}" for path, text in endless
    ]
    for line, (path, text, confidence) in zip(lines_of(out), words, strict=True):
        assert line.split("\t")[:2] == [str(path), text]
        assert float(line.split("\t")[2]) == pytest.approx(confidence, abs=1e-4)


def test_read_json_adds_each_characters_confidence(words, model: str, capsys: pytest.CaptureFixture) -> None:
    assert run(["read", "--json", "--model", model, *(str(path) for path, _, _ in words)]) == 0
    for line, (path, text, confidence) in zip(lines_of(capsys.readouterr().out), words, strict=True):
        row = json.loads(line)
        assert set(row) == {"path", "text", "confidence", "runaway", "turned", "characters", "notes"}
        assert row["runaway"] == (len(text) == 6 and has_repeated_ending(text))
        assert (row["path"], row["text"]) == (str(path), text)
        assert row["confidence"] == pytest.approx(confidence, rel=1e-4)
        assert "".join(character for character, _ in row["characters"]) == text
        assert all(0 < probability <= 1 for _, probability in row["characters"])
        assert np.prod([probability for _, probability in row["characters"]]) >= row["confidence"] * 0.999


def test_read_goes_on_after_each_unreadable_input(words, model: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "zero.png").touch()
    good = [str(path) for path, _, _ in words[:2]]
    bad = [str(tmp_path / name) for name in ("empty", "text.png", "zero.png", "missing.png")]
    assert run(["read", "-q", "--model", model, good[0], *bad, good[1]]) == 2
    out, err = capsys.readouterr()
    assert [line.split("\t")[0] for line in lines_of(out)] == good
    for name, line in zip(bad, lines_of(err), strict=True):
        assert line.startswith(f"dptr: error: {name}: ")


def test_what_precision_was_not_measured_with_is_said(capsys: pytest.CaptureFixture) -> None:
    crop = str(Path(__file__).parents[1] / "golden" / "crops" / "clean.png")
    for options, expected in (
        ([], 0),
        (["--tta", "2"], 1),
        (["--no-rescore"], 1),
        (["--charset", "62"], 1),
        (["--pattern", "date"], 1),
    ):
        assert run(["read", crop, "-m", "dptr-en-tiny", "--precision", "0.9", *options]) == 0
        assert capsys.readouterr().err.count("may not hold") == expected


def test_a_folder_is_read_in_natural_order_without_its_sub_folders(model: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("page10.png", "page2.png", "page1.PNG", "a.bmp", "sub/page3.png"):
        Image.new("RGB", (8, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert run(["read", "--model", model, str(tmp_path)]) == 0
    paths = [line.split("\t")[0] for line in lines_of(capsys.readouterr().out)]
    assert paths == [f"{tmp_path}/{name}" for name in ("a.bmp", "page1.PNG", "page2.png", "page10.png")]


def test_photographs_in_a_folder_that_cannot_be_opened_are_named(model: str, tmp_path: Path, capsys) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "b.png")
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    assert run(["read", "--model", model, str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert len(lines_of(out)) == 1 and f"{tmp_path}/a.HEIC: HEIC" in err


def test_folders_without_pictures_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture directly in it"):
        list_images(tmp_path)
    with pytest.raises(UserError, match="No such file"):
        list_images(tmp_path / "missing")
    for name in ("labels.tsv", "deep/notes.txt", "images/1.png", "more/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"holds some, such as {tmp_path}/images \("):
        list_images(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only here file names are arbitrary bytes")
def test_paths_that_are_no_utf8_leave_as_they_came(model: str, tmp_path: Path, capfdbinary) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", path)
    assert run(["read", "--model", model, os.fsdecode(path)]) == 0
    assert capfdbinary.readouterr().out.startswith(path + b"\t")
    assert run(["read", "--json", "--model", model, os.fsdecode(path)]) == 0
    assert json.loads(capfdbinary.readouterr().out.decode("utf-8"))["path"] == os.fsdecode(path)


def test_eval_counts_what_was_planted(data: Path, model: str, capsys) -> None:
    assert run(["eval", "--data", str(data), "--model", model]) == 0
    out, err = capsys.readouterr()
    head, row = lines_of(out)
    assert "word accuracy" in head and row.startswith(str(data))
    assert " 36 " in row and " 8 " in row and "62.50 %" in row and "1 unreadable image" in row
    assert "dropped 1 (unreadable image)" in err and "broken.png" in err


def test_eval_json_on_standard_output_is_nothing_but_json(data: Path, model: str, tmp_path: Path, capsys) -> None:
    arguments = ["eval", "--data", str(data), "--model", model, "--protocol", "36", "--protocol", "native", "--json"]
    assert run(arguments) == 0
    stored = json.loads(capsys.readouterr().out)
    assert [(row["protocol"], row["n"], row["word_accuracy"]) for row in stored["results"]] == [
        ("36", 8, 0.625),
        ("native", 8, 0.625),
    ]
    assert stored["results"][0]["dropped"] == {"unreadable image": 1}
    page, file = tmp_path / "deep" / "errors.html", tmp_path / "deep" / "results.json"
    assert run([*arguments, "-o", str(file), "--html", str(page)]) == 0
    assert capsys.readouterr().out == ""
    written = json.loads(file.read_text())
    for row in [*written["results"], *stored["results"]]:
        del row["images_per_second"]
    assert written == stored
    assert page.read_text().count("<article>") == 6  # three errors under each protocol
    assert sorted(path.name for path in file.parent.iterdir()) == ["errors.html", "results.json"]


def test_eval_reads_what_is_expected_as_read_does(data: Path, model: str, tmp_path: Path, capsys) -> None:
    listed = tmp_path / "listed.txt"
    listed.write_text("ab\ncde\n12\n")
    expected = ["--model", model, "--charset", "36", "--pattern", "[a-z]+", "--lexicon", str(listed)]
    crops = [line.split("\t")[0] for line in (data / "labels.tsv").read_text().splitlines() if "broken" not in line]
    assert run(["read", *expected, *(str(data / crop) for crop in crops), "--format", "text"]) == 0
    read = lines_of(capsys.readouterr().out)
    assert {*read} <= {"ab", "cde"}
    labels = [*read[:3], *("12" for _ in read[3:])]
    (data / "labels.tsv").write_text("".join(f"{crop}\t{label}\n" for crop, label in zip(crops, labels, strict=True)))
    assert run(["eval", "--data", str(data), *expected, "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)
    assert (stored["results"][0]["correct"], stored["results"][0]["n"]) == (3, 8)
    assert stored["expected"] == {"charset": "36", "pattern": "[a-z]+", "lexicon": str(listed)}


def test_eval_takes_several_data_sets_in_both_ways(data: Path, model: str, tmp_path: Path, capsys) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    for several in (["--data", str(data), str(other)], ["--data", str(data), "--data", str(other)]):
        assert run(["eval", *several, "--model", model, "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["results"]
        assert [row["data"] for row in rows] == [str(data), str(other)]


def _list_options(command: click.Command, words: list[str]) -> Iterator[tuple[list[str], click.Option]]:
    """Each option that takes a value, with the words of its command."""
    for name, each in command.commands.items() if isinstance(command, click.Group) else ():
        yield from _list_options(each, [*words, name])
    yield from (
        (words, each) for each in command.params if isinstance(each, click.Option) and not each.is_flag
    )  # fmt: skip


def test_no_option_drops_a_value(capsys, monkeypatch) -> None:
    """An option that takes one value refuses two. Of numbers, the last counts; a repeatable option takes both."""
    monkeypatch.setattr("dptr.cli.command.require_extras", lambda *_: None)
    refused = set()
    for words, option in _list_options(app, []):
        if option.multiple or option.count or isinstance(option.type, (type(click.INT), type(click.FLOAT))):
            continue
        for flag in option.opts:
            assert run([*words, flag, "one", flag, "two"]) == 2
            name = max(option.opts, key=len)
            assert f"{name} one and {name} two: only one of them can count" in capsys.readouterr().err
            refused.add((words[-1], flag))
    assert {("read", "--lexicon"), ("ocr", "--pages"), ("eval", "-m"), ("check", "--charset")} < refused


def test_values_that_are_not_dropped(data: Path, model: str, capsys) -> None:
    assert run(["models", "--json", "--format", "text"]) == 2
    assert "--format text and --json: only one of them can count" in capsys.readouterr().err
    assert run(["models", "--json", "--format", "json", "--format=json", "-q"]) == 0, "the same value"
    assert run(["read", "--lexicon", "a", "--lexicon", "b", "--help"]) == 0
    numbers = ["--batch-size", "2", "--batch-size", "1", "--no-turn", "--turn"]
    assert run(["read", str(data / "crop 0.png"), "-m", model, *numbers]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval"], "no data set given"),
        (["eval", "--data", "missing"], "missing: no such folder"),
        (["eval", "--data", "DATA", "--protocol", "37"], "protocol '37': not known"),
        (
            ["eval", "--data", "DATA", "--charset", "10", "--pattern", "[a-z]+"],
            "pass another pattern, charset, or model",
        ),
        (["eval", "--data", "DATA", "-o", "DATA"], "a folder; pass the name of a file"),
        (["eval", "--data", "DATA", "--json", "r.json"], "write --json -o r.json"),
        (["eval", "--data", "DATA", "--json", "-"], "write --json -o -"),
        (["read", "a.png", "--model", "nothing"], "model 'nothing'"),
        (["read", "a.png", "--device", "abacus"], "device 'abacus'"),
        (["read"], "Missing argument"),
        (["read", "a.png", "--min-confidence", "nan"], "'nan' is no number"),
        (["read", "a.png", "--precision", "-NaN"], "'-NaN' is no number"),
        (["read", "--bogus", "a.png"], "No such option"),
        (["bogus"], "No such command 'bogus'"),
        (["align"], "Missing option '-o'"),
        (["align", "--out", "OUT", "--set", "run.stepz=3"], "did you mean 'run.steps'"),
        (["align", "--out", "OUT", "--set", "run.steps"], "no '='"),
        (["pretrain", "--out", "OUT", "--config", "missing.toml"], "recipe missing.toml"),
        (["finetune", "--out", "OUT", "--set", "optim.lr=-1"], "optim.lr = -1"),
        (["bank", "--images", "EMPTY", "-o", "OUT"], "no picture directly in it"),
        (["bank", "--images", "EMPTY", "-o", "OUT", "--dual", "clip"], "pass --model"),
        (["fonts", "missing"], "fonts missing"),
        (["fonts", "EMPTY"], "no usable font in"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, data: Path, model: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    names = {"DATA": str(data), "OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "empty")}
    arguments = [names.get(argument, argument) for argument in arguments]
    if arguments[0] in ("read", "eval") and "--model" not in arguments:
        arguments += ["--model", model]
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and not (tmp_path / "out").exists()
    *others, last = lines_of(err)
    assert last.startswith("dptr: error: ") and message in last
    assert not others or (arguments[0] == "fonts" and others == ["0 faces of 0 families"])


def ranges(command: click.Command) -> dict[tuple[str, str], click.FloatRange]:
    """The range of each option of a command, and of those below it, that has one of floats."""
    found = {
        (str(command.name), str(each.name)): each.type
        for each in command.params
        if isinstance(each.type, click.FloatRange)
    }
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        found |= ranges(below)
    return found


def test_nan_is_in_no_range() -> None:
    """It compares as neither below nor above, so that ``click.FloatRange`` alone takes it."""
    found = ranges(app)
    assert {("read", "precision"), ("ocr", "min_confidence"), ("label", "threshold")} <= {*found}
    for kind in found.values():
        assert kind.convert("0.25", None, None) == 0.25
        with pytest.raises(click.BadParameter, match="'nan' is no number"):
            kind.convert("nan", None, None)


def test_eval_without_a_crop_to_judge_fails_and_still_writes(model: str, data: Path, tmp_path: Path, capsys) -> None:
    (data / "labels.tsv").write_text("broken.png\tword\n")
    assert run(["eval", "--data", str(data), "--model", model, "--json", "-o", str(tmp_path / "r.json")]) == 2
    assert "no crop left under protocol 36" in capsys.readouterr().err
    assert json.loads((tmp_path / "r.json").read_text())["results"][0]["n"] == 0


CARD = {
    "name": "demo", "kind": "recognizer", "version": "0.1.0", "created": "2025-01-01", "commit": "abc",
    "trained_on": ["rendered words", "iiit5k/train"], "recipe": {}, "parameters": 5_400_000,
    "results": [{"data": "iiit5k/test", "protocol": "36", "n": 3000, "word_accuracy": 0.5, "one_minus_ned": 0.75,
                 "command": "dptr eval"}],
}  # fmt: skip


def test_models_tells_size_training_and_accuracy(tmp_path: Path, monkeypatch, capsys) -> None:
    for package, file, content in (("here", "card.json", json.dumps(CARD).encode()), ("there", "x", bytes(2_000_000))):
        (tmp_path / package / "demo").mkdir(parents=True)
        (tmp_path / package / "demo" / file).write_bytes(content)
    monkeypatch.setattr("dptr.weights._folders", lambda: [tmp_path / "here", tmp_path / "there"])
    for module in ("dptr.inference.zoo", "dptr.weights"):
        monkeypatch.setattr(f"{module}.SHIPPED", ("demo",))
    assert run(["models"]) == 0
    out = capsys.readouterr().out
    head, row = out.splitlines()[:2]
    assert head.split() == ["model", "kind", "MB", "parameters", "IIIT5K", "IC15"]
    assert row.split() == ["demo", "recognizer", "2.0", "5.4", "M", "50.00", "-"]
    assert run(["models", "demo"]) == 0
    out = capsys.readouterr().out
    assert "demo  (recognizer, 2.0 MB, 5.4 M parameters" in out
    assert "rendered words; iiit5k/train" in out
    assert "iiit5k/test, protocol 36: word accuracy 50.00 %, 1-NED 75.00 % of 3000 crops" in out
    assert run(["models", "--json"]) == 0
    stored = json.loads(capsys.readouterr().out)["models"][0]
    assert {key: stored[key] for key in CARD} == CARD and stored["megabytes"] == pytest.approx(2, abs=0.01)


def test_what_ships_is_listed_with_measured_accuracy(capsys) -> None:
    assert run(["models", "--json"]) == 0
    models = {card["name"]: card for card in json.loads(capsys.readouterr().out)["models"]}
    assert {"dptr-en", "dptr-en-tiny", "glyph-en"} <= set(models)
    assert sum(card["megabytes"] for card in models.values()) <= 50
    measured = {result["data"] for result in models["dptr-en"]["results"]}
    assert measured >= {"iiit5k/test", "ic15/test"} and models["dptr-en"]["trained_on"]


@pytest.mark.parametrize("name", ["dptr-latin", "dptr-en", "dptr-en-tiny"])
def test_one_model_is_told_of_at_length(name: str, capsys) -> None:
    assert run(["models", name]) == 0
    page = capsys.readouterr().out
    card = json.loads(model_file(name, "card.json").read_text())
    assert page.startswith(f"# {name}\n") and "## Where it fails" in page
    for result in card["results"]:  # the page is of these weights
        if result["protocol"] == "36" and result["data"].endswith("test"):
            assert f"| `{result['data']}` | {result['n']:,} | {100 * result['word_accuracy']:.2f}% |" in page
    assert run(["models", "glyph-en"]) == 0
    assert capsys.readouterr().out.startswith("glyph-en  (")
    assert run(["models", "--json", "glyph-en"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["models"]] == ["glyph-en"]
    assert run(["models", "dptr-fr"]) == 2
    assert "no model 'dptr-fr' ships; there are dptr-latin" in capsys.readouterr().err


def test_models_shows_the_card_of_a_model_of_ones_own(model: str, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "mine"))
    assert run(["models", str(folder)]) == 0, "an empty card"
    assert capsys.readouterr().out.startswith(f"{folder}  (recognizer, ")
    # as a training writes it: no version, and of a stage 1 decoder no number of crops
    results = [{"data": "validation part", "protocol": "36", "step": 9, "word_accuracy": 0.5, "n": 40},
               {"data": "new words", "step": 9, "word_accuracy": 0.25}]  # fmt: skip
    card = {"name": "other", "kind": "recognizer", "trained_on": ["rendered words"], "results": results}
    (folder / "card.json").write_text(json.dumps(card))
    assert run(["models", str(folder)]) == 0
    _, *rest = lines_of(capsys.readouterr().out)
    assert rest == [
        "  trained on: rendered words",
        "  validation part, protocol 36: word accuracy 50.00 % of 40 crops",
        "  new words: word accuracy 25.00 %",
    ]
    exported = shutil.copy(model_file("dptr-en-tiny", "model.onnx"), tmp_path / "tiny.onnx")
    assert run(["models", "--json", str(exported)]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["models"]
    assert shown["name"] == str(exported) and shown["megabytes"] == exported.stat().st_size / 1e6
    assert shown["trained_on"] and shown["results"][0]["word_accuracy"] > 0.5


def test_models_of_a_path_without_a_card_is_one_line(model: str, tmp_path: Path, capsys) -> None:
    shutil.copytree(model, tmp_path / "run" / "model")
    (tmp_path / "bad").mkdir()
    (tmp_path / "empty").mkdir()
    cards = [
        "[]",
        '{"kind": 3}',
        '{"trained_on": [1]}',
        f'{{"parameters": 1{"0" * 400}}}',
        '{"results": [{"data": "x", "word_accuracy": "high"}]}',
    ]
    assert run(["models", ""]) == 2 and "no model '' ships" in capsys.readouterr().err
    for path, message in (("run", f"such as {tmp_path}/run/model"), ("empty", "without card.json"),
                          ("none/x", "no such file"), ("run/model/config.json", "another kind"),
                          *((card, "damaged") for card in cards)):  # fmt: skip
        if message == "damaged":
            (tmp_path / "bad" / "card.json").write_text(path)
            path = "bad"
        assert run(["models", str(tmp_path / path)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1) and message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--set run.seed=1 --set run.seed=2", "--set run.seed=1 and --set run.seed=2"),
        ("--set run.seed=1 --set run={steps=3}", "--set run.seed=1 and --set run={steps=3}"),
        ("--model dptr-en --set init.model=other", "--set init.model=other and --model dptr-en"),
        ("--data one two --set data.train=['three']", "--set data.train=['three'] and --data one two"),
    ],
)
def test_no_setting_takes_the_place_of_another(arguments: str, message: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("dptr.training.finetune.finetune", lambda *_: pytest.fail("was started"))
    assert run(["finetune", *arguments.split(), "--out", str(tmp_path / "out")]) == 2
    assert f"{message}: only one of them can count; pass one\n" in capsys.readouterr().err


def test_settings_that_take_no_place_are_all_read(tmp_path: Path, monkeypatch) -> None:
    recipes: list[FinetuneRecipe] = []
    monkeypatch.setattr("dptr.training.finetune.finetune", lambda recipe, out, resume: recipes.append(recipe))
    several = ["run={seed=4}", "run.steps=3", "run.steps=3", "init.model=dptr-en"]
    words = [word for setting in several for word in ("--set", setting)]
    assert run(["finetune", *words, "--model", "dptr-en", "--out", str(tmp_path)]) == 0
    assert (recipes[0].run.seed, recipes[0].run.steps, recipes[0].init.model) == (4, 3, "dptr-en")


TRAINING = {"adapt": AdaptRecipe, "align": AlignRecipe, "pretrain": PretrainRecipe, "finetune": FinetuneRecipe}


@pytest.mark.parametrize("command", TRAINING)
def test_training_gets_the_recipe_folder_and_resume(command: str, tmp_path: Path, monkeypatch, capsys) -> None:
    module = __import__(f"dptr.training.{command}", fromlist=[command])
    signature = inspect.signature(getattr(module, command))
    calls: list[dict[str, Any]] = []

    def record(*arguments: Any) -> Path:
        calls.append(signature.bind(*arguments).arguments)
        return arguments[1] / "model"

    monkeypatch.setattr(module, command, record)
    (tmp_path / "r.toml").write_text("[run]\nsteps = 7\nbatch_size = 3\n")
    out = tmp_path / "run"
    options = [
        "--config",
        str(tmp_path / "r.toml"),
        "--set",
        "run.batch_size=5",
        "--set",
        "optim.lr=0.5",
        "--out",
        str(out),
    ]
    assert run([command, *options]) == 0 and run([command, *options, "--resume"]) == 0
    recipe = calls[0]["recipe"]
    assert type(recipe) is TRAINING[command]
    assert (recipe.run.steps, recipe.run.batch_size, recipe.optim.lr) == (7, 5, 0.5)
    assert [call["resume"] for call in calls] == [False, True] and calls[0]["out"] == out
    assert lines_of(capsys.readouterr().out) == [str(out / "model")] * 2


def test_finetune_data_and_model_go_into_the_recipe(tmp_path: Path, monkeypatch) -> None:
    recipes: list[FinetuneRecipe] = []
    monkeypatch.setattr("dptr.training.finetune.finetune", lambda recipe, out, resume: recipes.append(recipe))
    odd = 'a "b" \\ ü'
    options = ["--data", odd, "--data", "d", "--model", "dptr-en", "--out", str(tmp_path)]
    assert run(["finetune", *options]) == 0
    assert recipes[0].data.train == (odd, "d") and recipes[0].init.model == "dptr-en"


def test_text_and_model_of_adapt_go_into_the_recipe(tmp_path: Path, monkeypatch) -> None:
    recipes: list[AdaptRecipe] = []
    monkeypatch.setattr("dptr.training.adapt.adapt", lambda recipe, out, resume: recipes.append(recipe))
    odd = 'a "b" \\ ü'
    assert run(["adapt", "--text", odd, "--text", "d", "--out", str(tmp_path)]) == 0
    assert run(["adapt", "--model", odd, "--out", str(tmp_path)]) == 0
    assert recipes[0].text == (odd, "d") and recipes[0].init.model == "dptr-en" and recipes[1].init.model == odd


class StillDual:
    """The least of a dual encoder: two tokens a picture, its mean color."""

    kind, name, dim, fingerprint, image_size = "glyph", "still", 3, "00ff", (4, 8)

    def to(self, device: Any) -> StillDual:
        return self

    def encode_text(self, words: list[str]) -> Any:
        raise NotImplementedError

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3))[:, None].repeat(1, 2, 1)


def test_trainings_without_a_model_start_from_one_that_ships(tmp_path: Path, monkeypatch) -> None:
    started: list[str] = []
    monkeypatch.setattr("dptr.training.finetune.finetune", lambda recipe, *rest: started.append(recipe.init.model))
    monkeypatch.setattr("dptr.training.adapt.adapt", lambda recipe, *rest: started.append(recipe.init.model))
    monkeypatch.setattr("dptr.new_language.chain.new_language", lambda settings, *rest: started.append(settings.model))
    words = tmp_path / "words.txt"
    words.write_text("eins\nzwei\n", encoding="utf-8")
    out = str(tmp_path / "out")
    new_language = ["new-language", "ka"]
    for arguments in (
        ["finetune", "-d", "x"], ["adapt", "-t", str(words)], new_language, [*new_language, "--minutes", "44"],
        [*new_language, "--minutes", "44", "--model", DEFAULT_MODEL],
    ):  # fmt: skip
        assert run([*arguments, "-o", out]) == 0
    assert started == [DEFAULT_MODEL, START_MODEL, DEFAULT_MODEL, START_MODEL, DEFAULT_MODEL]


def test_bank_embeds_a_folder_and_lists_what_it_drops(tmp_path: Path, monkeypatch, capsys) -> None:
    from dptr.dual.orp.bank import load_bank

    asked = []
    monkeypatch.setattr("dptr.dual.base.load_dual", lambda config: asked.append(config) or StillDual())
    for index in range(3):
        Image.new("RGB", (9, 9), (100 * index, 0, 0)).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    out = tmp_path / "out" / "bank.safetensors"
    assert run(["bank", "--images", str(tmp_path), "-o", str(out), "--model", "some"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\t3 images\t2 tokens of 3\n" and "3.png" in captured.err
    assert (asked[0].kind, asked[0].model) == ("glyph", "some")
    assert load_bank(out).tokens[:, 0, 0].tolist() == pytest.approx([-1, 100 / 127.5 - 1, 200 / 127.5 - 1], abs=1e-3)


def test_fonts_are_listed_and_drawn(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "fonts"
    folder.mkdir()
    (folder / "good.ttf").write_bytes(ImageFont.load_default(20).path.getvalue())
    (folder / "bad.ttf").write_bytes(b"broken")
    sheet = tmp_path / "sheet.png"
    assert run(["fonts", str(folder), "--sheet", str(sheet)]) == 0
    out, err = capsys.readouterr()
    assert [line.split("\t")[3] for line in lines_of(out)] == [str(folder / "good.ttf")]
    assert "1 faces of 1 families; left out: 1 broken file" in err
    assert np.asarray(Image.open(sheet)).std() > 20


def test_version_and_help_need_no_torch() -> None:
    code = (
        "import sys; from dptr.cli.app import run\n"
        "assert run(['--version']) == 0 and run(['read', '--help']) == 0 and run([]) == 0\n"
        "assert run(['models']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"dptr {__version__}\n") and "--model" in done.stdout and "finetune" in done.stdout


INNER = {
    "read": ("dptr.inference.auto.open_reader", ["a.png"]),
    "ocr": ("dptr.photo.ocr.OCR", ["a.png"]),
    "batch": ("dptr.batch.run.run_task", ["read", "CROPS", "out", "-m", "MODEL"]),
    "eval": ("dptr.evaluation.evaluate.evaluate", ["--data", "x", "--model", "MODEL"]),
    "models": ("dptr.inference.zoo.model_cards", []),
    "adapt": ("dptr.training.adapt.adapt", ["--out", "out"]),
    "align": ("dptr.training.align.align", ["--out", "out"]),
    "bank": ("dptr.dual.base.load_dual", ["--images", "CROPS", "-o", "out"]),
    "pretrain": ("dptr.training.pretrain.pretrain", ["--out", "out"]),
    "synth": ("dptr.synth.pack.write_pack", ["--out", "out", "--count", "5", "--set", f'render.fonts=["{EMBEDDED}"]']),
    "finetune": ("dptr.training.finetune.finetune", ["--out", "out", "--set", "init.glyph=glyph-en"]),
    "bench": ("dptr.bench.bench", []),
    "export": ("dptr.export.export", ["-m", "MODEL", "-o", "out.onnx"]),
    "new-language": ("dptr.new_language.chain.new_language", ["ka", "--out", "out"]),
    "import": ("dptr.models.published.read_published", ["weights.pth", "-o", "out"]),
    "fonts": ("dptr.synth.fonts.scan_fonts", []),
    "serve": ("dptr.serve.recognizers.open_models", ["--port", "0"]),
    "label": ("dptr.label.store.Store", ["--out", "out"]),
    "export-page": ("dptr.browser.export_page", ["--out", "out"]),
}


def commands() -> set[str]:
    return set(app.commands) - {"data", "info", "version", "completion"}


class Raiser:
    """A function that raises."""

    def __init__(self, error: BaseException):
        self.error = error

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise self.error


def call_with(error: BaseException, command: str, words, model: str, tmp_path: Path, monkeypatch) -> int:
    target, arguments = INNER[command]
    names = {"MODEL": model, "CROPS": str(words[0][0].parent)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(target, Raiser(error))
    return run([command, *(names.get(argument, argument) for argument in arguments)])


@pytest.mark.parametrize("command", sorted(commands()))
def test_ctrl_c_is_one_line_and_exit_code_130(command: str, words, model, tmp_path, monkeypatch, capsys) -> None:
    assert call_with(KeyboardInterrupt(), command, words, model, tmp_path, monkeypatch) == 130
    out, err = capsys.readouterr()
    hint = "; continue with --resume" if command in {*TRAINING, "synth", "new-language"} else ""
    assert (out, err) == ("", f"dptr: interrupted{hint}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_full_disk_is_one_line_and_exit_code_2(command: str, words, model, tmp_path, monkeypatch, capsys) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "weights.bin")
    assert call_with(full, command, words, model, tmp_path, monkeypatch) == 2
    assert capsys.readouterr().err == "dptr: error: weights.bin: No space left on device; free space and try again\n"


def test_other_system_errors_are_not_hidden(words, model, tmp_path, monkeypatch) -> None:
    with pytest.raises(OSError, match="odd"):
        call_with(OSError(errno.EIO, "odd"), "read", words, model, tmp_path, monkeypatch)


def interrupt_at_pipe(arguments: list[str]) -> tuple[int, bytes, bytes]:
    """Run a command, wait until it has read what is in the pipe ``{pipe}``, press Ctrl-C while it waits for more."""
    reader, writer = os.pipe()
    named = [each.replace("{pipe}", f"/dev/fd/{reader}") for each in arguments]
    process = start([*DPTR, *named], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[reader])
    os.write(writer, b"\x89PNG")
    while process.poll() is None:
        if struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))[0]:
            time.sleep(0.02)
            continue
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        os.close(reader), os.close(writer)
        return process.returncode, out, err
    raise AssertionError(f"the command ended too early: {process.communicate()}")


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs the names that a shell gives to pipes")
def test_real_ctrl_c_while_reading_leaves_nothing_half_written(data: Path, model: str, tmp_path: Path) -> None:
    end = (130, b"", b"dptr: interrupted\n")
    assert interrupt_at_pipe(["read", "--model", model, "{pipe}"]) == end
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.json").write_text('{"dptr": ""}')
    files = ["--json", "-o", str(tmp_path / "out" / "old.json"), "--html", str(tmp_path / "out" / "new.html")]
    (data / "labels.tsv").write_text((data / "labels.tsv").read_text() * 1000)  # seconds of work
    command = [*DPTR, "eval", "-v", "--model", model, "--data", str(data), *files]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr and process.stderr.readline().startswith(b"model ")  # it begins to read
    process.send_signal(signal.SIGINT)
    assert (*process.communicate(timeout=60), process.returncode) == (b"", b"dptr: interrupted\n", 130)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["old.json"]
    assert (tmp_path / "out" / "old.json").read_text() == '{"dptr": ""}'


def test_lines_come_as_batches_finish_and_a_closed_pipe_is_quiet(model: str, tmp_path: Path) -> None:
    for index in range(200):
        Image.new("RGB", (8, 4)).save(tmp_path / f"{index}.png")
    command = [*DPTR, "read", "-q", "--model", model, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith(os.fsencode(tmp_path / "0.png"))
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_to_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*DPTR, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"dptr: error: output: No space left on device; .*\n", done.stderr)


def test_data_build_writes_what_a_table_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    (tmp_path / "words.csv").write_text("text,file\nexit,a.png\nlost,b.png\n")
    build = ["data", "build", str(tmp_path / "words.csv"), "--kind", "table", "--columns", "file,text", "--out"]
    assert run([*build, str(tmp_path / "out")]) == 0
    messages = capsys.readouterr()
    assert messages.out == f"{tmp_path / 'out'}\t1 words\n"
    assert "dropped 1 (unreadable image)" in messages.err
    assert (tmp_path / "out" / "labels.tsv").read_text() == "images/000000001.png\texit\n"
    assert run([*build, str(tmp_path / "out")]) == 2
    assert run([*build, str(tmp_path / "out"), "--overwrite"]) == 0
    assert run(["data", "build", str(tmp_path), "--kind", "tabel", "--out", str(tmp_path / "x")]) == 2
    assert "did you mean 'table'" in capsys.readouterr().err
    assert run([*build[:-2], "file", "--out", str(tmp_path / "x")]) == 2
