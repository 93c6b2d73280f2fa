"""Count how many words ``dptr label`` accepts unseen in photographs, and how many of these are right.

python research/evidence/proposals.py --scenes "$DPTR_DATA/ic15/scenes" [--model MODEL] [--thresholds P ...]

Prints a row for each threshold (``dptr label --threshold``): the words that are proposed, those that are accepted, and,
by the rules of ICDAR 2015, how many of the accepted ones count (words that the annotators could not read do not) and
how many of these are right.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scenes import load_words

from dptr import OCR
from dptr.evaluation.spotting import Spotted, Spotting, score_words
from dptr.label.item import Proposal
from dptr.label.propose import words_of


def score_accepted(pictures: Iterable[tuple[Sequence[Proposal], list[Spotted]]]) -> tuple[int, Spotting]:
    """The number of accepted words, and their scores.

    Args:
        pictures: the proposed and the labeled words of each.
    """
    accepted, scores = 0, Spotting()
    for proposals, labeled in pictures:
        sure = [(np.array(word.outline), word.text) for word in proposals if word.state == "sure"]
        accepted += len(sure)
        scores += score_words(sure, labeled)
    return accepted, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True, help="a folder with words.tsv and its photographs")
    parser.add_argument("--model", default="dptr-latin")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.99, 0.95])
    options = parser.parse_args()
    ocr = OCR(options.model)
    labeled = load_words(options.scenes)
    pages = {name: ocr(options.scenes / name) for name in labeled}
    print("| threshold | proposed | accepted | legible | right |\n|---:|---:|---:|---:|---:|")
    for threshold in options.thresholds:
        proposals = {name: words_of(page, threshold) for name, page in pages.items()}
        accepted, scores = score_accepted((proposals[name], labeled[name]) for name in labeled)
        proposed = sum(map(len, proposals.values()))
        print(f"| {threshold:g} | {proposed} | {accepted} | {scores.predictions} | {scores.read} |")


if __name__ == "__main__":
    main()
