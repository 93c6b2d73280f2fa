"""Memory of a training on sets that do not fit: words and labeled crops in shards, made up, of any number.

    python research/bench/streaming.py words --count 50000000
    python research/bench/streaming.py crops --count 5000000

Words are numbers; crops are 1,000 tiny pictures again and again, each row with a label of its own. The set, and what
was found in it, are made below --out. A training of --steps then runs in a process of its own, twice: the first looks
at all rows, the second finds that in the cache. Printed are, of each, the largest resident memory, seconds by the clock
and by the CPU. ``--keep`` leaves the set there.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

FILE, GROUP = 500_000, {"words": 100_000, "crops": 1000}  # rows of a file, and of a row group
PICTURES = 1000
DECODER = [
    "model.charset=36",
    "model.decoder.depth=1",
    "run.device=cpu",
    "run.batch_size=32",
    "run.validate_every=1000",
]
NETWORK = [
    'model.encoder={kind="svtr", size="nano"}',
    "model.decoder.dim=64",
    "model.decoder.heads=2",
    "model.fmu.heads=2",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["words", "crops"])
    parser.add_argument("--count", type=int, default=50_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-streaming"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    folder = options.out / f"{options.what}-{options.count}"
    if not folder.is_dir():
        begun = time.process_time()
        write(folder, options.what, options.count)
        print(f"{options.count:,} {options.what} written in {time.process_time() - begun:.0f} CPU seconds", flush=True)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{size / 1e9:.2f} GB in {len(list(folder.iterdir()))} files", flush=True)
    for run in ("looks at all rows", "finds what was found"):
        out = options.out / "run"
        shutil.rmtree(out, ignore_errors=True)
        print(f"{run}: {measure(arguments(options, folder, out))}", flush=True)
    if not options.keep:
        shutil.rmtree(options.out)


def write(folder: Path, what: str, count: int) -> None:
    """A set of shards."""
    folder.mkdir(parents=True)
    pictures = pa.array([draw(number) for number in range(PICTURES)], pa.binary())
    for first in range(0, count, FILE):
        numbers = pa.array(np.arange(first, min(first + FILE, count)) + 10_000_000)
        columns = {"label": numbers.cast(pa.string())}
        if what == "crops":
            columns["image"] = pictures.take(pa.array(np.arange(len(numbers)) % PICTURES))
        file = folder / f"part-{first // FILE:05}.parquet"
        pq.write_table(pa.table(columns), file, row_group_size=GROUP[what], use_dictionary=False, compression="none")


def draw(number: int) -> bytes:
    """A picture of its own for each number."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (4, 16, 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def arguments(options: argparse.Namespace, folder: Path, out: Path) -> list[str]:
    """The command line of the training."""
    cache = options.out / "cache"
    words = [f'corpus.sources=[{{kind="shards", path="{folder}"}}]', f"corpus.cache={cache}", "orp.strength=0"]
    crops = [f'data.train=["{folder}"]', f"data.cache={cache}", "data.augment=0", "run.workers=0"]
    command = ["pretrain", *words] if options.what == "words" else ["finetune", *crops, *NETWORK]
    sets = [*command[1:], *DECODER, f"run.steps={options.steps}"]
    return [command[0], "--out", str(out), *(part for each in sets for part in ("--set", each))]


def measure(command: list[str]) -> str:
    """Run ``dptr`` and say what it took."""
    begun, process = time.perf_counter(), os.fork()
    if not process:
        os.execv(sys.executable, [sys.executable, "-m", "dptr", *command])
    _, status, used = os.wait4(process, 0)
    if status:
        sys.exit(f"dptr {command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    seconds, cpu = time.perf_counter() - begun, used.ru_utime + used.ru_stime
    return f"{used.ru_maxrss * 1024 / 1e9:.2f} GB at most, {seconds:.0f} s by the clock, {cpu:.0f} s by the CPU"


if __name__ == "__main__":
    main()
