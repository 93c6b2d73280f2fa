"""MATLAB files. A separate process reads them, because a damaged file may crash SciPy's reader and its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

NAME, LABEL = "ImgName", "GroundTruth"
SECONDS = 300  # time limit for a file; the largest published one takes one second


def read_records(path: Path, name: str) -> list[tuple[str, str]]:
    """Read the picture's name and the label of each entry of the struct array ``name``.

    An entry without a label has the label "".

    Raises:
        UserError: SciPy is missing, the file is damaged, reading takes more than ``SECONDS``, or the file has no such
            struct array.
    """
    command = [sys.executable, "-m", __name__, str(path), name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        process = subprocess.run(command, capture_output=True, env=environment, timeout=SECONDS)
        answer = json.loads(process.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise UserError(f"{path}: damaged .mat file (SciPy crashed or took too long); download it again") from error
    if "package" in answer:
        raise missing_package(ModuleNotFoundError(name=answer["package"]), f"{path}, a .mat file,", "import")
    if "fault" in answer:
        raise UserError(f"{path}: damaged .mat file ({answer['fault']}); download it again")
    if "rows" not in answer:
        there = ", ".join(answer["names"]) or "nothing"
        raise UserError(
            f"{path}: no struct '{name}' with {NAME} and {LABEL}, only {there}; pass traindata.mat or testdata.mat"
        )
    return [(picture, label) for picture, label in answer["rows"]]


def _read_struct(path: str, name: str) -> dict[str, object]:
    """Read a struct array. The result is ``rows``, or on failure the missing ``package``, the ``fault``, or ``names``.

    ``names`` are those of the variables in the file, if none of them is the struct array.
    """
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
    except Exception as error:  # on damaged files SciPy's reader raises errors of many kinds
        return {"fault": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    json.dump(_read_struct(*sys.argv[1:]), sys.stdout)
