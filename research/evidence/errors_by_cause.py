"""Measure the accuracy on rendered words with one effect each, and by the kind of font.

    python research/evidence/errors_by_cause.py --model dptr-en --photographs $DPTR_DATA/natural

The causes of errors on real crops are unknown; those of rendered crops are known. Words and fonts are held out, and the
protocol is 36. In the first table, all crops of a row have the same single effect (``dptr.config.effects``). The second
table shows crops of the preset ``signs``, as in training, by the traits of the font.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from dptr.config.effects import KIND_NAMES, Effects
from dptr.config.load import load_recipe
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.train import SynthRecipe
from dptr.evaluation.metrics import protocol
from dptr.inference.reader import Reader
from dptr.synth import Renderer
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.utils.terminal import align_columns

SIGNS = Path(__file__).resolve().parents[2] / "recipes" / "synth" / "signs.toml"
NEEDS = {"double_outline": {"outline": 1.0}}  # effects that another effect requires
LEFT_OUT = ("quarter_turn", "two_lines")  # a reader rotates such pictures itself; single words have no second line
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--photographs", default="", help="a folder of backgrounds; default: procedural ones")
    parser.add_argument("--fonts", nargs="*", default=[], help="folders; none = the system's")
    parser.add_argument("--words", type=int, default=400, help="words for each effect")
    parser.add_argument("--signs", type=int, default=6000, help="crops for the table of fonts")
    options = parser.parse_args()
    reader = Reader(options.model)
    common = {"backgrounds": options.photographs, "font_split": "heldout", "fonts": tuple(options.fonts)}
    plain = RenderConfig(preset="plain", **common)
    rows = [("nothing", accuracy(reader, source(plain), options.words))]
    for effect in Effects.model_fields:
        if effect not in (*LEFT_OUT, *KIND_NAMES) and (options.photographs or effect != "photograph"):
            config = plain.model_copy(update={"effects": {effect: 1.0, **NEEDS.get(effect, {})}})
            rows.append((effect, accuracy(reader, source(config), options.words)))
    print(f"{options.words} words an effect")
    print(
        align_columns(
            [("effect", "read"), *((name, f"{share:.1%}") for name, share in sorted(rows, key=lambda row: row[1]))]
        )
    )
    signs = load_recipe(SynthRecipe, SIGNS).render.model_copy(update=common)
    print(by_font(reader, source(signs), options.signs))


def source(config: RenderConfig) -> RenderedWords:
    """Words of one language, without punctuation, so that only the rendering affects the accuracy."""
    words = CorpusConfig(sources=(SourceConfig(kind="wordfreq"),), punctuation=0)
    return RenderedWords(Corpus(words, resolve_charset("94"), 25, SEED, "heldout"), Renderer(config, SEED))


def accuracy(reader: Reader, source: RenderedWords, count: int) -> float:
    return float(np.mean(read(reader, source, count)))


def read(reader: Reader, source: RenderedWords, count: int) -> list[bool]:
    """Whether each of the first ``count`` samples is read correctly."""
    fold = protocol("36")
    samples = [source.sample(index) for index in range(count)]
    readings = reader.read([crop for crop, _, _ in samples])
    return [fold(reading.text) == fold(word) for reading, (_, word, _) in zip(readings, samples, strict=True)]


def by_font(reader: Reader, source: RenderedWords, count: int) -> str:
    """Accuracy by the traits of the font (``dptr.synth.font_file``), and of the twelve families that are read worst."""
    right = read(reader, source, count)
    traits: dict[str, list[bool]] = defaultdict(list)
    families: dict[str, list[bool]] = defaultdict(list)
    for index, hit in enumerate(right):
        font = source.renderer.font_of(source.word(index), index)
        families[font.group].append(hit)
        for trait in font.traits or ("none of these",):
            traits[trait].append(hit)
    lines = [("font", "crops", "read"), ("all", str(count), f"{np.mean(right):.1%}")]
    lines += [(name, str(len(hits)), f"{np.mean(hits):.1%}") for name, hits in sorted(traits.items())]
    often = sorted((float(np.mean(hits)), name, len(hits)) for name, hits in families.items() if len(hits) >= 20)
    lines += [(name, str(number), f"{share:.1%}") for share, name, number in often[:12]]
    misread = sorted((len(hits) - sum(hits) for hits in families.values()), reverse=True)
    tenth = sum(misread[: max(1, len(misread) // 10)]) / max(1, sum(misread))
    return f"{align_columns(lines)}\na tenth of {len(families)} families has {tenth:.0%} of the misread words"


if __name__ == "__main__":
    main()
