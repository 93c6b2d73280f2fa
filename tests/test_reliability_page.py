"""Each row of docs/reliability.md names a test that there is."""

from __future__ import annotations

import re

import pytest
from helpers_docs import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_rows_name_tests(row: str) -> None:
    found = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
    assert found
    for file, name in found:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), name


def test_there_are_rows() -> None:
    assert len(ROWS) > 15
