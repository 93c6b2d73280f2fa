"""Measure the calibration error of confidences on several kinds of crops, before and after the calibration of words.

python research/evidence/calibration.py --data "$DPTR_DATA/iiit5k/test" "$DPTR_DATA/ic15/test" [--model MODEL]
python research/evidence/calibration.py --leave-out --data words/val codes/val     # fitted on the other folders

The protocol is 36. "Before" is the product of the probabilities of the likeliest characters. ECE has 15 bins of equal
width (Guo et al. 2017). In parentheses is the ECE that perfect confidences show by chance with as many crops
(``chance_calibration_error``). "Gap" is the mean confidence minus the accuracy, with the interval of 90 % of 1,000
bootstrap samples of the crops. With --leave-out, a second table uses the thresholds that the other folders give: it
shows the accuracy of readings above the threshold, and how many there are.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dptr import Reader
from dptr.data.labeled import open_labeled
from dptr.evaluation.calibration import PRECISIONS, fit_power
from dptr.evaluation.metrics import (
    chance_calibration_error,
    confidence_threshold,
    expected_calibration_error,
    protocol,
)
from dptr.inference.confidence import WordConfidence

DRAWS = 1000


@dataclass(frozen=True)
class Outcomes:
    """The readings of one folder: product of probabilities, confidence, number of characters, and correctness."""

    name: str
    plain: np.ndarray
    calibrated: np.ndarray
    lengths: np.ndarray
    right: np.ndarray

    def probabilities(self, scale: WordConfidence) -> np.ndarray:
        """The probabilities from which ``scale`` computed the confidences."""
        return self.calibrated ** ((1.0 + self.lengths) ** scale.length / scale.exponent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--leave-out", action="store_true", help="fit the confidence of each folder on the others")
    options = parser.parse_args()
    reader = Reader(options.model)
    sets = [_read(reader, folder) for folder in options.data]
    thresholds: list[dict[float, tuple[float, float] | None]] = []
    if options.leave_out:
        scale = WordConfidence.from_card(reader.card, len(reader.tokenizer.charset))
        assert scale is not None, "a model with a calibrated confidence"
        pairs = [_refit(sets, index, scale) for index in range(len(sets))]
        sets, thresholds = [each for each, _ in pairs], [limits for _, limits in pairs]
    print("| data | crops | right | ECE before | ECE | gap, points | log-loss before | log-loss |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for each in sets:
        print(_line(each), flush=True)
    if thresholds:
        print(f"\n| data | {' | '.join(f'{each:.1%}: right, answered' for each in PRECISIONS)} |")
        print("|---|" + "---:|" * len(PRECISIONS))
        for each, limits in zip(sets, thresholds, strict=True):
            print(f"| `{each.name}` | {' | '.join(_answered(each, limits[precision]) for precision in PRECISIONS)} |")


def _read(reader: Reader, folder: Path) -> Outcomes:
    dataset, fold = open_labeled(folder), protocol("36")
    rows = [row for row in range(len(dataset)) if fold(dataset.label(row))]
    pairs = [
        (reading, fold(reading.text) == fold(dataset.label(row)))
        for row, reading in zip(rows, reader.stream(dataset.image(row) for row in rows), strict=True)
        if not isinstance(reading, Exception)
    ]
    plain, calibrated = np.array([(reading.product, reading.confidence) for reading, _ in pairs]).T
    lengths, right = (np.array([each[place] for each in ((len(r.text), ok) for r, ok in pairs)]) for place in range(2))
    return Outcomes("/".join(folder.parts[-2:]), plain, calibrated, lengths, right)


def _refit(
    sets: list[Outcomes], index: int, scale: WordConfidence
) -> tuple[Outcomes, dict[float, tuple[float, float] | None]]:
    """One folder with the confidences that are fitted on the other folders, and the thresholds from these."""
    others = [each for number, each in enumerate(sets) if number != index]
    probabilities = np.concatenate([each.probabilities(scale) for each in others])
    lengths, right = (np.concatenate([getattr(each, key) for each in others]).tolist() for key in ("lengths", "right"))
    numbers = [number for number, each in enumerate(others) for _ in each.right]
    exponent, length = fit_power(probabilities.tolist(), lengths, right, numbers)
    refitted = replace(scale, exponent=exponent, length=length)
    of_others = [refitted.scale(*pair) for pair in zip(probabilities, lengths, strict=True)]
    limits = {precision: confidence_threshold(of_others, right, precision) for precision in PRECISIONS}
    left = sets[index]
    readings = zip(left.probabilities(scale), left.lengths.tolist(), strict=True)
    confidences = [refitted.scale(*reading) for reading in readings]
    return replace(left, calibrated=np.array(confidences)), limits


def _line(each: Outcomes) -> str:
    cells, losses = [], []
    for confidences in (each.plain, each.calibrated):
        clipped = confidences.clip(1e-9, 1 - 1e-9)
        losses.append(f"{-np.log(np.where(each.right, clipped, 1 - clipped)).mean():.3f}")
        error = expected_calibration_error(confidences.tolist(), each.right.tolist())
        chance = chance_calibration_error(confidences.tolist())
        cells.append(f"{error:.1%} ({chance:.1%})")
    gaps = 100 * (each.calibrated - each.right)
    rows = np.random.default_rng(0).integers(0, len(gaps), (DRAWS, len(gaps)))
    low, high = np.percentile(gaps[rows].mean(1), (5, 95))
    return (
        f"| `{each.name}` | {len(each.right):,} | {each.right.mean():.1%} | {cells[0]} | {cells[1]} | "
        f"{gaps.mean():+.1f} ({low:+.1f} to {high:+.1f}) | {losses[0]} | {losses[1]} |"
    )


def _answered(each: Outcomes, threshold: tuple[float, float] | None) -> str:
    if threshold is None:
        return "-"
    accepted = each.right[each.calibrated >= threshold[0]]
    return f"{accepted.mean():.1%}, {len(accepted) / len(each.right):.1%}" if len(accepted) else "-, 0.0%"


if __name__ == "__main__":
    main()
