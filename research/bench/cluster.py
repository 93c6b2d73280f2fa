"""``dptr batch read`` on a cluster of three nodes, simulated on this machine, beside plain ``Reader``.

    dptr synth --format shards --count 200000 --workers 2 --out runs/crops
    python research/bench/cluster.py --crops runs/crops --out runs/cluster

Four parts; each adds a JSON line to ``results.jsonl`` in ``--out``, and one that has a line there is passed over:

- plain: ``Reader`` in one process with one thread, then in two processes at once;
- workers: ``dptr batch read`` with one worker, then with two, from the start of the command to its end;
- faults: a cluster with three nodes reads all crops. A node is killed after a third of them, the command after two
  thirds; then the same command runs again;
- check: the rows of the faulty run beside those of one process: none missing, none twice, texts and confidences alike.

``--speed`` crops are read in the parts that are timed. Set OMP_NUM_THREADS=1: plain readers
follow it, workers have a thread each anyway. Needs [ray], and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dptr.inference.reader import Reader

NODES = 3
STORE = 100 << 20  # bytes of each node's object store
CHUNK = 1024  # crops that a plain Reader is given at once
ALIKE = 1e-4  # by which confidences may differ: batches of other crops round otherwise

Row = tuple[str, int, bytes]  # file, number in it, picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=Path, required=True, help="a folder of Parquet files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="dptr-en-tiny")
    parser.add_argument("--speed", type=int, default=50_000, help="crops of the parts that are timed")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "results.jsonl"
    done = [json.loads(line)["part"] for line in file.read_text().splitlines()] if file.exists() else []
    for part, measure in PARTS.items():
        if part not in done:
            found = {"part": part, "load": os.getloadavg()[0], **measure(options)}
            print(json.dumps(found))
            with file.open("a") as lines:
                lines.write(json.dumps(found) + "\n")


def measure_plain(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds by the clock, with the opening of the model, of one process and of two at once."""
    found: dict[str, Any] = {"crops": options.speed}
    for processes in (1, 2):
        begun = time.perf_counter()
        with get_context("spawn").Pool(processes) as pool:
            shares = [(options.crops, options.model, options.speed, share, processes) for share in range(processes)]
            counts = pool.starmap(read_share, shares)
        found[f"seconds of {processes}"] = round(time.perf_counter() - begun, 1)
        assert sum(counts) == options.speed
    return found


def measure_workers(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds by the clock of the command, with one worker and with two."""
    found: dict[str, Any] = {"crops": options.speed}
    crops = options.out / "fewer"
    copy_first(options.crops, crops, options.speed)
    for workers in (1, 2):
        begun = time.perf_counter()
        command = batch_read(crops, options.out / f"readings-{workers}", options.model, "--workers", str(workers))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found[f"seconds of {workers}"] = round(time.perf_counter() - begun, 1)
    return found


def measure_faults(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds by the clock of the two commands, and how many crops were read when something was killed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    out = options.out / "readings"
    count = count_rows(options.crops)
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(NODES)]
        command = batch_read(options.crops, out, options.model, "--address", cluster.address, "--workers", f"1-{NODES}")
        begun = time.perf_counter()
        driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        at_node = wait_for(out, count // 3, driver)
        cluster.remove_node(nodes[-1], allow_graceful=False)
        at_driver = wait_for(out, 2 * count // 3, driver)
        driver.kill()
        driver.wait()
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        second = time.perf_counter() - begun
    finally:
        cluster.shutdown()
    return {
        "blocks": len([*(out / "_blocks").glob("*.json")]),
        "crops": count,
        "read when a node was killed": at_node,
        "read when the command was killed": at_driver,
        "seconds before": round(first, 1),
        "seconds after": round(second, 1),
    }


def check_rows(options: argparse.Namespace) -> dict[str, Any]:
    """How many rows are missing, there twice, or other than those of one process."""
    found: dict[tuple[str, int], tuple[str, float]] = {}
    times: Counter[tuple[str, int]] = Counter()
    for part in sorted((options.out / "readings" / "readings").glob("part-*.parquet")):
        for row in pq.read_table(part, columns=["source", "row", "text", "confidence"]).to_pylist():
            times[row["source"], row["row"]] += 1
            found[row["source"], row["row"]] = row["text"], row["confidence"]
    missing = texts = confidences = count = 0
    reader = Reader(options.model)
    for rows in in_chunks(open_rows(options.crops)):
        for (name, number, _), prediction in zip(rows, reader.read([row[2] for row in rows]), strict=True):
            count += 1
            text, confidence = found.get((name, number), (None, 0.0))
            missing += text is None
            texts += text is not None and text != prediction.text
            confidences += abs(confidence - prediction.to_dict()["confidence"]) > ALIKE and text is not None
    return {
        "crops": count,
        "missing": missing,
        "twice": sum(number > 1 for number in times.values()),
        "unknown": len(found) + missing - count,
        "other texts": texts,
        "other confidences": confidences,
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "plain": measure_plain,
    "workers": measure_workers,
    "faults": measure_faults,
    "check": check_rows,
}


def read_share(crops: Path, model: str, count: int, share: int, shares: int) -> int:
    """Read every ``shares``-th chunk of the first ``count`` crops; how many those are."""
    reader = Reader(model)
    chunks = islice(in_chunks(islice(open_rows(crops), count)), share, None, shares)
    return sum(len(reader.read([row[2] for row in chunk])) for chunk in chunks)


def batch_read(crops: Path, out: Path, model: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "dptr", "batch", "read", str(crops), str(out), "--model", model),
        *("--block", str(CHUNK), "--quiet", *more),
    ]


def open_rows(crops: Path) -> Iterator[Row]:
    for path in list_files(crops):
        number = 0
        for batch in pq.ParquetFile(path).iter_batches(CHUNK, columns=["image"]):
            for picture in batch.column(0).to_pylist():
                content = picture["bytes"] if isinstance(picture, dict) else picture
                yield path.relative_to(crops).as_posix(), number, content
                number += 1


def in_chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def list_files(crops: Path) -> list[Path]:
    return sorted(crops.rglob("*.parquet"))


def count_rows(crops: Path) -> int:
    return sum(pq.ParquetFile(path).metadata.num_rows for path in list_files(crops))


def copy_first(crops: Path, out: Path, count: int) -> None:
    """The first rows, in files of as many row groups."""
    out.mkdir(exist_ok=True)
    groups = chain.from_iterable(
        (file.read_row_group(number) for number in range(file.num_row_groups))
        for file in map(pq.ParquetFile, list_files(crops))
    )
    with pq.ParquetWriter(out / "crops.parquet", pq.ParquetFile(list_files(crops)[0]).schema_arrow) as writer:
        for group in groups:
            writer.write_table(group.slice(0, count))
            count -= min(count, group.num_rows)
            if not count:
                return


def wait_for(out: Path, crops: int, driver: subprocess.Popen[bytes]) -> int:
    """Wait until so many crops are in finished blocks; how many then are."""
    while True:
        marks = [json.loads(mark.read_text()) for mark in (out / "_blocks").glob("[0-9]*.json")]
        finished = sum(mark["inputs"] for mark in marks)
        if finished >= crops:
            return finished
        if driver.poll() is not None:
            sys.exit(f"the command ended with {driver.returncode} after {finished} crops")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
