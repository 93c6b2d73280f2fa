"""docs/adding.md, followed to the letter in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"<!-- (file|line): (\S+) -->\n```(?:python|toml)\n(.*?)```", re.DOTALL)


@pytest.fixture
def copied(tmp_path) -> Path:
    """The package and its tests with the files and lines of the guide added."""
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.onnx")
    for name in ("dptr", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    blocks = BLOCK.findall((ROOT / "docs" / "adding.md").read_text(encoding="utf-8"))
    assert [kind for kind, _, _ in blocks] == ["file", "file", "line"]
    for _, file, text in blocks[:2]:
        (tmp_path / file).write_text(text, encoding="utf-8")
    union = tmp_path / "dptr/text/languages/latin.toml"
    union.write_text(union.read_text(encoding="utf-8").replace('"nb",', '"nb", "nn",'), encoding="utf-8")
    file, (registry, line) = blocks[1][1], blocks[2][1:]
    value = line.split(":")[1].strip().rstrip(",").split(".")[0]
    module = file.removesuffix(".py").replace("/", ".")
    origin = module.rpartition(".")[0] if module.endswith(f".{value}") else module
    lines = (tmp_path / registry).read_text(encoding="utf-8").splitlines(keepends=True)
    last = max(number for number, text in enumerate(lines) if text.startswith("from dptr"))
    lines.insert(last, f"from {origin} import {value}\n")
    closing = max(number for number, text in enumerate(lines) if text == "}\n")
    lines.insert(closing, line)
    (tmp_path / registry).write_text("".join(lines), encoding="utf-8")
    return tmp_path


def test_the_guide_adds_a_language_and_a_decoder(copied):
    decoders = ("test_base.py", "test_transfer.py", "test_lengths.py")
    paths = ["tests/text/test_languages.py", *(f"tests/models/decoders/{name}" for name in decoders)]
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "nn or parallel or unions", *paths]
    done = subprocess.run(
        command, cwd=copied, env={**os.environ, "PYTHONPATH": str(copied)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed >= 20, done.stdout[-3000:]
