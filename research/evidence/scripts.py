"""Measure the script classifier of ``dptr.inference.scripts`` on rendered words and on labeled crops.

    python research/evidence/scripts.py --fonts FONTS --backgrounds $DPTR_DATA/natural --work runs/scripts-test \\
        --data $DPTR_DATA/plates-eg/train $DPTR_DATA/iiit5k/train

The script renders words and fonts that research/photo/train_scripts.py holds out, with another seed; crops of an
earlier call in ``--work`` are reused. The true script of a labeled crop is that of its label. Labels without letters
(only digits and signs) are counted separately.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from dptr.data.labeled import open_labeled
from dptr.inference.auto import AutoReader
from dptr.inference.reader import Reader
from dptr.inference.routing import PLAUSIBLE
from dptr.inference.scripts import NAMES, ScriptFinder
from dptr.synth import find_fonts
from dptr.text.scripts import NO_SCRIPT, script_of_text
from dptr.utils.terminal import markdown_table
from dptr.weights import AUTO

sys.path.insert(0, str(Path(__file__).parents[1] / "photo"))
from train_scripts import open_crops

SEED = 7_000_003  # different from the seed of training
BATCH_SIZE = 64
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for crops")
    parser.add_argument("--crops", type=int, default=500, help="crops of each script")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--backgrounds", default="", help="a folder of photographs")
    parser.add_argument("--fonts", nargs="*", default=(), help="folders or files; default: those of the system")
    parser.add_argument("--data", type=Path, nargs="*", default=(), help="folders of labeled crops")
    parser.add_argument("--speed", type=Path, help="a folder of crops to read with and without the classifier")
    parser.add_argument("--model", default="cyrillic", help="the recognizer of these crops")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    find = ScriptFinder()
    print(rendered_table(find, options))
    if options.data:
        print(f"\n{labeled_table(find, options.data)}")
    if options.speed:
        print(f"\n{compare_speed(options.speed, options.model)}")


def rendered_table(find: ScriptFinder, options: argparse.Namespace) -> str:
    """Markdown: for each script, the shares that are right and plausible, and the most frequent confusions."""
    fonts = find_fonts(options.fonts)
    rows: list[tuple[str, ...]] = [("script", "crops", "right", "plausible", "most often taken for")]
    everything = []
    spent = 0.0
    for index, script in enumerate(NAMES):
        crops = open_crops(script, "heldout", options.crops, options, fonts)
        images = [Image.fromarray(crops.crop(each)) for each in range(len(crops))]
        begun = time.perf_counter()
        probabilities = np.concatenate([find([image]) for image in images])
        spent += time.perf_counter() - begun
        everything.append((index, probabilities))
        others = Counter(NAMES[each] for each in probabilities.argmax(1) if each != index)
        taken = ", ".join(f"{name} {100 * count / len(probabilities):.1f} %" for name, count in others.most_common(2))
        rows.append((script, f"{len(probabilities):,}", *_shares(index, probabilities), taken))
    total = sum(len(probabilities) for _, probabilities in everything)
    means = [
        np.mean([share(each, probabilities) for each, probabilities in everything]) for share in (_right, _plausible)
    ]
    rows.append(("mean", f"{total:,}", *(f"{100 * mean:.1f} %" for mean in means), ""))
    return f"{markdown_table(rows)}\n\n{1000 * spent / total:.2f} ms a crop, one by one"


def labeled_table(find: ScriptFinder, folders: list[Path]) -> str:
    """Markdown: the same for each folder and each script of its labels."""
    rows: list[tuple[str, ...]] = [("crops", "labels", "number", "right", "plausible", "most often taken for")]
    for folder in folders:
        dataset = open_labeled(folder)
        lines = (folder / "labels.tsv").read_text("utf-8").splitlines()
        paths = [folder / line.split("\t")[0] for line in lines]
        scripts = [script_of_text(dataset.label(row)) for row in range(len(dataset))]
        probabilities = np.concatenate(
            [
                find([Image.open(path).convert("RGB") for path in paths[start : start + BATCH_SIZE]])
                for start in range(0, len(paths), BATCH_SIZE)
            ]
        )
        for script, count in Counter(scripts).most_common():
            of_script = probabilities[[each == script for each in scripts]]
            others = Counter(NAMES[each] for each in of_script.argmax(1) if NAMES[each] != script)
            taken = ", ".join(f"{name} {100 * number / count:.1f} %" for name, number in others.most_common(2))
            title = "digits alone" if script == NO_SCRIPT else script
            name = "/".join(folder.parts[-2:])
            rows.append((name, title, f"{count:,}", *_shares(NAMES.index(script), of_script), taken))
    return markdown_table(rows)


def compare_speed(folder: Path, model: str) -> str:
    """Milliseconds per crop of ``AutoReader`` and of the recognizer alone: medians of ``ROUNDS`` alternating rounds."""
    paths = sorted((folder / "images").iterdir())
    readers: dict[str, Reader] = {model: Reader(model), AUTO: AutoReader()}
    times: dict[str, list[float]] = {name: [] for name in readers}
    chosen: Counter[str] = Counter()
    for turn in range(ROUNDS + 1):  # the first opens the models
        for name, reader in readers.items():
            begun = time.perf_counter()
            readings = reader.read(paths)
            if turn:
                times[name].append(1000 * (time.perf_counter() - begun) / len(paths))
            elif name == AUTO:
                chosen.update(each.recognizer for each in readings)
    alone, auto = (float(np.median(times[name])) for name in readers)
    read_by = ", ".join(f"{name} {count}" for name, count in chosen.most_common())
    return f"{model} {alone:.2f} ms a crop, {AUTO} {auto:.2f}: {auto / alone:.2f} times (read by {read_by})"


def _right(script: int, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(1) == script).mean())


def _plausible(script: int, probabilities: np.ndarray) -> float:
    return float((probabilities[:, script] >= PLAUSIBLE).mean())


def _shares(script: int, probabilities: np.ndarray) -> tuple[str, str]:
    return f"{100 * _right(script, probabilities):.1f} %", f"{100 * _plausible(script, probabilities):.1f} %"


if __name__ == "__main__":
    main()
