"""Measure the errors without and with a pattern or lexicon of the expected texts.

    python research/evidence/expected.py --data "$DPTR_DATA" [--model MODEL] [--folder test] [--fonts FOLDER ...]

The protocol is 36, so hyphens do not count. Errors are counted for the crops whose label, in capitals, matches the
pattern. A reading is refused if ``Prediction.fits`` is false; refusals are counted for these labels and for the others.
Dates and prices are rendered in held-out fonts. The lexicon of a benchmark consists of all its labels, folded by the
protocol.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dptr import Reader
from dptr.config.load import load_recipe
from dptr.config.train import SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.evaluation.metrics import protocol
from dptr.inference.prediction import Prediction
from dptr.synth import Renderer
from dptr.text.charset import resolve_charset
from dptr.text.named_patterns import NAMED_PATTERNS
from dptr.text.patterns import PATTERNS
from dptr.utils.resize import fit
from dptr.utils.terminal import align_columns

SIGNS = Path(__file__).resolve().parents[2] / "recipes" / "synth" / "signs.toml"
PLATES = (  # the formats of at least five plates of plates-us/train; a gap may be read as a hyphen
    "[0-9]{3}-?[A-Z]{3}|[A-Z]{3}-?[0-9]{3,4}|[A-Z]{2}-?[0-9]{3,4}|[0-9]{4}-?[A-Z]{2}|[0-9]{2}-?[A-Z]{2}-?[0-9]{2}|"
    "[0-9][A-Z]{3}[0-9]{3}|[A-Z]{3}[0-9]{2}[A-Z]|[A-Z][0-9]{6}|[A-Z][0-9]{3}[A-Z]{2}|[0-9][A-Z]{2}[0-9]{3}|"
    "[A-Z]{2}[0-9][A-Z][0-9]{3}|[0-9]{4,5}[A-Z]|[0-9]{4,7}|[A-Z]{5,7}"
)
DISPLAYS = "[12]?[0-9]{2}|[0-9]{1,2}[.][0-9]"  # the formats of displays/train
DAYS = "(0[1-9]|[12][0-9]|3[01])[.](0[1-9]|1[0-2])[.](19|20)[0-9]{2}"
SEED = 1

Crops = list[tuple[np.ndarray, str]]


@dataclass
class Table:
    """Rows of measurements."""

    rows: list[tuple[str, ...]]

    def add(self, name: str, crops: Crops, before: Reader, after: Reader, fits: Callable[[str], bool]) -> None:
        """Read crops with two readers, and compare the errors on the crops whose label is an expected text."""
        fold = protocol("36")
        (free, free_ms), (guided, guided_ms) = (
            _read(reader, [crop for crop, _ in crops]) for reader in (before, after)
        )
        fitting = [fits(label) for _, label in crops]
        wrong = [
            sum(fold(one.text) != fold(label) for one, (_, label), fit in zip(each, crops, fitting, strict=True) if fit)
            for each in (free, guided)
        ]
        refused = [
            sum(not one.fits for one, fit in zip(guided, fitting, strict=True) if fit == expected)
            for expected in (True, False)
        ]
        count = sum(fitting)
        cut = f"{1 - wrong[1] / wrong[0]:.0%}" if wrong[0] else ""
        self.rows.append(
            (
                name, str(count), *(f"{each} ({1 - each / count:.1%})" for each in wrong), cut, f"{refused[0]}",
                f"{refused[1]} of {len(crops) - count}", f"{free_ms:.1f}", f"{guided_ms:.1f}",
            )
        )  # fmt: skip
        print(align_columns(self.rows[-1:]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder DPTR_DATA")
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--folder", default="test", help="the folder of each data set to read")
    parser.add_argument("--photographs", default="", help="a folder of backgrounds; default: procedural ones")
    parser.add_argument("--fonts", nargs="*", default=[], help="folders; none = the system's")
    parser.add_argument("--rendered", type=int, default=1000, help="crops of each kind")
    options = parser.parse_args()
    free = Reader(options.model)
    head = "set", "fitting", "wrong before", "wrong after", "cut", "refused", "of others", "ms before", "ms after"
    table = Table([head])
    for name, pattern in (("plates-us", PLATES), ("displays", DISPLAYS)):
        crops = load(options.data / name / options.folder, free)
        expected = Reader(options.model, pattern=pattern)
        table.add(name, crops, free, expected, lambda label, regex=pattern: matches(regex, label))  # type: ignore[misc]
    config = {"font_split": "heldout", "fonts": tuple(options.fonts), "backgrounds": options.photographs}
    rendered = (("dates of one form", "date", DAYS), ("dates", "date", "date"), ("prices", "price", "price"))
    for title, name, pattern in rendered:
        crops = render(name, NAMED_PATTERNS.get(pattern, pattern), options.rendered, config, free)
        table.add(title, crops, free, Reader(options.model, pattern=pattern), lambda label: True)
    for name in ("iiit5k", "ic15"):
        if (options.data / name / options.folder).is_dir():
            crops = load(options.data / name / options.folder, free)
            words = {folded for _, label in crops if (folded := protocol("36")(label))}
            expected = Reader(options.model, charset="36", lexicon=sorted(words))
            table.add(f"{name}, {len(words)} words", crops, free, expected, lambda label: bool(protocol("36")(label)))
    print(align_columns(table.rows))


def matches(pattern: str, label: str) -> bool:
    return re.fullmatch(pattern, label.upper()) is not None


def load(folder: Path, reader: Reader) -> Crops:
    dataset = open_labeled(folder)
    return [(fit(dataset.image(index), reader.size), dataset.label(index)) for index in range(len(dataset))]


def render(name: str, pattern: str, count: int, config: dict[str, Any], reader: Reader) -> Crops:
    """Render ``count`` strings of the corpus's kind ``name`` that match a pattern; the same ones in each call."""
    renderer = Renderer(load_recipe(SynthRecipe, SIGNS).render.model_copy(update=config), SEED, size=reader.size)
    charset = resolve_charset("94")
    matcher = re.compile(pattern)
    crops: Crops = []
    index = 0
    while len(crops) < count:
        text = PATTERNS[name](np.random.default_rng((SEED, index)), charset, 25)
        if matcher.fullmatch(text) and charset.covers(text):
            crops.append((renderer.render(text, index), text))
        index += 1
    return crops


def _read(reader: Reader, crops: list[np.ndarray]) -> tuple[list[Prediction], float]:
    """The readings, and the milliseconds per crop in batches."""
    reader.predict_arrays(crops[:8])
    begin = time.perf_counter()
    readings = reader.predict_arrays(crops)
    return readings, 1000 * (time.perf_counter() - begin) / len(crops)


if __name__ == "__main__":
    main()
