"""On Ray: nodes, workers, and drivers are killed; every input is once in the output, as one process reads it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers_batch import MODEL, read_rows, read_totals, write_parquet

from dptr.batch.engine import Pool, run_blocks
from dptr.batch.run import plan_reading, run_task
from dptr.inference.reader import Reader
from dptr.utils.errors import UserError
from dptr.weights import model_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
COUNT = 480


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Rendered crops; no two are the same."""
    from dptr.config.train import SynthRecipe
    from dptr.synth.datasets import render_pictures
    from dptr.synth.worker import make_source

    return [png for png, _ in render_pictures(make_source(SynthRecipe()), (0, COUNT))]


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes]) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "crops"
    half = COUNT // 2
    write_parquet(folder / "a.parquet", [*pictures[:half], b"no picture"], rows=16)
    write_parquet(folder / "b.parquet", pictures[half:], rows=16)
    return folder


@pytest.fixture(scope="module")
def expected(pictures: list[bytes]) -> list[tuple[str, float]]:
    return [(each.text, each.to_dict()["confidence"]) for each in Reader(MODEL).read(pictures)]


def begin(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dptr", "batch", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def finished(out: Path) -> int:
    return len([*(out / "_blocks").glob("*.json")])


def check(out: Path, expected: list[tuple[str, float]]) -> None:
    """All rows are there, once, and row by row as one process reads them."""
    rows = sorted(read_rows(out), key=lambda row: (row["source"], row["row"]))
    assert [(row["source"], row["row"]) for row in rows] == [
        *(("a.parquet", row) for row in range(COUNT // 2)),
        *(("b.parquet", row) for row in range(COUNT // 2)),
    ]
    assert [row["text"] for row in rows] == [text for text, _ in expected]
    assert [row["confidence"] for row in rows] == pytest.approx([share for _, share in expected], abs=1e-4)
    assert [(row["source"], row["row"]) for row in read_rows(out, "failures")] == [("a.parquet", COUNT // 2)]
    assert (read_totals(out)["inputs"], read_totals(out)["rows"]) == (COUNT + 1, COUNT)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A head without workers; nodes are added by tests."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": 100 << 20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield made
    finally:
        made.shutdown()


def test_a_node_and_the_driver_are_killed(
    cluster, crops: Path, tmp_path: Path, expected: list[tuple[str, float]]
) -> None:
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    command = ("read", crops, tmp_path / "out", "-m", MODEL, "--block", 16, "--address", cluster.address)
    out = tmp_path / "out"
    driver = begin(*command, "--workers", "2")
    wait_for(lambda: finished(out) >= 5, driver)
    cluster.remove_node(nodes[1], allow_graceful=False)
    before = finished(out)
    wait_for(lambda: finished(out) >= before + 4, driver)  # the other node goes on
    driver.kill()
    driver.wait()
    assert finished(out) < 32 and not (out / "_finished.json").exists()
    driver = begin(*command, "--workers", "1-2")
    printed, said = driver.communicate(timeout=400)
    assert (driver.returncode, printed) == (0, f"{out}\n"), said
    assert "blocks are finished already" in said and "1 of 481 inputs could not be read" in said
    check(out, expected)


def test_a_worker_is_killed_on_one_machine(crops: Path, tmp_path: Path, expected: list[tuple[str, float]]) -> None:
    out = tmp_path / "out"
    driver = begin("read", crops, out, "-m", MODEL, "--block", 16, "--workers", 2)
    wait_for(lambda: finished(out) >= 3, driver)
    (victim, *_) = workers_of(driver.pid)
    os.kill(victim, signal.SIGKILL)
    _, said = driver.communicate(timeout=400)
    assert driver.returncode == 0, said
    check(out, expected)


def test_a_killed_driver_leaves_nothing_running(crops: Path, tmp_path: Path, expected: list[tuple[str, float]]) -> None:
    out = tmp_path / "out"
    driver = begin("read", crops, out, "-m", MODEL, "--block", 16, "--workers", 1)
    wait_for(lambda: finished(out) >= 2, driver)
    children = [each for each in descendants(driver.pid) if b"Agent" not in name_of(each)]  # which take a minute
    assert len(children) > 3
    driver.kill()
    driver.wait()
    end = time.monotonic() + 60
    while any(is_running(child) for child in children) and time.monotonic() < end:
        time.sleep(0.2)
    assert not [child for child in children if is_running(child)]
    driver = begin("read", crops, out, "-m", MODEL, "--block", 16, "--workers", 1)
    assert driver.wait(400) == 0
    check(out, expected)


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def name_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def workers_of(pid: int) -> list[int]:
    """The processes of Ray Data's actors, by what they call themselves."""
    return [each for each in descendants(pid) if b"MapWorker" in name_of(each)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_rendering_gives_the_bytes_of_dptr_synth(pictures: list[bytes], tmp_path: Path) -> None:
    driver = begin("synth", tmp_path / "out", "--count", 90, "--block", 20, "--workers", 2)
    _, said = driver.communicate(timeout=400)
    assert driver.returncode == 0, said
    rows = read_rows(tmp_path / "out", "crops")
    assert [row["number"] for row in rows] == [*range(90)]
    assert [row["image"] for row in rows] == pictures[:90]


CODE = """
import json, sys, ray, ray.data
from dptr.batch import read_dataset
from dptr.batch.engine import Pool
from dptr.inference.reader import Reader
ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
found = read_dataset(ray.data.read_parquet(sys.argv[1]), "image", Reader(sys.argv[2]), Pool(workers=1))
print(json.dumps(found.sort("id").take_all(), default=lambda value: None))
"""


def test_a_dataset_of_ray_is_read(crops: Path, expected: list[tuple[str, float]]) -> None:
    command = [sys.executable, "-c", CODE, str(crops / "a.parquet"), MODEL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["text"] for row in rows[:-1]] == [text for text, _ in expected[: COUNT // 2]]
    assert rows[-1]["text"] is None and "row" in rows[-1]["error"]


def test_a_node_with_another_model_is_one_line(cluster, crops: Path, tmp_path: Path) -> None:
    """The workers' model is looked for where they run: here it is changed after the driver looked at it."""
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    model = tmp_path / "model.onnx"
    shutil.copy(model_file(MODEL, "model.onnx"), model)
    task = plan_reading(str(crops), {"model": str(model)}, size=16)
    shutil.copy(model_file("dptr-en", "model.onnx"), model)
    pool = Pool(address=cluster.address, workers=1)
    with pytest.raises(
        UserError, match=r"30 of 30 blocks are not finished; .*: on .*this machine holds another"
    ) as caught:
        run_task(task, str(tmp_path / "out"), lambda *job: run_blocks(*job, pool))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "readings").exists()
