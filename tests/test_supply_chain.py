"""What is installed, loaded, and shipped is what was meant: hashes, digests, and nothing that is unpickled."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_docs import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SOURCES = ("dptr", "weights", "scripts", "research", "fuzz", "recognizers")
RUNS_CODE = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "yaml"}
ERRORS_ONLY = {("pickle", "UnpicklingError"), ("pickle", "PickleError")}  # what torch.load(weights_only=True) raises
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for folder in SOURCES
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def faults(tree: ast.AST) -> Iterator[str]:
    """What might run code that a file brings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in RUNS_CODE:
            yield from (
                f"from {node.module} import {each.name}"
                for each in node.names
                if (node.module, each.name) not in ERRORS_ONLY
            )
        elif isinstance(node, ast.Import):
            yield from (f"import {each.name}" for each in node.names if each.name in RUNS_CODE - {"pickle"})
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in RUNS_CODE and (node.value.id, node.attr) not in ERRORS_ONLY:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call):
            yield from _calls(node)


def _calls(call: ast.Call) -> Iterator[str]:
    named = {each.arg: each.value for each in call.keywords}
    name = ast.unparse(call.func)
    if name in ("eval", "exec", "compile", "__import__") or name.endswith((".read_pickle", "hub.load", "jit.load")):
        yield name
    if name == "torch.load" and not is_literal(named.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    for unsafe in ("allow_pickle", "trust_remote_code"):
        if unsafe in named and not is_literal(named[unsafe], False):
            yield f"{name}({unsafe}=...)"


def is_literal(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_no_code_path_unpickles() -> None:
    assert len(TREES) > 200
    assert {name: found for name, tree in TREES.items() if (found := [*faults(tree)])} == {}


def test_weights_of_torch_are_loaded_without_their_code() -> None:
    """There is a call that the scan has to judge."""
    calls = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call for call in calls if ast.unparse(call.func) == "torch.load"]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\npickle.loads(b'')",
        "from pickle import loads",
        "import joblib",
        "import yaml",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "eval(text)",
        "pandas.read_pickle(path)",
        "torch.hub.load('a', 'b')",
    ],
)
def test_the_scan_sees(code: str) -> None:
    assert [*faults(ast.parse(code))]


@pytest.mark.parametrize(
    "code",
    [
        "import pickle\ntry: pass\nexcept pickle.UnpicklingError: pass",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "np.load(path)",
        "model.eval()",
        "re.compile('a')",
    ],
)
def test_the_scan_passes(code: str) -> None:
    assert [*faults(ast.parse(code))] == []


def test_weights_and_fonts_are_those_that_were_released() -> None:
    listed = dict(reversed(line.split("  ")) for line in (ROOT / "digests.sha256").read_text().splitlines())
    folders = {"dptr": ("*.onnx", "*.npz", "*.ttf"), "weights": ("*.safetensors",), "recognizers": ("*.onnx", "*.npz")}
    files = [path for folder, kinds in folders.items() for kind in kinds for path in (ROOT / folder).rglob(kind)]
    found = {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert found == listed  # make digests
    assert len(found) > 10


def base_packages() -> Iterator[str]:
    """What the base install brings, as this environment has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    todo, seen = [Requirement(text) for text in project["dependencies"]], set()
    while todo:
        name = canonicalize_name(todo.pop().name)
        if name not in seen:
            seen.add(name)
            yield name
            wanted = map(Requirement, importlib.metadata.requires(name) or [])
            todo += [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]


def test_the_lock_has_the_base_install_with_hashes() -> None:
    text = (ROOT / "requirements.txt").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")
    )
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    assert {canonicalize_name(line[0].split("==")[0]) for line in lines} == set(base_packages())
    for name, *hashes in lines:
        package, _, version = name.partition("==")
        assert versions[canonicalize_name(package)] == version  # make lock
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes)


def test_known_vulnerabilities_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    audit = importlib.import_module("audit")
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]},
            {"name": "b", "version": "1", "vulns": []},
            {"name": "c", "skip_reason": "unknown"},
        ]
    }
    assert audit.summarize(report) == (["audit: a 1: PYSEC-1; fixed in 2"], 1)


def test_reports_go_to_one_place() -> None:
    text = (Path(ROOT) / "SECURITY.md").read_text(encoding="utf-8")
    assert "docs/threat-model.md" in text and "docs/reliability.md" in text
