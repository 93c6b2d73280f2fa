"""How many crops are read by how many image tokens they have for each symbol that CTC needs.

    python research/evidence/tokens.py --model thai --data runs/lines-th --language th [--stretch 1 1.25 1.5 2]

A word needs a token for each character, and one between equal neighbors. Crops whose label is ASCII are left out.
``--stretch`` prints, for each factor on the width of the crops, the share of crops with few tokens; nothing is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from dptr import Reader
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import protocol
from dptr.models.encoders.ppocr import TOKEN
from dptr.training.narrow import tokens_needed
from dptr.utils.sizes import CropSizes
from dptr.utils.terminal import markdown_table

BOUNDS = 0, 1, 1.5, 2, 3, np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a recognizer with PP-OCRv6's encoder")
    parser.add_argument("--data", type=Path, required=True, help="labeled crops")
    parser.add_argument("--language", required=True, help="a code of docs/languages.md, whose protocol counts")
    parser.add_argument("--stretch", type=float, nargs="*", default=[])
    options = parser.parse_args()
    crops, reader, fold = open_labeled(options.data), Reader(options.model), protocol(options.language)
    rows = [row for row in range(len(crops)) if not crops.label(row).isascii()]
    images, labels = [crops.image(row) for row in rows], [crops.label(row) for row in rows]
    needed = np.array([tokens_needed(label) for label in labels])
    aspects = [image.width / image.height for image in images]
    if options.stretch:
        head = ("stretch", *(f"below {bound:g}" for bound in BOUNDS[1:-1]))
        print(markdown_table([head, *_shares(aspects, needed, reader, options.stretch)]))
        return
    right = np.array([fold(p.text) == fold(label) for p, label in zip(reader.read(images), labels, strict=True)])
    tokens = np.array([reader.size.choose(aspect)[1] // TOKEN for aspect in aspects]) / needed
    table = [("tokens a symbol", "crops", "right")]
    for low, high in pairwise(BOUNDS):
        inside = (tokens >= low) & (tokens < high)
        if inside.any():
            table.append((f"{low:g} to {high:g}", f"{inside.sum()}", f"{100 * right[inside].mean():.0f} %"))
    print(markdown_table(table))


def _shares(
    aspects: Sequence[float], needed: np.ndarray, reader: Reader, factors: Sequence[float]
) -> Iterator[tuple[str, ...]]:
    """For each factor the shares of crops with fewer tokens a symbol than each bound."""
    for factor in factors:
        size = CropSizes(reader.size.height, reader.size.width, reader.size.max_width, (), factor)
        tokens = np.array([size.choose(aspect)[1] // TOKEN for aspect in aspects]) / needed
        yield (f"{factor:g}", *(f"{100 * (tokens < bound).mean():.0f} %" for bound in BOUNDS[1:-1]))


if __name__ == "__main__":
    main()
