"""Fit the character n-grams that rescore the readings of ``dptr-latin`` (``dptr.inference.rescore``).

The words are the most frequent ones of 24 languages, by wordfreq, and those of the labels of the seven train folders,
without those that occur in a validation crop.

    DPTR_DATA=... python scripts/ngrams.py dptr/weights/dptr-latin/ngrams.npz
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import wordfreq

from dptr.config.data import DataConfig
from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.labeled import open_labeled
from dptr.models.checkpoint import open_checkpoint
from dptr.text.ngrams import fit_ngrams

SETS = ("iiit5k", "ic15", "mlt-latin", "receipts", "displays", "wire-markers", "plates-us")
LEAST = (0, 0, 0.5, 2, 4, 6)  # by order, from single letters on
# Words of each language, and the total of their weights; each weight is in proportion to the root of the frequency
LATIN = "pt nl pl cs sv tr ca da fi hu is lt lv nb ro sk sl sh vi"
LANGUAGES = {
    "en": (150_000, 3e5),
    **{language: (15_000, 1.5e4) for language in ("de", "fr", "es", "it")},
    **{language: (8_000, 6e3) for language in LATIN.split()},
}
SET_WEIGHT, MOST_WEIGHT = 8_000, 3.0  # of the words of each data set together, and of one of them at most


def main() -> None:
    """Read the argument, collect the words, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the file to write")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("ngrams: DPTR_DATA is not set; set it to the folder that holds the data sets")
    letters = set("".join(open_checkpoint("dptr-latin").charset.characters).lower())
    words = [*frequent_words(), *label_words(Path(os.environ["DPTR_DATA"]))]
    model = fit_ngrams([entry for entry in words if letters.issuperset(entry[0].lower())], len(LEAST), LEAST)
    model.save(options.out)
    sizes = ", ".join(f"{len(own.keys):,}" for own in model.orders)
    print(f"{len(model.alphabet)} letters; n-grams by order: {sizes}; {options.out.stat().st_size:,} bytes")


def frequent_words() -> Iterator[tuple[str, float]]:
    """Words without digits, and their weights."""
    for language, (top, total) in LANGUAGES.items():
        words = [word for word in wordfreq.top_n_list(language, top) if not any(map(str.isdigit, word))]
        roots = np.array([wordfreq.word_frequency(word, language) ** 0.5 for word in words])
        yield from zip(words, (roots * total / roots.sum()).tolist(), strict=True)


def label_words(root: Path) -> Iterator[tuple[str, float]]:
    """Words of labels, and their weights."""
    share = DataConfig().validation_share
    labels: dict[str, list[str]] = {}
    validation: set[str] = set()
    for name in SETS:
        crops = open_labeled(root / name / "train")
        hashes = np.array([hash_picture(crops.image_bytes(index)) for index in range(len(crops))], np.uint32)
        held_out = is_held_out(hashes, share)
        own = [crops.label(index).split() for index in range(len(crops))]
        validation |= {word.lower() for row, is_out in zip(own, held_out, strict=True) if is_out for word in row}
        labels[name] = [word for row in own for word in row]
    for own_words in labels.values():
        kept = [word for word in own_words if word.lower() not in validation]
        yield from ((word, min(MOST_WEIGHT, SET_WEIGHT / len(kept))) for word in kept)


if __name__ == "__main__":
    main()
