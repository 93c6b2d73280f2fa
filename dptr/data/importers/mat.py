"""MATLAB files, read in a process of their own: on damaged ones SciPy's reader may end the process it runs in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

NAME, LABEL = "ImgName", "GroundTruth"
SECONDS = 300  # after which a file is given up; the largest published one takes one


def read_records(path: Path, name: str) -> list[tuple[str, str]]:
    """Name and label of each entry of the struct array ``name``; an entry without a label has an empty one.

    Raises:
        UserError: SciPy is missing, the file is damaged, or it has no such struct.
    """
    command = [sys.executable, "-m", __name__, str(path), name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=SECONDS)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise UserError(f"{path}: no whole .mat file (SciPy does not survive it); download it again") from error
    if "package" in answer:
        raise missing_package(ModuleNotFoundError(name=answer["package"]), f"{path}, a .mat file,", "import")
    if "fault" in answer:
        raise UserError(f"{path}: no whole .mat file ({answer['fault']}); download it again")
    if "rows" not in answer:
        there = ", ".join(answer["names"]) or "nothing"
        raise UserError(
            f"{path}: no struct '{name}' with {NAME} and {LABEL}, only {there}; pass traindata.mat or testdata.mat"
        )
    return [(picture, label) for picture, label in answer["rows"]]


def _answer(path: str, name: str) -> dict[str, object]:
    import numpy as np

    try:
        from scipy.io import loadmat
    except ImportError as error:
        return {"package": str(error.name).partition(".")[0]}
    try:
        content = loadmat(path, squeeze_me=True)
        records = np.atleast_1d(content.get(name, np.empty(0)))
        if not {NAME, LABEL} <= set(records.dtype.names or ()):
            return {"names": [key for key in content if not key.startswith("__")]}
        return {"rows": [(str(each[NAME]), str(each[LABEL]) if np.size(each[LABEL]) else "") for each in records]}
    except Exception as error:  # SciPy's reader raises whatever a damaged file makes it run into
        return {"fault": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    json.dump(_answer(*sys.argv[1:]), sys.stdout)
