"""Write the page of a shipped model: its training, accuracy, typical errors, and the reliability of its confidence.

    DPTR_DATA=... python scripts/model_card.py dptr-en --data iiit5k/test --data ic15/test

writes README.md beside the model's weights (``dptr models NAME`` prints it) and docs/assets/confidence-NAME.png. Run it
after scripts/ship.py. Paths of data sets are relative to DPTR_DATA. The sets are used only for reporting, under
protocol 36, and no picture of them is stored.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from wordfreq import zipf_frequency

from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import (
    chance_calibration_error,
    confidence_threshold,
    edit_distance,
    expected_calibration_error,
    protocol,
)
from dptr.inference.reader import Reader
from dptr.utils.files import read_json
from dptr.utils.resize import to_array
from dptr.utils.sizes import CropSizes
from dptr.weights import SHIPPED, model_file

DOCS = Path(__file__).resolve().parent.parent / "docs"
COMMON = 4.0  # Zipf frequency: ten times in a million words
SOURCES = {
    "iiit5k/train": "IIIT 5K-Word (Mishra et al. 2012)",
    "ic15/train": "ICDAR 2015 Incidental Scene Text, task 4.3 (Karatzas et al. 2015)",
    "mlt-latin/train": "Latin words of the ICDAR MLT challenge (Nayef et al. 2017)",
    "receipts/train": "SROIE receipts (Huang et al. 2019)",
    "displays/train": "medical displays, of a public repository",
    "wire-markers/train": "cable markers, of a public repository",
    "plates-us/train": "American license plates, of a public repository",
}


@dataclass(frozen=True)
class Crop:
    """One crop and its reading; ``truth`` and ``read`` are folded by the protocol."""

    truth: str
    read: str
    label: str
    text: str
    confidence: float
    width: int  # of the picture, pixels
    height: int
    contrast: float  # gray levels between the 5th and the 95th percentile
    sharpness: float  # mean absolute Laplacian at 32 pixels of height, over the contrast

    @property
    def right(self) -> bool:
        return self.truth == self.read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help=f"{', '.join(SHIPPED)}, or a folder")
    parser.add_argument("--data", action="append", required=True, help="a data set below DPTR_DATA")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("model card: DPTR_DATA is not set; set it to the folder that holds the data sets")
    root, reader = Path(os.environ["DPTR_DATA"]), Reader(options.name)
    sets = {name: read_all(reader, root / name) for name in options.data}
    path = model_file(options.name, "card.json")
    card = read_json(path, "model card")
    page = [*_about(card), *_results(sets), *_where_it_fails(sets), *_failures(sets), *_limits(card)]
    path.with_name("README.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    draw(sets, DOCS / "assets" / f"confidence-{path.parent.name}.png")


def read_all(reader: Reader, folder: Path) -> list[Crop]:
    """Read all crops whose label is not empty under protocol 36."""
    dataset, fold, crops = open_labeled(folder), protocol("36"), []
    for first in range(0, len(dataset), reader.batch_size):
        rows = [row for row in range(first, min(first + reader.batch_size, len(dataset))) if fold(dataset.label(row))]
        images = [dataset.image(row) for row in rows]
        readings = reader.predict_views([reader.views(image) for image in images])
        for row, image, reading in zip(rows, images, readings, strict=True):
            gray = cv2.cvtColor(to_array(image, 32, max(8, round(32 * image.width / image.height))), cv2.COLOR_RGB2GRAY)
            low, high = np.percentile(gray, (5, 95))
            contrast = float(high - low)
            edges = float(np.abs(cv2.Laplacian(gray, cv2.CV_32F)).mean()) / max(contrast, 1)
            label = dataset.label(row)
            folded = fold(label), fold(reading.text)
            crops.append(Crop(*folded, label, reading.text, reading.confidence, *image.size, contrast, edges))
    return crops


# --- pages ------------------------------------------------------------------------------------------------------------


def _decoder(model: dict[str, Any]) -> str:
    kind = f"decoder `{model['decoder']['kind']}`"
    if queries := model["fmu"]["queries"]:
        return f"a Feature Merge Unit of {queries} queries, {kind}"
    return f"{kind} over image tokens, without a Feature Merge Unit"


def _accents(card: dict[str, Any]) -> str:
    """Describe the non-ASCII part of the charset, for the sentence about what the model reads."""
    return "" if card["recipe"]["model"]["charset"].startswith("94") else "letters with diacritics, "


def _about(card: dict[str, Any]) -> list[str]:
    model = card["recipe"]["model"]
    run, optim = card["recipe"]["run"], card["recipe"]["optim"]
    batch = run.get("batch_size") or run["batch"]  # the name in older recipes
    folders = card["recipe"]["render"]["fonts"]
    rented = "scratch/fonts" in folders  # what research/gpu/inputs.py packs is of both kinds
    more = rented or "runs/web-fonts" in folders
    fonts = f"free ones of Debian{' and of Fontsource (most of Google Fonts)' if more else ''}"
    lines = [
        f"# {card['name']}",
        "",
        f"Reads {'a word or a line' if _reads_spaces(card) else 'one word'} in a cropped photograph: Latin letters of "
        f"both cases, {_accents(card)}digits, ASCII punctuation{', spaces' if _reads_spaces(card) else ''}, at most "
        f"{model['max_length']} characters. {card['parameters'] / 1e6:.1f} M parameters: image encoder "
        f"`{model['encoder']['kind']}`{_size(model['encoder'])} for {_sizes(model['encoder'])} "
        f"pixels, {_decoder(model)}. Version {card['version']}, {card['created']}, commit {card['commit']}.",
        "",
        "## Training",
        "",
        *(f"- {line}" for line in card["trained_on"]),
        f"- last stage: {_duration(run)} of {batch} crops, {card['recipe']['data']['rendered']:.0%} of them "
        f"rendered, AdamW at {optim['lr']:g}; all settings in `card.json`; all steps in `docs/evidence/weights.md`",
        "",
        "Rights: the labeled photographs ("
        + "; ".join(SOURCES.get("/".join(Path(path).parts[-2:]), path) for path in card["recipe"]["data"]["train"])
        + ") and the backgrounds of rendered words (BSDS500, Arbelaez et al. 2011) are research data, under the terms "
        f"of their projects. No picture is contained here. Fonts: {fonts}. Words: wordfreq (CC BY-SA 4.0). Whether "
        f"rights in photographs extend to weights is for you to judge.{_rights_in_encoder(model['encoder'])}",
        "",
    ]
    return lines


def _results(sets: dict[str, list[Crop]]) -> list[str]:
    lines = [
        "## Results",
        "",
        "Protocol 36 (case and punctuation do not count). ECE is the expected calibration error; in parentheses, what "
        "perfect confidences show by chance in so many crops.",
        "",
        "| data | crops | word accuracy | ECE | 99 % right from a confidence of |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, crops in sets.items():
        confidences, right = [c.confidence for c in crops], [c.right for c in crops]
        sure = confidence_threshold(confidences, right)
        threshold_text = f"{sure[0]:.3f} ({sure[1]:.1%} of crops)" if sure else "none"
        errors = f"{expected_calibration_error(confidences, right):.1%} ({chance_calibration_error(confidences):.1%})"
        lines.append(f"| `{name}` | {len(crops):,} | {np.mean(right):.2%} | {errors} | {threshold_text} |")
    return [*lines, ""]


def _where_it_fails(sets: dict[str, list[Crop]]) -> list[str]:
    """Accuracy by measurable properties of a crop."""
    everything = [crop for crops in sets.values() for crop in crops]
    sharp = np.quantile([c.sharpness for c in everything], (0.25, 0.5, 0.75))
    clear = np.quantile([c.contrast for c in everything], (0.25, 0.5, 0.75))
    groups: dict[str, Callable[[Crop], str]] = {
        "letters in the word": lambda c: _between(len(c.truth), (3, 6, 9), ("1-3", "4-6", "7-9", "10 and more")),
        "height of the picture": lambda c: _between(
            c.height, (15, 31, 63), ("below 16 pixels", "16-31", "32-63", "64 and more")
        ),
        "shape": lambda c: _between(
            c.width / c.height, (1, 2, 4), ("taller than wide", "up to 2:1", "up to 4:1", "longer")
        ),
        "sharpness": lambda c: QUARTERS[int(np.searchsorted(sharp, c.sharpness))],
        "contrast": lambda c: QUARTERS[int(np.searchsorted(clear, c.contrast))],
        "case of the label": lambda c: _case(c.label),
        "word": _frequency,
    }
    lines = ["## Where it fails", "", f"| | | {' | '.join(f'`{name}`' for name in sets)} |"]
    lines += ["|---|---|" + "---:|" * len(sets)]
    for title, group in groups.items():
        rows_by_set = {name: [(group(crop), crop.right) for crop in crops] for name, crops in sets.items()}
        for key in _ORDER[title]:
            cells = []
            for rows in rows_by_set.values():
                hits = [right for one, right in rows if one == key]
                cells.append(f"{np.mean(hits):.1%} of {len(hits)}" if hits else "")
            lines.append(f"| {title} | {key} | {' | '.join(cells)} |")
            title = ""
    wrong = [crop for crop in everything if not crop.right]
    distances = Counter(min(edit_distance(c.read, c.truth), 3) for c in wrong)
    guesses = sum(_is_word(c.read) and not _is_word(c.truth) for c in wrong)
    swaps = Counter(pair for c in wrong for pair in _swaps(c.truth, c.read)).most_common(12)
    lines += [
        "",
        f"Of {len(wrong):,} misread words, {distances[1] / len(wrong):.0%} are off by one character, "
        f"{distances[2] / len(wrong):.0%} by two, and {distances[3] / len(wrong):.0%} by more. "
        f"{guesses / len(wrong):.0%} are lexical guesses: the model reads a common English word where there is none.",
        "Most frequent confusions (label, reading, count): " + ", ".join(f"{a} {b} {n}" for (a, b), n in swaps) + ".",
        "",
    ]
    return lines


def _failures(sets: dict[str, list[Crop]], count: int = 12) -> list[str]:
    lines = [
        "## Failures",
        "",
        "The errors with the highest confidence. Some labels are wrong themselves. "
        "`dptr eval --data DIR --html errors.html` shows all errors.",
        "",
        "| data | label | read | confidence |",
        "|---|---|---|---:|",
    ]
    for name, crops in sets.items():
        wrong = sorted((c for c in crops if not c.right), key=lambda c: -c.confidence)
        lines += [f"| `{name}` | {_code(c.label)} | {_code(c.text)} | {c.confidence:.3f} |" for c in wrong[:count]]
    return [*lines, ""]


def _limits(card: dict[str, Any]) -> list[str]:
    length = card["recipe"]["model"]["max_length"]
    first = (
        f"The input is a crop of one word or one line of at most {length} characters. "
        + ("" if _accents(card) else "The charset has no accented letters. ")
        if _reads_spaces(card)
        else "The input is a crop of one word. The charset has no spaces and no accented letters, and a word has at "
        f"most {length} characters. "
    )
    return [
        "## Limits",
        "",
        f"{first}Several lines and handwriting were not in the training data, and few words upside down. "
        "English words are read best; other strings are read less well (see the table).",
    ]


def _duration(run: dict[str, Any]) -> str:
    return f"{run['seconds'] / 60:.0f} minutes, steps" if run.get("seconds") else f"{run['steps']} steps"


def _reads_spaces(card: dict[str, Any]) -> bool:
    return "space" in card["recipe"]["model"]["charset"]


def _sizes(encoder: dict[str, Any]) -> str:
    sizes = tuple((high, wide) for high, wide in encoder.get("sizes", ()))
    stretch = encoder.get("stretch", 1.0)
    return str(CropSizes(encoder["height"], encoder["width"], encoder.get("max_width", 0), sizes, stretch))


def _size(encoder: dict[str, Any]) -> str:
    return f" {encoder['size']}" if "size" in encoder else ""


def _rights_in_encoder(encoder: dict[str, Any]) -> str:
    if encoder["kind"] != "ppocr":
        return ""
    return (
        " The image encoder goes on from that of PP-OCRv6_rec_small (PaddleOCR, Apache-2.0). Its makers do not list "
        "what they trained it on; that may include pictures of the test sets below."
    )


# --- groups -----------------------------------------------------------------------------------------------------------

QUARTERS = ("lowest quarter", "second", "third", "highest quarter")
_ORDER: dict[str, Sequence[str]] = {
    "sharpness": QUARTERS,
    "contrast": QUARTERS,
    "letters in the word": ("1-3", "4-6", "7-9", "10 and more"),
    "height of the picture": ("below 16 pixels", "16-31", "32-63", "64 and more"),
    "shape": ("taller than wide", "up to 2:1", "up to 4:1", "longer"),
    "case of the label": ("UPPER", "Title", "lower", "mixed", "digits alone", "letters and digits"),
    "word": ("common English", "rarer", "no word"),
}


def _between(value: float, limits: Sequence[float], names: Sequence[str]) -> str:
    return names[int(np.searchsorted(limits, value))]


def _case(label: str) -> str:
    letters = [one for one in label if one.isalpha()]
    if not letters:
        return "digits alone"
    if any(one.isdigit() for one in label):
        return "letters and digits"
    word = "".join(letters)
    return "UPPER" if word.isupper() else "lower" if word.islower() else "Title" if word.istitle() else "mixed"


def _is_word(text: str) -> bool:
    return len(text) > 2 and text.isalpha() and zipf_frequency(text, "en") >= COMMON


def _frequency(crop: Crop) -> str:
    frequency = zipf_frequency(crop.truth, "en") if crop.truth.isalpha() else 0
    return "common English" if frequency >= COMMON else "rarer" if frequency > 0 else "no word"


def _swaps(truth: str, read: str) -> list[tuple[str, str]]:
    """The pairs of single characters that differ in an alignment of the two words."""
    blocks = SequenceMatcher(None, truth, read, autojunk=False).get_opcodes()
    pairs = [(truth[a:b], read[c:d]) for kind, a, b, c, d in blocks if kind == "replace" and b - a == d - c]
    return [(one, other) for before, after in pairs for one, other in zip(before, after, strict=True)]


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text and "`" not in text else text.replace("|", "\\|")


# --- picture ----------------------------------------------------------------------------------------------------------


def draw(sets: dict[str, list[Crop]], path: Path, bins: int = 10) -> None:
    """Draw accuracy by confidence (left), and the error rate among accepted words by the accepted share (right)."""
    from matplotlib import pyplot

    figure, (reliability, risk) = pyplot.subplots(1, 2, figsize=(9.6, 4.2))
    reliability.plot((0, 1), (0, 1), color="0.7", linewidth=1)
    for name, crops in sets.items():
        ordered = sorted(crops, key=lambda crop: -crop.confidence)
        confidences = np.array([crop.confidence for crop in ordered])
        right = np.array([crop.right for crop in ordered], float)
        rows = np.minimum((confidences * bins).astype(int), bins - 1)
        used = [row for row in range(bins) if (rows == row).sum() >= 20]
        accuracy = np.array([right[rows == row].mean() for row in used])
        error = np.sqrt(accuracy * (1 - accuracy) / [(rows == row).sum() for row in used])
        means = [confidences[rows == row].mean() for row in used]
        reliability.errorbar(means, accuracy, error, marker="o", markersize=4, capsize=2, label=name)
        taken = np.arange(1, len(ordered) + 1)
        risk.plot(100 * taken / len(ordered), 100 * (1 - right.cumsum() / taken), label=name)
    reliability.set(xlabel="confidence", ylabel="share that is right", title="reliability")
    risk.axhline(1, color="0.7", linewidth=1)
    risk.set(xlabel="surest words taken, %", ylabel="of these wrong, %", title="risk and coverage", xlim=(0, 100))
    for panel in (reliability, risk):
        panel.legend()
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
