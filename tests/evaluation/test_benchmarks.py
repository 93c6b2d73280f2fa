"""Benchmarks: found by name, judged under their protocol, beside the published rows; the mean counts sets alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_train import write_photographs

from dptr.cli.app import run
from dptr.data.lmdb import write_lmdb
from dptr.evaluation.benchmarks import BENCHMARKS, benchmark, compare_with_published, find_sets, other_sizes
from dptr.evaluation.metrics import PROTOCOLS
from dptr.utils.errors import UserError

ENGLISH = BENCHMARKS["english"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = write_photographs(tmp_path_factory.mktemp("pictures") / "all", 3)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def make(root: Path, names: list[str], pictures: list[bytes]) -> Path:
    for number, name in enumerate(names):
        write_lmdb(root / name, [(picture, f"word{number}") for picture in pictures[: 1 + number % 3]])
    return root


def test_published_means_are_those_of_their_rows() -> None:
    for chosen in BENCHMARKS.values():
        assert chosen.protocol in PROTOCOLS and chosen.published
        for row in chosen.published:
            assert row.sets.keys() in (set(), chosen.sets.keys())
            if row.sets:
                assert row.mean == pytest.approx(sum(row.sets.values()) / len(row.sets), abs=0.006)


def test_sets_are_found_by_name_in_whatever_case_and_among_others(tmp_path: Path, pictures: list[bytes]) -> None:
    first = make(tmp_path / "a", ["iiit5K", "SVT", "IC13_857", "IC13_1015", "ArT"], pictures)
    second = make(tmp_path / "b", ["ic15_1811", "svtp", "cute80"], pictures)
    found = find_sets(ENGLISH, [first, second])
    assert list(found) == list(ENGLISH.sets)
    assert found["IIIT5k"] == first / "iiit5K" and found["CUTE80"] == second / "cute80"
    with pytest.raises(UserError, match="no data set IC15_1811, SVTP, CUTE80 in it"):
        find_sets(ENGLISH, [first])
    with pytest.raises(UserError, match="no data set IC15_2077"):
        find_sets(BENCHMARKS["english-whole"], [first, second])
    make(tmp_path / "c", ["SVT"], pictures)
    with pytest.raises(UserError, match=r"SVT: both .*a/SVT and .*c/SVT"):
        find_sets(ENGLISH, [first, second, tmp_path / "c"])
    with pytest.raises(UserError, match="did you mean 'english'"):
        benchmark("englsh")


def test_the_table_has_the_mean_of_sets_counted_alike() -> None:
    accuracies = dict(zip(ENGLISH.sets, (1.0, 0.5, 0.5, 0.25, 0.0, 0.75), strict=True))
    header, own, dptr, parseq = compare_with_published(ENGLISH, "mine", accuracies)
    assert header == ("word accuracy, %", *ENGLISH.sets, "mean")
    assert own == ("mine", "100.00", "50.00", "50.00", "25.00", "0.00", "75.00", "50.00")
    assert dptr[0].startswith("DPTR (published: ") and dptr[1:] == (
        "99.50", "99.20", "98.50", "91.80", "97.10", "98.60", "97.45",
    )  # fmt: skip
    assert parseq[-1] == "96.40"
    rows = compare_with_published(BENCHMARKS["bctr"], "mine", dict.fromkeys(BENCHMARKS["bctr"].sets, 0.5))
    assert [row[-1] for row in rows] == ["mean", "50.00", "80.73", "82.37"] and rows[2][1] == "-"


def test_other_sizes_are_told() -> None:
    sizes = dict(ENGLISH.sets) | {"SVT": 640}
    assert other_sizes(ENGLISH, sizes) == ["SVT: 640 crops, published with 647: not the same data"]  # type: ignore[arg-type]


def test_eval_reads_a_benchmark(tmp_path: Path, pictures: list[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "test", [*ENGLISH.sets, "IC13_1015"], pictures)
    assert (
        run(
            [
                "eval",
                str(root),
                "--benchmark",
                "english",
                "--model",
                "dptr-en-tiny",
                "--json",
                "-o",
                str(tmp_path / "r.json"),
            ]
        )
        == 0
    )
    stored = json.loads((tmp_path / "r.json").read_text())
    assert [Path(row["data"]).name for row in stored["results"]] == list(ENGLISH.sets)
    assert {row["protocol"] for row in stored["results"]} == {"36"}
    (mean,) = stored["means"]
    right = [row["word_accuracy"] for row in stored["results"]]
    assert mean["word_accuracy"] == pytest.approx(sum(right) / 6) and mean["n"] == 12
    assert stored["benchmark"]["word_accuracy"] == dict(zip(ENGLISH.sets, right, strict=True))
    assert stored["benchmark"]["rows"][2][-1] == "97.45"
    assert "IIIT5k: 1 crops, published with 3,000: not the same data" in capsys.readouterr().err
    assert run(["eval", str(root), "--benchmark", "english", "--protocol", "94", "--model", "dptr-en-tiny"]) == 2
    assert "--protocol with --benchmark english" in capsys.readouterr().err


def test_eval_of_a_root_has_a_row_a_set_and_the_means(
    tmp_path: Path, pictures: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    root = make(tmp_path / "sets", ["one", "deep/two"], pictures)
    assert run(["eval", str(root), "--model", "dptr-en-tiny", "--html", str(tmp_path / "page.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        f"{root}/deep/two", f"{root}/one", "mean of 2 sets", "all crops together",
    ]  # fmt: skip
    assert "word1" in (tmp_path / "page.html").read_text()
