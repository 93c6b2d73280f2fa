"""Photographs end to end: DPTR beside rapidocr, both its modes, in one run and on one machine.

python research/evidence/scenes.py --scenes "$DPTR_DATA/ic15/scenes" [--model MODEL] [--out FOLDER]

Prints precision, recall and F1 by ICDAR 2015's rules and the seconds a photograph. Writes the words of each to FOLDER,
a JSON object a line for each photograph: {"image": name, "words": [{"box": [x1, y1, ..., x4, y4], "text": text}]}.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from dptr import OCR
from dptr.evaluation.spotting import Spotted, Spotting, score_words
from dptr.photo.page import LEAST_CONFIDENCE

RAPIDOCR_LEAST = 0.5  # of rapidocr's words; it leaves out lines below it by itself

Find = Callable[[Path], list[Spotted]]


def load_words(scenes: Path) -> dict[str, list[Spotted]]:
    """The labeled words of each photograph of ``words.tsv``."""
    words: dict[str, list[Spotted]] = defaultdict(list)
    for line in (scenes / "words.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, *corners, text = line.split("\t")
            words[name].append((np.array(corners, float).reshape(4, 2), text))
    return words


def with_dptr(model: str) -> Find:
    ocr = OCR(model)

    def find(path: Path) -> list[Spotted]:
        return [(np.array(word.box), word.text) for word in ocr(path).words if word.confidence >= LEAST_CONFIDENCE]

    return find


def with_rapidocr(by_word: bool) -> Find:
    from rapidocr import RapidOCR

    logging.disable(logging.WARNING)
    engine: Any = RapidOCR()

    def find(path: Path) -> list[Spotted]:
        found = engine(str(path), use_det=True, use_cls=True, use_rec=True, return_word_box=by_word)
        if found.boxes is None:
            return []
        if not by_word:
            return list(zip(found.boxes, found.txts, strict=True))
        words = [word for line in found.word_results for word in line]
        return [
            (np.array(box), text) for text, confidence, box in words if box is not None and confidence >= RAPIDOCR_LEAST
        ]

    return find


def measure(find: Find, scenes: Path, words: dict[str, list[Spotted]], out: Path | None) -> tuple[Spotting, float]:
    """What is found in all photographs, and the median of the seconds a photograph."""
    total, seconds, lines = Spotting(), [], []
    for name, labeled in words.items():
        begin = time.perf_counter()
        found = find(scenes / name)
        seconds.append(time.perf_counter() - begin)
        total += score_words(found, labeled)
        spelled = [{"box": np.reshape(box, -1).tolist(), "text": text} for box, text in found]
        lines.append(json.dumps({"image": name, "words": spelled}, ensure_ascii=False))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return total, median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    words = load_words(options.scenes)
    with Image.open(options.scenes / next(iter(words))) as first:
        print(f"{len(words)} photographs, the first {first.width}x{first.height}")
    systems = {
        f"DPTR, {options.model}": with_dptr(options.model),
        "rapidocr, by word": with_rapidocr(True),
        "rapidocr, as it comes": with_rapidocr(False),
    }
    print("| system | precision | recall | F1 | found (F1) | seconds a photograph |\n|---|---|---|---|---|---|")
    for row, (name, find) in enumerate(systems.items()):
        out = options.out and options.out / f"{row}.jsonl"
        total, seconds = measure(find, options.scenes, words, out)
        precision, recall, both = total.rates()
        print(f"| {name} | {precision:.3f} | {recall:.3f} | {both:.3f} | {total.rates(False)[2]:.3f} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
