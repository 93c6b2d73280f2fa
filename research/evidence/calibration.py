"""How far confidences are from the share that is right, by kind of crops, before and after the calibration of words.

python research/evidence/calibration.py --data "$DPTR_DATA/iiit5k/test" "$DPTR_DATA/ic15/test" [--model MODEL]
python research/evidence/calibration.py --leave-out --data words/val codes/val     # the exponent from the other folders

Protocol 36. In parentheses: the calibration error to expect of perfect confidences (``chance_calibration_error``).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dptr import Reader
from dptr.data.labeled import open_labeled
from dptr.evaluation.calibration import fit_exponent
from dptr.evaluation.metrics import chance_calibration_error, expected_calibration_error, protocol
from dptr.inference.confidence import WordConfidence


@dataclass(frozen=True)
class Outcomes:
    """What was read of one folder: the confidence before and after its calibration, and whether it is right."""

    name: str
    plain: np.ndarray
    calibrated: np.ndarray
    right: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--leave-out", action="store_true", help="fit the exponent of each folder on the others")
    options = parser.parse_args()
    reader = Reader(options.model)
    sets = [_read(reader, folder) for folder in options.data]
    if options.leave_out:
        own = WordConfidence.from_card(reader.card, len(reader.tokenizer.charset))
        assert own is not None, "a model with a calibrated confidence"
        sets = [_refit(sets, place, own.exponent) for place in range(len(sets))]
    print("| data | crops | right | ECE before | ECE | log-loss before | log-loss |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    rows = [_measure(each) for each in sets]
    for each, row in zip(sets, rows, strict=True):
        print(_line(each.name, f"{len(each.right):,}", row))
    print(_line("mean", f"{sum(len(each.right) for each in sets):,}", np.mean(rows, 0)))


def _read(reader: Reader, folder: Path) -> Outcomes:
    dataset, fold = open_labeled(folder), protocol("36")
    rows = [row for row in range(len(dataset)) if fold(dataset.label(row))]
    pairs = [
        (reading, fold(reading.text) == fold(dataset.label(row)))
        for row, reading in zip(rows, reader.stream(dataset.image(row) for row in rows), strict=True)
        if not isinstance(reading, Exception)
    ]
    plain, calibrated = np.array([(reading.product, reading.confidence) for reading, _ in pairs]).T
    return Outcomes("/".join(folder.parts[-2:]), plain, calibrated, np.array([right for _, right in pairs]))


def _refit(sets: list[Outcomes], place: int, exponent: float) -> Outcomes:
    """One folder with the exponent that the others ask for."""
    others = [(each, number) for number, each in enumerate(sets) if number != place]
    products = np.concatenate([each.calibrated ** (1 / exponent) for each, _ in others])
    right = np.concatenate([each.right for each, _ in others])
    numbers = [number for each, number in others for _ in each.right]
    refitted = fit_exponent(products.tolist(), right.tolist(), numbers)
    own = sets[place]
    return Outcomes(own.name, own.plain, own.calibrated ** (refitted / exponent), own.right)


def _measure(each: Outcomes) -> np.ndarray:
    """Share right; of the confidence before and after, the calibration error, the expected one, and the log-loss."""
    row = [float(each.right.mean())]
    for confidences in (each.plain, each.calibrated):
        clipped = confidences.clip(1e-9, 1 - 1e-9)
        loss = -np.log(np.where(each.right, clipped, 1 - clipped)).mean()
        shown = confidences.tolist()
        row += [expected_calibration_error(shown, each.right.tolist()), chance_calibration_error(shown), float(loss)]
    return np.array(row)


def _line(name: str, count: str, row: np.ndarray) -> str:
    right, before, before_chance, before_loss, after, chance, loss = row
    errors = f"{before:.1%} ({before_chance:.1%}) | {after:.1%} ({chance:.1%})"
    return f"| `{name}` | {count} | {right:.1%} | {errors} | {before_loss:.3f} | {loss:.3f} |"


if __name__ == "__main__":
    main()
