"""Steps read what the reader reads; times, FLOPs and memory are those counted apart; and what is refused."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from helpers_signal import start
from helpers_weights import copy_for_torch
from PIL import Image
from torch import nn

from dptr import Reader, __version__
from dptr.bench import CROPS, STARTS, WARM_UP, Measurement, Report, bench
from dptr.bench.process import Plan, draw_word, measure, summarize
from dptr.bench.stages import StagedRecognizer, count_flops, mean_flops, open_staged
from dptr.cli.app import run
from dptr.models.encoders.svtr import LocalBlock
from dptr.models.fmu import FMU
from dptr.utils.errors import UserError
from dptr.utils.images import open_image
from dptr.weights import DEFAULT_MODEL, model_file

FILE = str(model_file("dptr-en", "model.onnx"))


@pytest.fixture
def one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dptr.bench.STARTS", 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """100 labeled crops; every tenth is broken."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for index in range(100):
        (folder / f"{index}.jpg").write_bytes(draw_word(index % 4) if index % 10 else b"broken")
    (folder / "labels.tsv").write_text("".join(f"{index}.jpg\tword\n" for index in range(100)))
    return folder


# --- what is measured -------------------------------------------------------------------------------------------------


def test_times_are_those_counted_by_hand() -> None:
    rng = np.random.default_rng(5)
    for rounds, batch in ((1, 1), (2, 4), (7, 1), (40, 32)):
        steps = rng.uniform(0.001, 0.1, (rounds, 3))
        marks = 12.5 + np.concatenate([np.zeros((rounds, 1)), steps.cumsum(1)], 1)
        cpu = rng.uniform(0.001, 0.1, rounds)
        timing = summarize(batch, ("a", "b", "c"), marks, cpu)
        whole = sorted(1000 * steps.sum(1) / batch)
        for share, value in ((0.5, timing.median_ms), (0.95, timing.p95_ms)):
            place = share * (rounds - 1)  # between its neighbors, in proportion
            below = int(place)
            above = min(below + 1, rounds - 1)
            assert value == pytest.approx(whole[below] + (place - below) * (whole[above] - whole[below]))
        assert timing.cpu_ms == pytest.approx(1000 * np.median(cpu) / batch)
        assert timing.crops_per_second == pytest.approx(rounds * batch / steps.sum())
        middle = whole[rounds // 4 : rounds - rounds // 4]
        assert timing.whole_ms == pytest.approx(sum(middle) / len(middle))
        assert sum(timing.stages_ms.values()) == pytest.approx(timing.whole_ms)


def test_a_round_that_was_held_up_moves_no_stage() -> None:
    marks = np.tile([0.0, 0.001, 0.003], (8, 1))
    marks[3, 1:] += 5
    assert summarize(1, ("a", "b"), marks, np.ones(8)).stages_ms == pytest.approx({"a": 1, "b": 2})


@pytest.mark.parametrize(("backend", "model"), [("torch", "dptr-en"), ("onnx", FILE)])
def test_steps_read_what_the_reader_reads(backend: Any, model: str) -> None:
    threads = torch.get_num_threads()
    try:
        staged = open_staged(backend, model, threads)
        value: Any = [lambda index=index: open_image(draw_word(index)) for index in range(16)]
        for step in staged.steps.values():
            value = step(value)
        assert staged.version == {"torch": torch, "onnx": onnxruntime}[backend].__version__
    finally:
        torch.set_num_threads(threads)
    expected = Reader("dptr-en").read([draw_word(index) for index in range(16)])
    assert [word.text for word in value] == [word.text for word in expected]
    assert [word.confidence for word in value] == pytest.approx([word.product for word in expected], abs=1e-4)
    names = ["graph"] if backend == "onnx" else ["encoder", "decoder"]
    assert list(staged.steps) == ["open", "preprocess", *names, "text"]


def test_drawn_crops_are_words_of_many_lengths_and_sizes_the_same_each_time() -> None:
    files = [draw_word(index) for index in range(CROPS)]
    assert files == [draw_word(index) for index in range(CROPS)]
    assert {Image.open(io.BytesIO(file)).format for file in files} == {"JPEG", "PNG"}
    heights = {open_image(file).height for file in files}
    assert min(heights) < 25 and max(heights) > 60
    assert {len(word.text) for word in Reader().read(files)} >= {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}


def test_flops_of_parts_are_those_counted_by_hand() -> None:
    multiply_add = 2
    layer = nn.Linear(5, 7).requires_grad_(False)
    result, flops = count_flops(layer, torch.ones(3, 5))
    assert torch.equal(result, layer(torch.ones(3, 5))) and flops == multiply_add * 3 * 5 * 7
    block = LocalBlock(6).requires_grad_(False).eval()
    assert count_flops(block, torch.ones(1, 6, 4, 10))[1] == 2 * multiply_add * (4 * 10) * 6 * (6 * 3 * 3)
    queries, tokens, width, inside = 3, 8, 16, 12
    fmu = FMU(width, queries, 2, 1, inside).requires_grad_(False)
    memory = tokens * inside * 2 * width  # keys and values
    own = queries * width * width * 2  # the query, and the way out
    attention = 2 * queries * tokens * width
    feed_forward = 2 * queries * width * 4 * width
    expected = multiply_add * (memory + own + attention + feed_forward)
    assert count_flops(lambda image: fmu(image, (1, tokens)), torch.ones(1, tokens, inside))[1] == expected


def test_flops_are_a_mean_over_the_crops() -> None:
    layer = nn.Linear(4, 4).requires_grad_(False)

    def decode(length: torch.Tensor) -> torch.Tensor:
        return layer(torch.ones(int(length), 4))

    def encode(sources: list[Any]) -> torch.Tensor:
        layer(torch.ones(10, 4))
        return sources[0]()

    steps = {"encoder": encode, "decoder": decode, "text": layer}  # the last one counts for nothing
    lengths = [lambda: torch.tensor(1), lambda: torch.tensor(2), lambda: torch.tensor(6)]
    assert mean_flops(StagedRecognizer("", steps, 0), lengths) == {"encoder": 10 * 32, "decoder": 3 * 32}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells it in other ways")
def test_memory_is_the_most_of_this_process_not_of_its_parent() -> None:
    code = (
        "import numpy as np\nfrom dptr.bench.process import peak_mib\nbefore = peak_mib()\n"
        "np.ones(20 * 2**20)\nprint(before, peak_mib())"
    )
    held = np.ones(50 * 2**20)  # 400 MiB
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = map(float, done.stdout.split())
    assert held.nbytes / 2**20 > 2 * before and 150 < after - before < 180


def test_a_plan_without_rounds_is_a_start() -> None:
    found = measure(Plan("onnx", FILE, None, range(3), (1, 2), 0, 1, time.monotonic() - 100))
    assert found.start_seconds > 100 and found.timings == [] and found.peak_mib is None


# --- the command ------------------------------------------------------------------------------------------------------


def numbers(value: Any) -> list[float]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if values is None:
        return [value] if isinstance(value, int | float) else []
    return [number for each in values for number in numbers(each)]


@pytest.mark.slow
def test_the_command_measures_the_model_that_ships(one_start, tmp_path: Path, monkeypatch, capsys) -> None:
    reports: list[Report] = []
    monkeypatch.setattr("dptr.bench.bench", lambda *arguments: reports.append(bench(*arguments)) or reports[0])
    file = tmp_path / "deep" / "speed.json"
    sizes = ["--batch-size", "3", "--batch-size", "1", "--batch-size", "3"]
    assert run(["bench", "--repeats", "2", *sizes, "--json", "-o", str(file)]) == 0
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("dptr.bench.bench", lambda *arguments: reports[0])
    assert run(["bench"]) == 0
    out, err = capsys.readouterr()
    stored = json.loads(file.read_text())
    assert err == "" and list(file.parent.iterdir()) == [file]
    assert set(stored) == {
        *("model", "dptr", "cpu", "cores", "threads", "crops", "warm_up", "repeats", "starts"),
        *("parameters", "flops", "backends", "left_out", "dropped"),
    }
    assert (stored["model"], stored["dptr"], stored["threads"]) == (DEFAULT_MODEL, __version__, 1)
    assert (stored["warm_up"], stored["repeats"], stored["starts"]) == (WARM_UP, 2, 1)
    assert stored["crops"] == {"source": "drawn", "count": CROPS}
    assert stored["left_out"] == stored["dropped"] == {}
    assert stored["parameters"] == json.loads(model_file(DEFAULT_MODEL, "card.json").read_text())["parameters"]
    assert set(stored["flops"]) == {"encoder", "decoder"}
    assert [row["backend"] for row in stored["backends"]] == ["torch", "onnx"]
    inner = {"torch": {"encoder", "decoder"}, "onnx": {"graph"}}
    for row in stored["backends"]:
        assert set(row) == {"backend", "version", "start_seconds", "peak_mib", "timings"}
        assert [timing["batch"] for timing in row["timings"]] == [3, 1]
        for timing in row["timings"]:
            assert set(timing["stages_ms"]) == {"open", "preprocess", "text"} | inner[row["backend"]]
            assert min(numbers(timing)) > 0
            assert sum(timing["stages_ms"].values()) <= timing["whole_ms"] * (1 + 1e-6)
            assert timing["median_ms"] <= timing["p95_ms"]
    assert min(numbers([stored["flops"], [row["start_seconds"] for row in stored["backends"]]])) > 0
    tables = [[line.split() for line in table.splitlines()] for table in out.split("\n\n")]
    assert out.splitlines()[0].startswith(f"{DEFAULT_MODEL}, dptr {__version__}, 1 thread on ")
    assert [len(table) for table in tables] == [2, 5, 5, 3]
    shown = [float(cell) for cell in tables[1][4][3:]]
    timing = stored["backends"][1]["timings"][1]
    keys = ("median_ms", "p95_ms", "cpu_ms", "crops_per_second")
    assert shown == pytest.approx([timing[key] for key in keys], abs=0.06)
    assert tables[2][1][-3] == "-" and tables[2][3][5:7] == ["-", "-"] and tables[3][2][-3:] == ["-", "-", "-"]
    assert f"{stored['parameters']:,}" in tables[3][1]


def test_labeled_crops_are_read_evenly_spread_and_those_left_out_are_named(one_start, data: Path, capsys) -> None:
    assert run(["bench", "--model", FILE, "--data", str(data), "--repeats", "1", "--batch-size", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    stored = json.loads(out)
    wanted = [index * 100 // CROPS for index in range(CROPS)]
    broken = [index for index in wanted if index % 10 == 0]
    assert stored["crops"] == {"source": str(data), "count": CROPS - len(broken)}
    assert stored["dropped"]["unreadable image"]["count"] == len(broken)
    assert err.startswith(f"dropped {len(broken)} (unreadable image): {data}/0.jpg: ")
    assert (stored["parameters"], stored["flops"]) == (None, None)
    assert list(stored["left_out"]) == ["torch"] and "exported file" in stored["left_out"]["torch"]


def test_each_backend_starts_in_turn_and_the_last_start_reads(monkeypatch) -> None:
    plans: list[Plan] = []

    def found(plan: Plan) -> Measurement:
        plans.append(plan)
        return Measurement(plan.backend, "1", float(10 - len(plans)), None, None, None, [])

    monkeypatch.setattr("dptr.bench._measure_in_process", found)
    report = bench(repeats=7, threads=2)
    assert [plan.backend for plan in plans] == ["torch", "onnx"] * STARTS
    assert [plan.repeats for plan in plans] == [0, 0] * (STARTS - 1) + [7, 7]
    assert all(plan.threads == 2 and plan.batches == [1, 32] for plan in plans)
    assert [each.start_seconds for each in report.measurements] == [7, 6]  # medians of 9, 7, 5 and 8, 6, 4


def test_without_torch_onnxruntime_is_measured_and_the_output_says_so(tmp_path: Path) -> None:
    folder = copy_for_torch("dptr-en", tmp_path / "plain")
    code = (
        "import sys, time\nsys.modules['torch'] = None\nimport dptr.bench\nfrom dptr.cli.app import run\n"
        "dptr.bench.STARTS = 1\n"
        "from dptr.bench.process import Plan, measure\n"
        f"assert measure(Plan('onnx', {FILE!r}, None, range(2), (1,), 1, 1, time.monotonic())).timings\n"
        "assert run(['bench', '--repeats', '1', '--batch-size', '1']) == 0\n"
        f"sys.exit(run(['bench', '--model', {str(folder)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "torch is not installed; install it in the folder" in done.stderr and "dptr export" in done.stderr
    assert (
        "left out: torch (torch is not installed; install it in the folder of DPTR's source: pip install "
        in done.stdout
    )


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "model 'nothing': neither a shipped name"),
        (["--model", "none.onnx"], "model 'none.onnx': neither a shipped name"),
        (["--model", "EMPTY"], "torch: no config.json in EMPTY"),
        (["--model", "broken.onnx"], "broken.onnx: not a whole ONNX file"),
        (["--model", "glyph-en"], "a 'glyph' checkpoint; a recognizer"),
        (["--model", FILE, "--backend", "torch"], "backend 'torch'"),
        (["--model", FILE, "--backend", "both"], "backend 'torch'"),
        (["--model", "glyph-en", "--backend", "onnx"], "write it with 'dptr export'"),
        (["--backend", "abacus"], "abacus"),
        (["--batch-size", "4", "--batch-size", "0"], "0 is not in the range x>=1"),
        (["--batch", "4"], "write --batch-size"),
        (["DATA", "--data", "DATA"], "2 data sets"),
        (["--repeats", "0"], "repeats 0: below 1"),
        (["--threads", "-1"], "threads -1: below 1"),
        (["--data", "missing"], "missing: no such folder"),
        (["--data", "DATA"], "no crop left (1 unreadable image)"),
        (["-o", "EMPTY"], "a folder; pass the name of a file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, one_start, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").mkdir()
    Path("DATA").mkdir()
    Path("DATA", "labels.tsv").write_text("a.png\tword\n")
    Path("broken.onnx").write_text("no graph")
    assert run(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("dptr: error: ") and message in err and err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(
        "dptr.bench._measure_in_process", lambda plan: Measurement(plan.backend, "1", 1.0, None, None, None, [])
    )
    assert run(["bench", "-o", str(tmp_path / "file" / "speed.json")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("dptr: error: cannot write ") and err.count("\n") == 1


def test_a_process_that_dies_is_told_with_its_last_words(monkeypatch) -> None:
    monkeypatch.setattr("dptr.bench._CHILD", "import sys; sys.exit('out of paper')")
    with pytest.raises(UserError, match=r"backend 'torch': its process ended with code 1 \(out of paper\)"):
        bench()


def alive(pid: str) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("way", ["terminal", "alone", "killed"])
def test_no_child_outlives_the_command(way: str) -> None:
    """A terminal interrupts the whole group, ``kill -INT`` the command alone; ``kill -9`` leaves it no time to act."""
    command = [sys.executable, "-m", "dptr", "bench", "--repeats", "100000"]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (found := children.read_text().split()):
        assert process.poll() is None
        time.sleep(0.02)
    while "libtorch" not in Path(f"/proc/{found[0]}/maps").read_text():  # until it is at work
        time.sleep(0.02)
    if way == "killed":
        process.kill()
        process.communicate()
        while alive(found[0]):
            time.sleep(0.02)
        return
    (os.killpg if way == "terminal" else os.kill)(process.pid, signal.SIGINT)
    assert process.communicate(timeout=60) == (b"", b"dptr: interrupted\n")
    assert process.returncode == 130 and not alive(found[0])
