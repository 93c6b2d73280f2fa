"""How fast crops come out of an LMDB: decoded crops a second with two worker processes, and a plain loop beside it.

    python research/bench/loading.py
    python research/bench/loading.py --crops 20000 --json runs/bench-loading.json

Two LMDBs are read, each made once below --out: crops rendered by ``dptr synth --format lmdb`` (PNG, 32x128), and, where
DPTR_DATA is set, the real crops of ``iiit5k/train`` and ``ic15/train`` as they come (JPEG and PNG of all sizes). The
ways to read take turns:

- workers: ``dptr.data.loader.batches`` over the LMDB with two worker processes that decode, batches of 64 at 32x128;
- folder: the same over a folder with ``labels.tsv``;
- parquet, tar: the same over ``stream_crops``, from shards of 2,000 crops;
- cached: the same over ``load_crops`` with a cache, which decoded each crop once before the clock ran;
- loop: the samples of ``workers`` one after the other in one process;
- plain: what a short script does, Pillow on bytes from LMDB, as PARSeq's data set does (strhub/data/dataset.py).

By the clock; the bar of 5,000 crops a second on two cores is for the first two. "by CPU" is crops by CPU second of all
processes, times two: what two cores do that have nothing else to do. Below it, where the time of a sample goes.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import resource
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from dptr.cli.app import run
from dptr.config.size import CropSize
from dptr.data.crops import load_crops
from dptr.data.importers.output import write_folder
from dptr.data.labeled import LabeledDataset, LabeledLmdb, open_labeled
from dptr.data.lmdb import write_lmdb
from dptr.data.loader import batches
from dptr.data.shards import stream_crops
from dptr.data.sources import LabeledSource, Sample, Source
from dptr.shards.parquet import write_crops
from dptr.text.charset import resolve_charset
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.images import open_image
from dptr.utils.lmdb import LmdbReader, image_key, label_key
from dptr.utils.resize import to_array
from dptr.utils.terminal import write_text

BAR = 5000
BATCH = 64
HEIGHT, WIDTH = 32, 128
CHARSET, SIZE = resolve_charset("94"), CropSize(height=HEIGHT, width=WIDTH)
SHARD, WINDOW = 2000, 8192
WORKERS = 2


@dataclass(frozen=True)
class Stored:
    """Samples of a data set, decoded and stretched when they are asked for: a ``Source``."""

    data: LabeledDataset

    def sample(self, index: int) -> Sample:
        row = index % len(self.data)
        label = self.word(index)
        return to_array(self.data.image(row), HEIGHT, WIDTH), label, np.full((len(label), 2), np.nan, np.float32)

    def word(self, index: int) -> str:
        return self.data.label(index % len(self.data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=10_000, help="read in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rendered", type=int, default=5000, help="crops to render, where there are none yet")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-loading"), help="where the LMDBs are kept")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        report = {
            name: measure(path, options.crops, options.rounds) for name, path in stored(options.out, options.rendered)
        }
    except UserError as error:
        sys.exit(f"loading: {error}")
    for name, measured in report.items():
        print(f"{name}: {measured['crops']:,} crops, {measured['bytes']:.0f} bytes each")
        for way, speed in measured["by_clock"].items():
            bar = f" (bar {BAR:,})" if way in ("workers", "cached") else ""
            print(f"  {way}: {speed:,.0f} crops/s by the clock{bar}, {measured['by_cpu'][way]:,.0f} by CPU")
        print(f"  workers / plain: {measured['by_clock']['workers'] / measured['by_clock']['plain']:.2f}")
        print("  microseconds a sample: " + ", ".join(f"{part} {t:.0f}" for part, t in measured["parts"].items()))
    if options.json:
        write_text(options.json, dump_json(report, indent=1) + "\n")


def stored(out: Path, count: int) -> Iterator[tuple[str, Path]]:
    """The LMDBs, made where they are missing."""
    rendered, real = out / "rendered", out / "real"
    synth = ["synth", "--format", "lmdb", "--count", str(count), "--out", str(rendered), "--resume"]
    if not rendered.exists() and run(synth):
        raise UserError(f"{rendered}: dptr synth could not make it; see above")
    yield "rendered", rendered
    if "DPTR_DATA" in os.environ:
        if not real.exists():
            sets = [open_labeled(Path(os.environ["DPTR_DATA"]) / name) for name in ("iiit5k/train", "ic15/train")]
            files = [(data.path / data.key(i), data.label(i)) for data in sets for i in range(len(data))]
            write_lmdb(real, ((path.read_bytes(), label) for path, label in files), resume=True)
        yield "real", real


def copies(path: Path) -> dict[str, Path]:
    """The samples of an LMDB as a folder, and as shards."""
    found = {kind: path.with_name(f"{path.name}-{kind}") for kind in ("folder", "parquet", "tar")}
    with LmdbReader(path) as reader:
        samples = [(reader.image_bytes(row), reader.label(row)) for row in range(len(reader))]
    if not found["folder"].exists():
        write_folder(found["folder"], samples)
    for first in range(0, len(samples), SHARD):
        some, name = samples[first : first + SHARD], f"part-{first // SHARD:03}"
        for kind in ("parquet", "tar"):
            found[kind].mkdir(exist_ok=True)
        if not (file := found["parquet"] / f"{name}.parquet").exists():
            write_crops(file, ((data, label, []) for data, label in some), first)
        if not (file := found["tar"] / f"{name}.tar").exists():
            with tarfile.open(file, "w") as archive:
                for number, (data, label) in enumerate(some, first):
                    for suffix, content in (("png", data), ("txt", label.encode())):
                        member = tarfile.TarInfo(f"{number:09}.{suffix}")
                        member.size = len(content)
                        archive.addfile(member, io.BytesIO(content))
    return found


def measure(path: Path, crops: int, rounds: int) -> dict[str, Any]:
    """Speeds of all ways, medians over rounds, and the parts of a sample."""
    others = copies(path)
    streams = {
        kind: stream_crops(str(others[kind]), CHARSET, 25, SIZE, 0, 0.0, WINDOW, str(path.with_name("cache")))
        for kind in ("parquet", "tar")
    }
    held = load_crops([path], CHARSET, 25, SIZE, path.with_name("cache"))
    counts = {"loop": crops // 4, "plain": crops // 4}
    ways: dict[str, Callable[[int], None]] = {
        "workers": lambda count: by_workers(Stored(LabeledLmdb(path)), count),
        "folder": lambda count: by_workers(Stored(open_labeled(others["folder"])), count),
        "parquet": lambda count: by_workers(streams["parquet"], count),
        "tar": lambda count: by_workers(streams["tar"], count),
        "cached": lambda count: by_workers(LabeledSource(held, 0, 0.0), count),
        "loop": lambda count: loop(Stored(LabeledLmdb(path)), count),
        "plain": lambda count: plain(path, count),
    }
    clock: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, read in ways.items():
            gc.collect()  # an LMDB is open only once in a process: ``plain`` opens it itself
            used, start = _cpu(), time.perf_counter()
            count = counts.get(way, crops)
            read(count)
            clock[way].append(count / (time.perf_counter() - start))
            cpu[way].append(WORKERS * count / (_cpu() - used))
    with LmdbReader(path) as reader:
        return {
            "crops": len(reader),
            "bytes": statistics.mean(len(reader.image_bytes(i)) for i in range(0, len(reader), 50)),
            "by_clock": {way: statistics.median(speeds) for way, speeds in clock.items()},
            "by_cpu": {way: statistics.median(speeds) for way, speeds in cpu.items()},
            "parts": parts(reader, min(1000, crops)),
        }


def _cpu() -> float:
    """CPU seconds of this process and of workers that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def by_workers(source: Source, crops: int) -> None:
    with closing(batches(source, BATCH, 0, crops // BATCH, WORKERS)) as stream:
        for _ in stream:
            pass


def loop(source: Source, crops: int) -> None:
    for index in range(crops):
        source.sample(index)


def plain(path: Path, crops: int) -> None:
    environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, meminit=False)
    with environment.begin() as transaction:
        get: Callable[[bytes], Any] = transaction.get
        count = int(get(b"num-samples"))
        for index in range(crops):
            get(label_key(index % count)).decode()
            image = Image.open(io.BytesIO(get(image_key(index % count)))).convert("RGB")
            np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    environment.close()


def parts(reader: LmdbReader, crops: int) -> dict[str, float]:
    """Microseconds of CPU a sample: reading its bytes, decoding them (as Pillow does alone beside it), stretching."""
    rows = [i % len(reader) for i in range(crops)]
    start = time.process_time()
    files = [reader.image_bytes(row) for row in rows]
    read = time.process_time()
    images = [open_image(file) for file in files]
    opened = time.process_time()
    for file in files:
        Image.open(io.BytesIO(file)).convert("RGB")
    alone = time.process_time()
    for image in images:
        to_array(image, HEIGHT, WIDTH)
    end = time.process_time()
    spans = {"read": read - start, "decode": opened - read, "Pillow alone": alone - opened, "stretch": end - alone}
    return {part: span / crops * 1e6 for part, span in spans.items()}


if __name__ == "__main__":
    main()
