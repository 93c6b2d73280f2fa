"""Measure the precision of the readings that ``dptr read --precision P`` accepts, on crops not used for calibration.

python research/evidence/precision.py --data "$DPTR_DATA/iiit5k/test" "$DPTR_DATA/ic15/test" [--model MODEL]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dptr import Reader
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import protocol

PRECISIONS = 0.9, 0.95, 0.99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="dptr-en")
    options = parser.parse_args()
    reader, fold = Reader(options.model), protocol("36")
    print(f"| data | crops | {' | '.join(f'{each:.0%}: right, answered' for each in PRECISIONS)} |")
    print("|---|---:|" + "---:|" * len(PRECISIONS))
    total: list[tuple[float, bool]] = []
    for folder in options.data:
        dataset = open_labeled(folder)
        rows = [row for row in range(len(dataset)) if fold(dataset.label(row))]
        readings = reader.stream(dataset.image(row) for row in rows)
        outcomes = [
            (reading.confidence, fold(reading.text) == fold(dataset.label(row)))
            for row, reading in zip(rows, readings, strict=True)
            if not isinstance(reading, Exception)
        ]
        total += outcomes
        print(_row("/".join(folder.parts[-2:]), outcomes, reader), flush=True)
    print(_row("all", total, reader))


def _row(name: str, outcomes: list[tuple[float, bool]], reader: Reader) -> str:
    cells = []
    for precision in PRECISIONS:
        accepted = [right for confidence, right in outcomes if confidence >= reader.least_confidence(precision)]
        cells.append(f"{sum(accepted) / max(len(accepted), 1):.1%}, {len(accepted) / len(outcomes):.1%}")
    return f"| `{name}` | {len(outcomes):,} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
