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

import helpers_runtime
import pypdfium2
import pytest
from helpers_batch import draw_words
from helpers_kill import KILLS, LONG, Killer
from helpers_label import make_words
from helpers_train import Warm

from dptr.data.labeled import open_labeled
from dptr.label.store import Store

MODEL = ["-m", "dptr-en-tiny"]
BUILD = ["data", "build", "{in}/labels.tsv", "--kind", "table", "-o"]
EVAL = ["eval", "{in}", "--json", "-o", "{out}", "--html", "{out}.html", *MODEL]
CHECK = ["data", "check", "{in}", "--json", "-o", "{out}", "--html", "{out}.html"]
EXPORT = ["label", "-o", "{in}/labeled", "--export"]
PAGE = ["export-page", "-o", "{out}", "--runtime", "{in}/runtime.tgz", *MODEL]
SYNTH = ["synth", "-o", "{out}", "--count", "60", "--resume", "--set", "size.height=16", "--set", "size.width=32"]
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "build": ("set", [*BUILD, "{out}", "--resume"]),
    "build-lmdb": ("set.lmdb", [*BUILD, "{out}", "--resume"]),
    "ocr-json": ("all.json", ["ocr", "{in}/crops", "-o", "{out}", *MODEL]),
    "ocr-pdf": ("all.pdf", ["ocr", "{in}/crops", "-o", "{out}", *MODEL]),
    "ocr-files": ("pages", ["ocr", "{in}/crops", "-o", "{out}/", "--format", "hocr", "--overlay", "{out}/", *MODEL]),
    "ocr-texts": ("pages", ["ocr", "{in}/crops", "-o", "{out}/", "--resume", *MODEL]),
    "read": ("read.json", ["read", "{in}/crops", "--json", "-o", "{out}", *MODEL]),
    "eval": ("report.json", EVAL),
    "check": ("report.json", CHECK),
    "label": ("label", ["label", "{in}/crops", "--crops", "--no-page", "-o", "{out}", *MODEL]),
    "label-import": ("labels", ["label", "-o", "{out}", "--import", "{in}", "--no-page"]),
    "label-studio": ("export", [*EXPORT, "label-studio", "--to", "{out}"]),
    "label-lmdb": ("export.lmdb", [*EXPORT, "lmdb", "--to", "{out}"]),
    "import": ("imported", ["import", "{in}/parseq.safetensors", "-o", "{out}"]),
    "export-page": ("page", PAGE),
    "shards": ("shards", [*SYNTH, "--format", "shards", "--sheet", "{out}.png"]),
    "build-again": ("again", [*BUILD, "{out}", "--overwrite"]),
    "ocr-pdf-again": ("all.pdf", ["ocr", "{in}/crops", "-o", "{out}", *MODEL]),
    "eval-again": ("report.json", EVAL),
    "check-again": ("report.json", CHECK),
    "label-folder-again": ("export", [*EXPORT, "labels.tsv", "--to", "{out}"]),
    "label-lmdb-again": ("export.lmdb", [*EXPORT, "lmdb", "--to", "{out}"]),
    "export-page-again": ("page", PAGE),
}
"""By name: what is written, and the command. ``again``: it replaces what the same command wrote of other inputs."""
QUICK = "build", "ocr-json"
MODULES = (
    "helpers_runtime", "dptr.photo.ocr", "dptr.photo.outputs", "dptr.data.importers", "dptr.evaluation.evaluate",
    "onnxruntime",
)  # fmt: skip


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"), MODULES)
    yield process
    process.close()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight words in pictures, with labels; in ``older`` two."""
    folder = tmp_path_factory.mktemp("inputs")
    write_words(folder, 8)
    write_words(folder / "older", 2)
    return folder


def write_words(folder: Path, count: int) -> None:
    (folder / "crops").mkdir(parents=True)
    for number, content in enumerate(draw_words(count)):
        (folder / "crops" / f"{number}.png").write_bytes(content)
    (folder / "labels.tsv").write_text("".join(f"crops/{number}.png\tword{number}\n" for number in range(count)))
    (folder / "runtime.tgz").write_bytes(helpers_runtime.PACKAGE)


def prepare(name: str, inputs: Path) -> None:
    """What some commands alone need."""
    if name == "import":
        import helpers_published as published
        from safetensors.torch import save_file

        save_file(published.weights(published.MODELS["parseq"]), inputs / "parseq.safetensors")
    elif "{in}/labeled" in COMMANDS[name][1] and not (inputs / "labeled").exists():
        for folder, count in ((inputs, 8), (inputs / "older", 3)):
            make_words(folder / "words", count).close()
            shutil.move(folder / "words" / "set", folder / "labeled")


@dataclass(frozen=True)
class Whole:
    """What a command wrote when nobody disturbed it.

    Attributes:
        folder: in which it wrote.
        older: what it was to replace, as ``held`` tells it; None where it replaces nothing.
        seconds: that it took.
    """

    name: str
    folder: Path
    older: Any
    seconds: float

    @property
    def out(self) -> Path:
        return self.folder / COMMANDS[self.name][0]


def command(name: str, inputs: Path, folder: Path) -> list[str]:
    out, words = COMMANDS[name]
    return [word.replace("{in}", str(inputs)).replace("{out}", str(folder / out)) for word in words]


def begin(name: str, inputs: Path, folder: Path, warm: Warm) -> Any:
    """Write what is to be replaced; what that is."""
    if not name.endswith("-again"):
        return None
    more = ["--crops-only"] if name.startswith("export-page") else []
    code, _, said = warm.run(*command(name, inputs / "older", folder), *more)
    assert code == 0, said
    return held(name, folder / COMMANDS[name][0])


@pytest.fixture(scope="module")
def whole(request: pytest.FixtureRequest, warm: Warm, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    name = request.param
    prepare(name, inputs)
    folder = tmp_path_factory.mktemp("whole")
    older = begin(name, inputs, folder, warm)
    begun = time.monotonic()
    code, _, said = warm.run(*command(name, inputs, folder))
    assert code == 0, said
    made = Whole(name, folder, older, time.monotonic() - begun)
    assert held(name, made.out) != older
    return made


def held(name: str, out: Path) -> Any:
    """What was written, as a program takes it in; what cannot be read is an error."""
    if name.startswith(("build", "label-lmdb", "label-folder")):
        crops = open_labeled(out)
        record = json.loads((out / "import.json").read_text())
        return record["words"], [(crops.label(row), crops.image_bytes(row)) for row in range(len(crops))]
    if name.startswith("ocr-pdf"):
        pages = [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(out)]
        return len(pages), pages
    if name in ("ocr-files", "ocr-texts", "import", "shards") or name.startswith("export-page"):
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    if name.startswith(("eval", "check")):
        page = Path(f"{out}.html")
        assert not page.exists() or page.read_text().rstrip().endswith("</html>")
        return without_times(json.loads(out.read_text()))
    if name in ("label", "label-import"):
        store = Store(out)
        rows = sorted((item.text, item.state) for item in store.some(range(1, 99)))
        store.close()
        return rows
    return [json.loads(line) for line in out.read_text().splitlines()] if name == "ocr-json" else out.read_text()


def without_times(report: Any) -> Any:
    if isinstance(report, dict):
        return {key: without_times(value) for key, value in report.items() if not key.endswith("_per_second")}
    return [without_times(each) for each in report] if isinstance(report, list) else report


def check_after_kill(whole: Whole, out: Path) -> bool:
    """What stands under a final name is whole: as in the end, or as before where something is replaced.

    Returns:
        Whether all is done, and the command would refuse to replace it.
    """
    name = whole.name
    if not out.exists():
        assert whole.older is None or [held(name, each) for each in out.parent.glob(".replaced-*")] == [whole.older]
        return False
    if name == "label" and not (out / "label.db").exists():
        return False
    found, expected = held(name, out), held(name, whole.out)
    if name in ("ocr-files", "ocr-texts", "shards"):
        found = {
            file: content for file, content in found.items() if not file.rpartition("/")[2].startswith(".partial-")
        }
        assert found.items() <= expected.items()
    elif name in ("label", "label-import"):
        assert set(found) <= set(expected)
    else:
        assert found in (expected, whole.older)
    return name == "read"


@pytest.mark.parametrize("kills", KILLS)
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
        assert {path.name for path in tmp_path.rglob("*")} == {path.name for path in whole.folder.rglob("*")}


@pytest.mark.parametrize(
    "whole",
    [
        "label-folder-again",
        *(pytest.param(f"{name}-again", marks=LONG) for name in ("build", "label-lmdb", "export-page")),
    ],
    indirect=True,
)
def test_killed_between_the_renames_of_a_folder(whole: Whole, warm: Warm, inputs: Path, tmp_path: Path) -> None:
    """No random moment falls between the two: the older folder has a hidden name then, and the newer has no other."""
    name = whole.name
    begin(name, inputs, tmp_path, warm)
    out = tmp_path / COMMANDS[name][0]
    shutil.copytree(out, tmp_path / f".partial-00000000-{out.name}")
    out.rename(tmp_path / f".replaced-00000000-{out.name}")
    code, _, said = warm.run(*command(name, inputs, tmp_path))
    assert code == 0, said
    assert held(name, out) == held(name, whole.out)
    assert {path.name for path in tmp_path.rglob("*")} == {path.name for path in whole.folder.rglob("*")}
