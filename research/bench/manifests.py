"""What grows with a batch job or a sharded set, on made-up entries: files, manifests, memory, listing.

    python research/bench/manifests.py
    python research/bench/manifests.py --blocks 1000 10000 50000

The job's own code (``dptr.batch.blocks``) plans, opens, and lists jobs of so many blocks, each of one Parquet row
group; nothing is read. The marks of finished blocks are written as the job writes them. Times are processor time, for
other programs may run; the file system is that of the temporary folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dptr.batch.blocks import BLOCKS, PLAN, Record, open_job
from dptr.batch.items import Span

ROWS = 1024  # crops of a block
HEAD = (
    "blocks",
    "bytes a span in memory",
    "plan, MB",
    "planning, s",
    "planning again, s",
    "opening the plan, s",
    "a block of it, ms",
    "listing marks, s",
    "reading marks, s",
)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def plan(folder: str, spans: list[Span]) -> Any:
    with open_job(folder, {"command": "read"}, spans, ROWS) as (job, _):
        return job


def measure(blocks: int, folder: Path) -> str:
    tracemalloc.start()
    spans = [Span(f"shards/part-{number:08d}.parquet", 0, 1, ROWS) for number in range(blocks)]
    held = tracemalloc.get_traced_memory()[0] / blocks
    tracemalloc.stop()
    planned, job = timed(lambda: plan(str(folder), spans))
    size = (folder / PLAN).stat().st_size
    again, _ = timed(lambda: plan(str(folder), spans))
    opened, _ = timed(lambda: job.spans(0))
    one, _ = timed(lambda: job.spans(blocks - 1))
    (folder / BLOCKS).mkdir()
    mark = f'{{"block": {blocks}, "inputs": {ROWS}, "rows": {ROWS}, "failures": 0}}\n'
    for number in range(blocks):
        (folder / BLOCKS / f"{number:06d}.json").write_text(mark)
    listed, found = timed(job.finished)
    assert len(found) == blocks
    counted, records = timed(lambda: job.read_records(found))
    assert isinstance(records[0], Record)
    cells = (f"{blocks:,}", f"{held:.0f}", f"{size / 1e6:.2f}", *(f"{each:.2f}" for each in (planned, again, opened)))
    return f"| {' | '.join(cells)} | {1000 * one:.1f} | {listed:.2f} | {counted:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1000, 10_000, 30_000])
    options = parser.parse_args()
    print(f"| {' | '.join(HEAD)} |\n|{'---:|' * len(HEAD)}")
    for blocks in options.blocks:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(blocks, Path(os.path.realpath(folder))), flush=True)


if __name__ == "__main__":
    main()
