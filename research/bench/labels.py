"""Memory and time of stage 1's labels, read from an LMDB without pictures.

    PYTHONPATH=. python research/bench/labels.py --count 1000000

Labels are random strings of 2 to 10 letters and digits, drawn by a Zipf law of exponent 1.15, so that most recur.
"""

from __future__ import annotations

import argparse
import json
import string
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dptr.config.render import CorpusConfig, SourceConfig
from dptr.data.lmdb import write_lmdb
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus

DRAWN = 100_000  # words that are timed
LETTERS = string.ascii_letters + string.digits


def labels(count: int, seed: int) -> Iterator[str]:
    """The labels, in the order of the LMDB."""
    ranks = np.random.default_rng(seed).zipf(1.15, count)
    for rank in ranks.tolist():
        rng = np.random.Philox(key=rank % 2**64)
        length, bits = (int(value) for value in rng.random_raw(2))
        bits |= length << 64
        yield "".join(LETTERS[bits // 62**place % 62] for place in range(2 + length % 9))


def resident() -> float:
    """Memory of this process, in MB; without the pages of files."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Write the LMDB, read it, draw words of two epochs' beginnings; print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="labels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.lmdb"
        write_lmdb(path, ((b"-", label) for label in labels(options.count, options.seed)))
        config = CorpusConfig(sources=(SourceConfig(kind="labels", path=str(path)),), heldout=0, replacement=False)
        before, begun = resident(), time.perf_counter()
        corpus = Corpus(config, resolve_charset("94"), 25, options.seed)
        seconds, held = time.perf_counter() - begun, resident() - before
        begun = time.perf_counter()
        for index in range(DRAWN):
            corpus.word(index)
        each = (time.perf_counter() - begun) / DRAWN
        corpus.word(options.count)  # the next epoch's order
        found = {"labels": options.count, "distinct": corpus.words.total()}
        found |= {"held_mb": round(held, 1), "with_two_orders_mb": round(resident() - before, 1)}
        print(json.dumps({**found, "read_s": round(seconds, 1), "word_us": round(1e6 * each, 1)}))


if __name__ == "__main__":
    main()
