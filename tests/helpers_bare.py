"""An environment with the base install alone: what ``pip install dptr`` brings, without the extras."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def base_packages() -> set[str]:
    """The distributions that pyproject.toml asks for without extras, and those that they ask for."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            wanted += distribution(name).requires or []
    return found


def make_bare(folder: Path) -> None:
    """Links to the packages of the base install, and to dptr, in an empty folder."""
    names = set()
    for package in base_packages():
        for file in distribution(package).files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not top.endswith((".pth", ".py~")):
                names.add((str(distribution(package).locate_file("")), top))
    for place, top in sorted(names):
        link = folder / top
        if not link.exists():
            link.symlink_to(Path(place) / top)
    (folder / "dptr").symlink_to(ROOT / "dptr")


def run_bare(
    bare: Path, arguments: list[str], folder: Path, standard_input: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """``dptr`` with these arguments, in ``folder``, seeing no package but those of ``bare`` and of Python."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(bare), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-S", "-m", "dptr.cli.app", *arguments],
        cwd=folder, env=environment, input=standard_input, capture_output=True, timeout=60,
    )  # fmt: skip
