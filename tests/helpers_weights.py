"""Shipped models as folders of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

from dptr.weights import model_folders


def copy_for_torch(name: str, folder: Path) -> Path:
    """Copy a shipped model as training writes one: all its files in one folder, without the exported file."""
    for source in model_folders(name):
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.onnx"), dirs_exist_ok=True)
    return folder
