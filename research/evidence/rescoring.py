"""What rescoring by n-grams gains: the same crops, read without and with each file of n-grams.

python research/evidence/rescoring.py --data $DPTR_DATA/ic15/test ... --model dptr-latin --ngrams other.npz
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import PROTOCOLS
from dptr.inference.reader import Reader
from dptr.inference.rescore import Rescoring
from dptr.text.ngrams import load_ngrams

BINS = 15  # of the calibration error


def main() -> None:
    """Read the arguments, read the crops, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, type=Path, help="data sets of labeled crops")
    parser.add_argument("--model", default="dptr-latin", help="a recognizer with CTC (dptr-latin)")
    parser.add_argument("--ngrams", nargs="*", default=[], type=Path, help="files to compare with that of the model")
    parser.add_argument("--controls", action="store_true", help="also change the parts of the score")
    parser.add_argument("--protocol", default="36", help="of the comparison (36)")
    options = parser.parse_args()
    fold = PROTOCOLS[options.protocol]
    print("| crops | number | n-grams | right | changed | better | worse | p | ECE |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    for folder in options.data:
        crops = open_labeled(folder)
        labels = [fold(crops.label(index)) for index in range(len(crops))]
        counted = [index for index, label in enumerate(labels) if label]
        images = [crops.image(index) for index in counted]
        before: list[str] = []
        right_before = np.zeros(0, bool)
        for name, reader in make_readers(options.model, options.ngrams, options.controls).items():
            predictions = reader.read(images)
            texts = [fold(each.text) for each in predictions]
            right = np.array([text == labels[index] for text, index in zip(texts, counted, strict=True)])
            if not before:
                before, right_before = texts, right
            better, worse = int((right & ~right_before).sum()), int((right_before & ~right).sum())
            changed = sum(one != two for one, two in zip(texts, before, strict=True))
            error = calibration_error(right, np.array([each.confidence for each in predictions]))
            print(
                f"| `{'/'.join(folder.parts[-2:])}` | {len(counted):,} | {name} | {right.mean():.2%} | {changed} | "
                f"{better} | {worse} | {sign_test(better, worse):.3f} | {error:.1%} |",
                flush=True,
            )


def make_readers(model: str, files: Sequence[Path], with_controls: bool) -> dict[str, Reader]:
    """The readers to compare, by name."""
    readers = {"none": Reader(model, rescore=False), "its own": Reader(model)}
    own = readers["its own"]._decoding.rescoring
    changed = {path.stem: Rescoring(load_ngrams(path), readers["none"].tokenizer) for path in files}
    if with_controls and own is not None:
        changed |= {
            "length alone": replace(own, weight=0.0),
            "codes alone": replace(own, code_share=1 - 1e-9),
            "no codes": replace(own, code_share=1e-9),
        }
    for name, rescoring in changed.items():
        readers[name] = Reader(model)
        readers[name]._decoding = replace(readers[name]._decoding, rescoring=rescoring)
    return readers


def sign_test(better: int, worse: int) -> float:
    """Two-sided p of McNemar's exact test."""
    both = better + worse
    tail = sum(math.comb(both, each) for each in range(min(better, worse) + 1)) / 2**both
    return min(1.0, 2 * tail)


def calibration_error(right: np.ndarray, confidence: np.ndarray) -> float:
    """Expected calibration error (Guo et al., ICML 2017) over ``BINS`` bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(right[bins == each].mean() - confidence[bins == each].mean()) * (bins == each).sum() for each in set(bins)
    ]
    return float(sum(gaps) / len(right))


if __name__ == "__main__":
    main()
