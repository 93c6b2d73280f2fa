"""The package tells type checkers what its users get."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dptr

ROOT = Path(dptr.__file__).parent.parent

USER = """
from pathlib import Path
import numpy as np
from dptr import Prediction, Reader, UserError

reader: Reader = Reader.from_pretrained("dptr-en", device="cpu", batch_size=8)
one: Prediction = reader.read(Path("crop.png"))
same: list[Prediction] = [reader(np.zeros((32, 128, 3), np.uint8)), reader(open("crop.png", "rb"))]
many: list[Prediction] = reader.read(path for path in Path(".").iterdir())
some: list[Prediction | UserError] = reader.read(["a.png", b""], errors="return")
maybe: Prediction | UserError = reader.read("a.png", errors="return")
print(str(one), one.to_dict()["confidence"], one.notes, reader.device)
"""

WRONG = {
    'reader.read("crop.png")[0]': "index",
    'reader.read(["crop.png"]).text': "attr-defined",
    'reader.read("crop.png", errors="return").text': "union-attr",
    'reader.read("crop.png", errors="ignore")': "call-overload",
    "reader.read(7)": "call-overload",
    'Reader.from_pretrained("dptr-en", revision="main")': "call-arg",
}


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_a_users_file_is_clean_under_mypy_strict(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    lines = [f"{expression}  # type: ignore[{code}]" for expression, code in WRONG.items()]
    (tmp_path / "wrong.py").write_text(USER + "\n".join(lines) + "\n")  # strict: an ignore in vain is an error
    # What the signatures do not name is skipped: to check torch alone takes a minute.
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\nfollow_imports = silent\n"
        "[mypy-torch.*,pydantic.*,onnxruntime.*,dptr.models.*,dptr.config.*]\nfollow_imports = skip\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", f"--cache-dir={tmp_path / 'cache'}", "user.py", "wrong.py"],
        cwd=tmp_path, env=os.environ | {"MYPYPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_is_marked_as_typed() -> None:
    assert (ROOT / "dptr" / "py.typed").is_file()
