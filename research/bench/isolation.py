"""What ``--isolate`` costs: crops a second with and without it, in turns, on the crops of tests/golden.

python research/bench/isolation.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from dptr.inference.reader import Reader

CROPS = sorted((Path(__file__).resolve().parents[2] / "tests" / "golden" / "crops").glob("*.png"))
COUNT = 256  # crops a round


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    paths = [str(CROPS[index % len(CROPS)]) for index in range(COUNT)]
    for model in ("dptr-en-tiny", "dptr-en"):
        readers = [Reader(model, isolate=isolate) for isolate in (False, True)]
        assert readers[0].read(paths) == readers[1].read(paths)
        ratios, speeds = [], []
        for number in range(rounds):
            seconds = {}
            for index in (0, 1) if number % 2 else (1, 0):
                begun = time.perf_counter()
                readers[index].read(paths)
                seconds[index] = time.perf_counter() - begun
            ratios.append(seconds[0] / seconds[1])
            speeds.append(COUNT / seconds[0])
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{model}: {statistics.median(speeds):.0f} crops/s without, ratio with / without {middle:.3f} "
            f"(quartiles {low:.3f} to {high:.3f}), {rounds} rounds of {COUNT} crops"
        )


if __name__ == "__main__":
    main()
