"""Measure how often ``AutoReader`` reports scripts without an installed recognizer, correctly and wrongly.

    python research/evidence/missing_scripts.py --fonts FONTS --photographs $DPTR_DATA/natural --out runs/missing \\
        --data $DPTR_DATA/{iiit5k,ic15,mlt-latin,receipts,wire-markers}/train

The script renders held-out words in held-out font families, in capitals and in mixed case, and reads them as if only
``dptr-latin`` were installed. *Said*: a script is reported as missing. *Shown*: none is reported, and the confidence is
0.4 or more; words of a missing script are then misread silently. *Lost*: words that ``dptr-latin`` reads correctly with
a confidence of 0.4 or more, but that ``AutoReader`` does not show. Needs [train].
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from dptr.config.load import load_recipe
from dptr.config.train import SynthRecipe
from dptr.data.labeled import open_labeled
from dptr.inference.auto import AutoReader
from dptr.inference.reader import Reader
from dptr.synth import FontIndex, Renderer, find_fonts
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.scripts import SCRIPTS, script_of_text
from dptr.training.resolve import resolve_synth
from dptr.utils.terminal import markdown_table
from recognizers import RECIPE

SEED = 500_001
SHOWN = 0.4  # lowest confidence of a word that ``dptr ocr`` shows
DRAWN = {"cyrillic": "Cyrillic", "el": "Greek", "latin": "Latin"}
STYLES = {"capitals": (1.0, 0.0), "as they come": (0.1, 0.3)}  # fractions of words in upper case, and in title case


@dataclass(frozen=True)
class Word:
    """A crop and its text."""

    image: Image.Image
    label: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=400, help="of each kind")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--fonts", nargs="*", default=[], help="folders or files; default: those of the system")
    parser.add_argument("--photographs", default="", help="a folder of backgrounds")
    parser.add_argument("--data", type=Path, nargs="*", default=(), help="folders of labeled Latin crops")
    options = parser.parse_args()
    with patch("dptr.inference.zoo.find_packages", dict):
        auto = AutoReader()
    alone = Reader()
    rows: list[tuple[str, ...]] = [("words", "crops", "said", "shown", "lost")]
    for language, script in DRAWN.items():
        for style, shares in STYLES.items():
            words = draw(language, script, shares, options)
            rows.append((f"{script}, {style}", *measure(words, auto, alone)))
    for folder in options.data:
        rows.append(("/".join(folder.parts[-2:]), *measure(sample(folder, options), auto, alone)))
    print(markdown_table(rows))


def draw(language: str, script: str, shares: tuple[float, float], options: argparse.Namespace) -> list[Word]:
    """Render words of a script, without punctuation, numbers, and phrases."""
    upper, title = shares
    settings = [f"charset={language}+space", "corpus.phrases=0", "corpus.punctuation=0", "corpus.mixed=0"]
    settings += [f"corpus.upper={upper}", f"corpus.title={title}"]
    recipe = resolve_synth(load_recipe(SynthRecipe, RECIPE, settings))
    listed = tuple(source for source in recipe.corpus.sources if source.kind != "pattern")
    corpus = Corpus(
        recipe.corpus.model_copy(update={"sources": listed}), resolve_charset(recipe.charset), recipe.max_length,
        options.seed, "heldout",
    )  # fmt: skip
    looks = {"fonts": tuple(options.fonts), "backgrounds": options.photographs}
    render = recipe.render.model_copy(update=looks | {"effects": recipe.render.effects | {"empty": 0.0}})
    size = recipe.size.model_copy(update={"width": recipe.size.height})
    fonts = FontIndex(find_fonts(options.fonts), "heldout")
    source = RenderedWords(corpus, Renderer(render, options.seed, fonts, size))
    words: list[Word] = []
    index = 0
    while len(words) < options.crops:
        crop, label, _ = source.sample(index)
        index += 1
        if script_of_text(label) == script:
            words.append(Word(Image.fromarray(crop), label))
    return words


def sample(folder: Path, options: argparse.Namespace) -> list[Word]:
    """A random sample of labeled crops, including those without letters."""
    dataset = open_labeled(folder)
    paths = [folder / line.split("\t")[0] for line in (folder / "labels.tsv").read_text("utf-8").splitlines()]
    rows = sorted(np.random.default_rng(options.seed).permutation(len(paths))[: options.crops].tolist())
    return [Word(Image.open(paths[row]).convert("RGB"), dataset.label(row)) for row in rows]


def measure(words: Sequence[Word], auto: AutoReader, alone: Reader) -> tuple[str, ...]:
    """The number of words, and the percentages said, shown, and lost."""
    images = [word.image for word in words]
    auto_readings, latin_readings = auto.read(images), alone.read(images)
    said = [each.script in SCRIPTS and each.script not in auto.recognizers for each in auto_readings]
    shown = [not missing and each.confidence >= SHOWN for missing, each in zip(said, auto_readings, strict=True)]
    right = [
        each.text.casefold() == word.label.casefold() and each.confidence >= SHOWN
        for each, word in zip(latin_readings, words, strict=True)
    ]
    lost = [correct and not visible for correct, visible in zip(right, shown, strict=True)]
    return (f"{len(words):,}", *(f"{100 * float(np.mean(each)):.1f} %" for each in (said, shown, lost)))


if __name__ == "__main__":
    main()
