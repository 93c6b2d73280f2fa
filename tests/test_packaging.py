"""What ``pip install .`` brings is enough to read, measure, and check data; it is little, and may be released."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers_docs import ROOT
from helpers_photo import PHOTOGRAPH, PHOTOGRAPHED
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dptr.version import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = {  # distribution -> what it is imported as
    "click": "click",
    "flatbuffers": "flatbuffers",
    "jaxtyping": "jaxtyping",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "packaging": "packaging",
    "pillow": "PIL",
    "protobuf": "google",
    "tqdm": "tqdm",
    "wadler-lindig": "wadler_lindig",
}
ONLY = """
import sys
from importlib.machinery import PathFinder
names = {*sys.stdlib_module_names, "dptr", *sys.argv.pop(1).split()}
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: find(name, *rest) if name.partition(".")[0] in names else None
"""
CROPS = ROOT / "tests" / "golden" / "crops"


def run_with_base(code: str, *arguments: str, also: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python code where only the standard library, dptr, what ``BASE`` names, and ``also`` can be imported."""
    command = [sys.executable, "-c", ONLY + code, " ".join([*BASE.values(), *also]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_the_library_reads_measures_and_checks_with_the_base_packages(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from dptr import Reader
from dptr.bench.process import Plan, measure
from dptr.data.check.checks import check
from dptr.data.check.page import render_data_sets
from dptr.data.importers import build
from dptr.evaluation.evaluate import evaluate
from dptr.inference.zoo import model_cards
from dptr.text.charset import resolve_charset
from dptr.weights import model_file
crops = Path({str(CROPS)!r})
reader = Reader()
assert evaluate(reader, [crops], ["36", "de"]).to_html()
assert [card["name"] for card in model_cards()] == ["dptr-latin", "dptr-en", "dptr-en-tiny"]
assert measure(Plan("onnx", str(model_file("dptr-en", "model.onnx")), None, [0], [1], 1, 1, time.time())).timings
assert render_data_sets(check([crops], resolve_charset("94"), 25, []), [crops], [])
out = Path({str(tmp_path / "set")!r})
assert build(crops / "labels.tsv", out, "table", None, None, None, (), None, False, False).words
print(reader.read(crops / "clean.png").text)
"""
    done = run_with_base(code)
    assert done.stdout == "Market\n", done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["read", str(CROPS / "clean.png")],
        ["eval", "--data", str(CROPS)],
        ["models"],
        ["models", "dptr-en"],
        ["data", "check", str(CROPS)],
        ["data", "stats", str(CROPS)],
        ["finetune", "--help"],
    ],
    ids=" ".join,
)
def test_the_commands_of_reading_need_the_base_packages_only(arguments: list[str]) -> None:
    done = run_with_base("from dptr.cli.app import run; sys.exit(run(sys.argv[1:]))", *arguments)
    assert done.returncode in ((0, 1) if arguments[:2] == ["data", "check"] else (0,)), done.stderr
    assert done.stdout


@pytest.mark.parametrize("pdf", [False, True])
def test_photographs_need_the_base_packages_and_pdfs_those_of_pdf(tmp_path: Path, pdf: bool) -> None:
    code = f"""
import os
from dptr.cli.app import run
from dptr.photo.outputs import FORMATS
os.chdir({str(tmp_path)!r})
for style in FORMATS:
    code = run(["ocr", {str(PHOTOGRAPH)!r}, "--format", style, "-o", style, "--overlay", "seen.png"])
    assert code == (2 if style == "pdf" and not {pdf} else 0), style
sys.exit(run(["ocr", "--text-layer", "use", "pdf"] if {pdf} else ["ocr", {str(PHOTOGRAPH)!r}]))
"""
    pdfium = {file.parts[0] for file in importlib.metadata.files("pypdfium2") or ()} if pdf else set()
    done = run_with_base(code, also=sorted(pdfium))
    assert done.stdout.split() == PHOTOGRAPHED.split(), done.stderr
    assert done.stderr == "" if pdf else done.stderr.count("\n") == 1 and "pip install '.[pdf]'" in done.stderr
    assert (tmp_path / "seen.png").exists()


def test_a_pdf_is_refused_by_name_where_its_package_is_missing(tmp_path: Path) -> None:
    scan = tmp_path / "scan.pdf"
    scan.write_bytes(b"%PDF-1.4\n")
    done = run_with_base("from dptr.cli.app import run; sys.exit(run(sys.argv[1:]))", "ocr", str(scan), str(PHOTOGRAPH))
    assert done.returncode == 2 and done.stdout.split() == PHOTOGRAPHED.split()
    assert done.stderr.count("\n") == 1 and f"{scan} needs pypdfium2" in done.stderr
    assert "pip install '.[pdf]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["finetune", "--out", "new"], "train"),
        (["synth", "--out", "new", "--count", "1"], "train"),
        (["serve", "--port", "0"], "serve"),
        (["label", "-o", "set"], "serve"),
    ],
)
def test_what_needs_other_packages_is_refused_in_one_line(arguments: list[str], extra: str) -> None:
    done = run_with_base("from dptr.cli.app import run; sys.exit(run(sys.argv[1:]))", *arguments)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and f".[{extra}]" in done.stderr


def test_the_base_install_is_eleven_packages() -> None:
    found, todo = set(), [Requirement(text) for text in PROJECT["dependencies"]]
    while todo:
        name = canonicalize_name(todo.pop().name)
        if name not in found:
            found.add(name)
            wanted = map(Requirement, importlib.metadata.requires(name) or [])
            todo += [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert found == set(BASE)  # and dptr


def test_the_weights_are_those_of_this_version() -> None:
    (pin,) = (text for text in PROJECT["optional-dependencies"]["train"] if text.startswith("dptr-weights"))
    assert pin == f"dptr-weights=={__version__}"


@pytest.mark.parametrize("package", ["dptr", "weights/dptr_weights"])
def test_every_file_of_a_package_may_be_released(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    release = importlib.import_module("release")
    folder = ROOT / package
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = [path.relative_to(folder).as_posix() for path in files]
    assert names and [name for name in names if not release.matches(name, release.ALLOWED[folder.name])] == []
