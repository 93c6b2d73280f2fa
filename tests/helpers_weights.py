"""Shipped models as folders of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers_docs import ROOT

from dptr.weights import model_folders
from dptr.weights.packages import GROUP, find_packages


def copy_for_torch(name: str, folder: Path) -> Path:
    """Copy a shipped model as training writes one: all its files in one folder, without the exported file."""
    for source in model_folders(name):
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.onnx"), dirs_exist_ok=True)
    return folder


def install_recognizers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install the recognizers of this repository as pip does for editing, by entry points in an empty folder; their
    names."""
    names = sorted(path.name for path in (ROOT / "recognizers").iterdir() if path.is_dir())
    for name in names:
        about = folder / f"dptr_{name}-1.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dptr-{name}\nVersion: 1\n")
        (about / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = dptr_{name}\n")
        monkeypatch.syspath_prepend(str(ROOT / "recognizers" / name))
    monkeypatch.syspath_prepend(str(folder))
    assert {*names} <= {*find_packages()}
    return names
