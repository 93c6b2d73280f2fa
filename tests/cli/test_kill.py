"""Commands that read and convert, under kill -9: what they write is whole or not there; the same command goes on."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from helpers_batch import draw_words
from helpers_kill import Killer
from helpers_label import make_words
from helpers_train import Warm

from dptr.data.labeled import open_labeled
from dptr.label.store import Store

MODEL = ["-m", "dptr-en-tiny"]
BUILD = ["data", "build", "{in}/labels.tsv", "--kind", "table", "-o"]
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "build": ("set", [*BUILD, "{out}", "--resume"]),
    "build-lmdb": ("set.lmdb", [*BUILD, "{out}", "--resume"]),
    "build-again": ("again", [*BUILD, "{out}", "--overwrite"]),
    "ocr-json": ("all.json", ["ocr", "{in}/crops", "-o", "{out}", *MODEL]),
    "ocr-pdf": ("all.pdf", ["ocr", "{in}/crops", "-o", "{out}", *MODEL]),
    "ocr-files": ("pages", ["ocr", "{in}/crops", "-o", "{out}/", "--format", "hocr", *MODEL]),
    "read": ("read.json", ["read", "{in}/crops", "--json", "-o", "{out}", *MODEL]),
    "eval": ("report.json", ["eval", "{in}", "--json", "-o", "{out}", "--html", "{out}.html", *MODEL]),
    "label": ("label", ["label", "{in}/crops", "--crops", "--no-page", "-o", "{out}", *MODEL]),
    "label-export": ("export", ["label", "-o", "{in}/labeled", "--export", "label-studio", "--to", "{out}"]),
    "import": ("imported", ["import", "{in}/parseq.safetensors", "-o", "{out}"]),
    "export-page": ("page", ["export-page", "-o", "{out}", *MODEL]),
}
"""By name: what is written, and the command."""
CLOCK = ("crops_per_second",)
QUICK = "build", "ocr-json"
LONG = [pytest.mark.slow, pytest.mark.timeout(3000)]
MODULES = "dptr.photo.ocr", "dptr.photo.outputs", "dptr.data.importers", "dptr.evaluation.evaluate", "onnxruntime"


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"), MODULES)
    yield process
    process.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight words in pictures, with labels."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "crops").mkdir()
    for number, content in enumerate(draw_words(8)):
        (folder / "crops" / f"{number}.png").write_bytes(content)
    (folder / "labels.tsv").write_text("".join(f"crops/{number}.png\tword{number}\n" for number in range(8)))
    return folder


def prepare(name: str, inputs: Path) -> None:
    """What one command alone needs."""
    if name == "import":
        import helpers_published as published
        from safetensors.torch import save_file

        save_file(published.weights(published.MODELS["parseq"]), inputs / "parseq.safetensors")
    elif name == "label-export":
        make_words(inputs / "words", 8).close()
        shutil.move(inputs / "words" / "set", inputs / "labeled")


@dataclass(frozen=True)
class Whole:
    """What a command wrote when nobody disturbed it, and the seconds that it took."""

    name: str
    out: Path
    seconds: float


def command(name: str, inputs: Path, folder: Path) -> list[str]:
    out, words = COMMANDS[name]
    return [word.replace("{in}", str(inputs)).replace("{out}", str(folder / out)) for word in words]


def begin(name: str, inputs: Path, folder: Path, warm: Warm) -> None:
    """What is there before: a data set that is to be replaced."""
    if name == "build-again":
        (inputs / "older.tsv").write_text("crops/0.png\tolder\n")
        older = ["data", "build", str(inputs / "older.tsv"), "--kind", "table", "-o", str(folder / "again")]
        assert warm.run(*older)[0] == 0


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, warm: Warm, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    name = request.param
    prepare(name, inputs)
    folder = tmp_path_factory.mktemp("whole")
    begin(name, inputs, folder, warm)
    begun = time.monotonic()
    code, _, said = warm.run(*command(name, inputs, folder))
    assert code == 0, said
    return Whole(name, folder / COMMANDS[name][0], time.monotonic() - begun)


def held(name: str, out: Path) -> Any:
    """What was written, as a program takes it in; what cannot be read is an error."""
    if name.startswith("build"):
        crops = open_labeled(out)
        record = json.loads((out / "import.json").read_text())
        return record["words"], [(crops.label(row), crops.image_bytes(row)) for row in range(len(crops))]
    if name == "ocr-pdf":
        pages = [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(out)]
        return len(pages), pages
    if name in ("ocr-files", "export-page"):
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    if name == "eval":
        report = json.loads(out.read_text())
        return report["model"], [{**row, **dict.fromkeys(CLOCK)} for row in report["results"]]
    if name == "label":
        store = Store(out)
        rows = sorted((item.text, item.state) for item in store.some(range(1, 99)))
        store.close()
        return rows
    if name == "import":
        return {path.name: path.read_bytes() for path in out.iterdir()}
    return [json.loads(line) for line in out.read_text().splitlines()] if name == "ocr-json" else out.read_text()


def check_after_kill(whole: Whole, out: Path) -> None:
    """What stands under a final name is whole: as in the end, or as before where something is replaced."""
    name = whole.name
    if not out.exists():
        return
    found, expected = held(name, out), held(name, whole.out)
    if name == "ocr-files":
        assert found.items() <= {**found, **expected}.items() and all(
            content == expected[file] for file, content in found.items() if not file.startswith(".partial-")
        )
    elif name == "label":
        assert set(found) <= set(expected)
    elif name == "build-again":
        assert found in (expected, (1, [("older", expected[1][0][1])]))
    else:
        assert found == expected


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=LONG)])
@pytest.mark.parametrize(
    "whole", [*QUICK, *(pytest.param(name, marks=LONG) for name in COMMANDS if name not in QUICK)], indirect=True
)
def test_killed_at_random_moments(whole: Whole, kills: int, warm: Warm, inputs: Path, tmp_path: Path) -> None:
    name = whole.name
    killer = Killer(warm, random.Random(f"{name} {kills}"), kills)
    while killer.left:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        begin(name, inputs, tmp_path, warm)
        out = tmp_path / COMMANDS[name][0]
        given = command(name, inputs, tmp_path)
        if not killer.kill(given, whole.seconds, lambda: check_after_kill(whole, out)):  # noqa: B023
            code, _, said = warm.run(*given)
            assert code == 0, said
        assert held(name, out) == held(name, whole.out)
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in whole.out.parent.iterdir()}
