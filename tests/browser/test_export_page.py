"""The folder that ``dptr export-page`` writes, without a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dptr.browser import FOLDER, export_page, runtime
from dptr.cli.app import run
from dptr.weights import model_file

PARTS = {name: f"content of {name}".encode() for name in runtime.FILES}
NETWORKS = ["models/detector.onnx", "models/spaces.onnx", "licenses/detector.txt"]
LISTED = ["index.html", "page.json", "licenses/DPTR.txt", "licenses/onnxruntime.txt", "licenses/onnxruntime-parts.txt"]
SCRIPTS = sorted(FOLDER.glob("*.js"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in place of npm's."""
    path = tmp_path / runtime.PACKAGE
    with tarfile.open(path, "w:gz") as packed:
        for name, content in PARTS.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(runtime, "SHA512", digest)
    return path


def files(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_all_that_it_names(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["export-page", "--model", "dptr-en-tiny", "-o", str(out), "--runtime", str(package)]) == 0
    printed = capsys.readouterr().out.splitlines()
    held = files(out)
    assert sorted(line.partition("\t")[0] for line in printed[:-1]) == sorted(held)
    facts = json.loads((out / "page.json").read_text(encoding="utf-8"))
    assert (facts["model"], facts["photographs"]) == ("dptr-en-tiny", True)
    assert facts["files"] == {path: size for path, size in held.items() if path != "page.json"}
    assert {*LISTED, *NETWORKS} <= held.keys() and all(held.values())
    assert (out / "models/recognizer.onnx").read_bytes() == model_file("dptr-en-tiny", "model.onnx").read_bytes()
    for name, own in runtime.FILES.items():
        assert (out / "runtime" / own).read_bytes() == PARTS[name]
    for path in out.glob("static/*.js"):
        script = path.read_text(encoding="utf-8")
        for named in re.findall(r'(?:from|import)\(? ?"(\.\.?/[^"]+)"', script) + re.findall(
            r'URL\("([^"]+\.js)"', script
        ):
            assert (path.parent / named).is_file(), f"{path.name}: {named}"


def test_a_page_for_crops_has_no_detector(package: Path, tmp_path: Path) -> None:
    export_page(tmp_path / "out", "dptr-en-tiny", photographs=False, runtime=package)
    held = files(tmp_path / "out")
    assert set(LISTED) <= held.keys() and not {*NETWORKS} & held.keys()
    assert json.loads((tmp_path / "out/page.json").read_text())["photographs"] is False


def test_a_page_is_replaced_and_nothing_else(package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    call = ["export-page", "--model", "dptr-en-tiny", "-o", str(out), "--runtime", str(package)]
    assert run(call) == 0
    (out / "static/former.js").write_text("of an earlier version")
    assert run(call) == 0
    assert not (out / "static/former.js").exists()
    (out / "page.json").unlink()
    assert run(call) == 2
    assert "not empty" in capsys.readouterr().err


def test_what_cannot_be_written_is_told(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(tmp_path / "out")
    other = tmp_path / "other.tgz"
    other.write_bytes(package.read_bytes()[:-1])
    folder = tmp_path / "unexported"
    folder.mkdir()
    (folder / "config.json").write_text('{"kind": "recognizer"}')

    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    def failing(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "npm error network")

    for arguments, program, told in (
        (["--runtime", str(other)], None, "damaged; load it anew"),
        (["--runtime", str(tmp_path / "none.tgz")], None, "No such file"),
        (["--runtime", str(package), "--model", str(folder)], None, "not exported; type: dptr export"),
        ([], missing, "install Node.js"),
        ([], failing, "npm error network"),
    ):
        if program is not None:
            monkeypatch.setattr(runtime.subprocess, "run", program)
        assert run(["export-page", "-o", out, *arguments]) == 2
        error = capsys.readouterr().err
        assert told in error and len(error.splitlines()) == 1
        assert not Path(out).exists()


class Elements(HTMLParser):
    """All elements of the page: the name and the attributes of each; and the text within scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self.feed((FOLDER / "index.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            self.inline += data.strip()


def test_the_page_loads_only_what_is_beside_it() -> None:
    page = Elements()
    assert page.inline == ""
    for tag, attributes in page.found:
        assert not [key for key in attributes if key == "style" or key.startswith("on")], (tag, attributes)
        for key in ("src", "href"):
            assert not attributes.get(key, "").startswith(("/", "http", "data:", "//"))  # also in a folder of a site
    (policy,) = [each["content"] for _, each in page.found if each.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["connect-src"] == "'self'"
    assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"  # WebAssembly, and no text that is run


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_html_of_text_and_name_what_is_there(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert way not in script
    assert "http:" not in script and "https:" not in script
    if path.name == "app.js":
        ids = {attributes["id"] for _, attributes in Elements().found if "id" in attributes}
        assert set(re.findall(r'\b(?:get|press)\("([\w-]+)"', script)) <= ids


def test_no_size_is_written_into_the_scripts() -> None:
    """What the page knows of a model stands in the model's file."""
    for path in SCRIPTS:
        assert not re.search(r"\b(32|48|64),? ?(x|,) ?(64|128|640|960)\b", path.read_text(encoding="utf-8")), path.name
