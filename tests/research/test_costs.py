"""The sums of docs/scaling.md are those of the script, from rates that stand where it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def costs() -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location("costs", ROOT / "research/bench/costs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["costs"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_rates_and_sizes_stand_on_their_pages(costs: ModuleType) -> None:
    for held in (*costs.RATES, *costs.SIZES):
        assert held.text in (ROOT / "docs" / held.page).read_text(), held.what


def test_the_page_shows_what_the_script_prints(costs: ModuleType) -> None:
    page = (ROOT / "docs/scaling.md").read_text()
    for row in costs.table(1e9, {}):
        assert row in page


def test_hours_and_prices(costs: ModuleType) -> None:
    (row,) = [row for row in costs.table(36e5, {"core": 2.0}) if row.startswith("| read, `dptr-en-tiny`")]
    assert row == "| read, `dptr-en-tiny`, `dptr batch` | core | 500 | 2 | 4 |"
    (row,) = [row for row in costs.table(36e5, {"core": 2.0}) if "svtr micro" in row]
    assert row.endswith("| 0.051 | |")
