"""Measure accuracy by the rule for preferring the upside-down reading of a crop.

python research/evidence/upside_down.py --model dptr-latin --data crops/markers crops/displays

Each crop that is not tall is read upright and upside down. A rule of ``dptr.inference.views.read_views`` has two
parameters: how doubtful the upright reading must be, and how much more probable the other one. ``never`` is the
accuracy of the upright readings, and ``either`` that of a perfect choice.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dptr import Reader
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import PROTOCOLS
from dptr.inference.views import DOUBTFUL, SURER
from dptr.utils.images import open_image
from dptr.utils.resize import turn_tall

DOUBTS = 0.8, DOUBTFUL, 0.9, 1.0
MARGINS = 0.0, 0.1, 0.3, SURER, 0.6


@dataclass(frozen=True)
class Pair:
    """A crop, read upright and upside down: correctness, probability, and number of characters of each reading."""

    right: tuple[bool, bool]
    product: tuple[float, float]
    length: tuple[int, int]


def read_pairs(reader: Reader, folder: Path, protocol: str) -> list[Pair]:
    """Read all crops of a data set, except tall ones and those whose label is empty under the protocol."""
    fold, dataset = PROTOCOLS[protocol], open_labeled(folder)
    images: list[Image.Image] = []
    truths = []
    for index in range(len(dataset)):
        image, truth = open_image(dataset.image_bytes(index)), fold(dataset.label(index).strip())
        if truth and not list(turn_tall(image)):
            images.append(image)
            truths.append(truth)
    upright = reader.predict_arrays([reader.fit(image) for image in images])
    turned = reader.predict_arrays([reader.fit(image)[::-1, ::-1] for image in images])
    return [
        Pair(
            (fold(one.text) == truth, fold(other.text) == truth),
            (one.product, other.product),
            (len(one.text), len(other.text)),
        )
        for one, other, truth in zip(upright, turned, truths, strict=True)
    ]


def accuracy(pairs: list[Pair], doubt: float, margin: float) -> tuple[float, float]:
    """The fraction of crops that are read correctly, and the fraction that are read twice."""
    right = twice = 0
    for pair in pairs:
        doubtful = pair.product[0] ** (1 / (pair.length[0] + 1)) < doubt and pair.product[0] < 1 - margin
        other = doubtful and pair.product[1] > pair.product[0] + margin and pair.length[1] > 1
        right += pair.right[other]
        twice += doubtful
    return right / len(pairs), twice / len(pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-latin")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--protocol", default="36", choices=sorted(PROTOCOLS))
    options = parser.parse_args()
    reader = Reader(options.model)
    sets = {str(folder): read_pairs(reader, folder, options.protocol) for folder in options.data}
    everything = [pair for pairs in sets.values() for pair in pairs]

    def show(name: str, shares: list[float], twice: str = "") -> None:
        mean = sum(shares) / len(shares)
        print("| " + " | ".join([name, *(f"{100 * share:.1f}" for share in [*shares, mean]), twice]) + " |")

    print("| rule | " + " | ".join(f"{name} ({len(pairs)})" for name, pairs in sets.items()) + " | mean | read twice |")
    print("|---" * (len(sets) + 3) + "|")
    show("never", [sum(pair.right[0] for pair in pairs) / len(pairs) for pairs in sets.values()])
    for doubt in DOUBTS:
        for margin in MARGINS:
            shares = [accuracy(pairs, doubt, margin)[0] for pairs in sets.values()]
            twice = accuracy(everything, doubt, margin)[1]
            show(f"below {doubt:g}, surer by {margin:g}", shares, f"{100 * twice:.1f} %")
    show("either", [sum(any(pair.right) for pair in pairs) / len(pairs) for pairs in sets.values()])


if __name__ == "__main__":
    main()
