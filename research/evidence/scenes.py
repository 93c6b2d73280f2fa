"""Compare DPTR with rapidocr, in both of its modes, on whole photographs, in one run on one machine.

python research/evidence/scenes.py --scenes "$DPTR_DATA/ic15/scenes" [--model MODEL ...] [--out FOLDER]

Prints precision, recall, and F1 by the rules of ICDAR 2015, the median wall time, and the mean processor time for a
photograph. All systems read a photograph before the next one, so other programs slow all of them equally. The words of
each system are written to FOLDER, as a line with a JSON object for each photograph:
{"image": name, "words": [{"box": [x1, y1, ..., x4, y4], "text": text}]}.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image

from dptr import OCR
from dptr.evaluation.spotting import Spotted, Spotting, score_words
from dptr.photo.page import LEAST_CONFIDENCE

RAPIDOCR_LEAST = 0.5  # lowest confidence of rapidocr's words; rapidocr itself drops lines below this

Find = Callable[[Path], list[Spotted]]


def load_words(scenes: Path) -> dict[str, list[Spotted]]:
    """The labeled words of each photograph in ``words.tsv``."""
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


@dataclass
class Measured:
    """A system, its scores over all photographs, and its wall and processor seconds for each photograph."""

    find: Find
    total: Spotting = field(default_factory=Spotting)
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def read(self, path: Path, name: str, labeled: list[Spotted]) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        found = self.find(path)
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)
        self.total += score_words(found, labeled)
        spelled = [{"box": np.reshape(box, -1).tolist(), "text": text} for box, text in found]
        self.lines.append(json.dumps({"image": name, "words": spelled}, ensure_ascii=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["dptr-latin", "dptr-en"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    words = load_words(options.scenes)
    with Image.open(options.scenes / next(iter(words))) as first:
        print(f"{len(words)} photographs, the first {first.width}x{first.height}")
    systems = {
        **{f"DPTR, {model}": Measured(with_dptr(model)) for model in options.model},
        "rapidocr, by word": Measured(with_rapidocr(True)),
        "rapidocr, as it comes": Measured(with_rapidocr(False)),
    }
    for name, labeled in words.items():
        for system in systems.values():
            system.read(options.scenes / name, name, labeled)
    print("| system | precision | recall | F1 | found (F1) | seconds | CPU seconds |\n|---|---|---|---|---|---|---|")
    for row, (name, system) in enumerate(systems.items()):
        precision, recall, both = system.total.rates()
        found, wall, processor = system.total.rates(False)[2], median(system.wall), mean(system.processor)
        print(f"| {name} | {precision:.3f} | {recall:.3f} | {both:.3f} | {found:.3f} | {wall:.2f} | {processor:.2f} |")
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{row}.jsonl").write_text("\n".join(system.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
