"""Two models on the same crops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dptr.cli.app import run
from dptr.data.report import DropReport
from dptr.evaluation.evaluate import Misread, Report, Result
from dptr.evaluation.pairs import Pair, describe_pairs, pair_reports, sign_test

ROOT = Path(__file__).resolve().parents[2]


def report(model: str, wrong: dict[tuple[str, str], set[int]], n: int = 8) -> Report:
    """Of a model that reads all but some crops of each data set and protocol."""
    results = [
        Result(*each, n, n - len(rows), None, None, None, None, None, None, 0, {}, 1.0) for each, rows in wrong.items()
    ]
    errors = [Misread(*each, row, "", "", "", "", "", 0.5) for each, rows in wrong.items() for row in rows]
    return Report(model, results, errors, DropReport())


def test_crops_are_counted_by_who_reads_them() -> None:
    first = report("a", {("x", "36"): {0, 1, 2}, ("x", "94"): {0, 1, 2, 3}, ("y", "36"): set()})
    second = report("b", {("x", "36"): {2, 3}, ("x", "94"): {0, 1, 2, 3}, ("y", "36"): {5}})
    pairs = pair_reports(first, second)
    assert [(each.data, each.protocol) for each in pairs] == [("x", "36"), ("x", "94"), ("y", "36")]
    counts = [(each.both, each.first_only, each.second_only, each.neither) for each in pairs]
    assert counts == [(4, 1, 2, 1), (4, 0, 0, 4), (7, 1, 0, 0)]
    assert [each.p for each in pairs] == [1, 1, 1]


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64), (9, 1, 2 * 11 / 1024), (1, 9, 2 * 11 / 1024)],
)
def test_the_sign_test_is_exact(first: int, second: int, p: float) -> None:
    assert sign_test(first, second) == pytest.approx(p)
    assert 0 <= sign_test(2000 * first, 2000 * second) <= 1


def test_the_table_names_both() -> None:
    head, row = describe_pairs([Pair("x", "36", 4, 1, 2, 1, 0.0123)], "mine", "dptr-latin").splitlines()
    assert "only mine" in head and "only dptr-latin" in head and row.split() == ["x", "36", "4", "1", "2", "1", "0.012"]


def test_the_command_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(ROOT / "tests" / "golden" / "photograph.jpg") as picture:
        picture.crop((0, 0, 90, 40)).save(tmp_path / "1.png")
    (tmp_path / "labels.tsv").write_text("1.png\tnothing\n")
    command = ["eval", str(tmp_path), "--model", "dptr-en", "--against", "dptr-en-tiny"]
    assert run([*command, "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert (held["model"], held["against"]["report"]["model"]) == ("dptr-en", "dptr-en-tiny")
    (pair,) = held["against"]["pairs"]
    assert pair["both"] + pair["first_only"] + pair["second_only"] + pair["neither"] == held["results"][0]["n"] == 1
    assert run(command) == 0
    assert "only dptr-en-tiny" in capsys.readouterr().out
    assert run([*command[:-1], str(tmp_path / "none")]) == 2
