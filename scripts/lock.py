"""Write requirements.txt: the packages of the base install in the versions of constraints.txt, with their hashes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# The base install with hashes, as tested (Python 3.11, Linux); made by "make lock". Use it with
# "pip install --require-hashes -r requirements.txt", and then "pip install --no-deps dptr".
"""


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        wanted, locked = Path(folder) / "base.in", Path(folder) / "locked.txt"
        wanted.write_text("\n".join([f"-c {ROOT / 'constraints.txt'}", *project["dependencies"]]) + "\n")
        plain = (
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--no-emit-trusted-host",
            "--no-emit-find-links",
        )
        command = [sys.executable, "-m", "piptools", "compile", "-q", "--generate-hashes", "--strip-extras", *plain]
        subprocess.run([*command, "-o", str(locked), str(wanted)], check=True)
        (ROOT / "requirements.txt").write_text(HEAD + locked.read_text())


if __name__ == "__main__":
    main()
