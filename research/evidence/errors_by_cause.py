"""What makes a model misread: rendered words with one effect each, and by the kind of font.

    python research/evidence/errors_by_cause.py --model dptr-en --photographs $DPTR_DATA/natural

Held-out words in held-out fonts, protocol 36. Of real crops nobody knows what was done to them; of these it is known. A
row an effect: every crop has it, and none has another (``dptr.config.effects``). Then crops of the preset ``signs``, as
training has them, by what the font's face is.
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
NEEDS = {"double_outline": {"outline": 1.0}}  # what an effect has no sense without
LEFT_OUT = ("quarter_turn", "two_lines")  # a reader turns such pictures; single words have no second line
SEED = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--photographs", default="", help="a folder; without, grounds are procedural")
    parser.add_argument("--fonts", nargs="*", default=[], help="folders; none = the system's")
    parser.add_argument("--words", type=int, default=400, help="an effect")
    parser.add_argument("--signs", type=int, default=6000, help="crops to tell fonts apart by")
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
    """Words of one language alone: what is read of them is the renderer's doing."""
    words = CorpusConfig(sources=(SourceConfig(kind="wordfreq"),), punctuation=0)
    return RenderedWords(Corpus(words, resolve_charset("94"), 25, SEED, "heldout"), Renderer(config, SEED))


def accuracy(reader: Reader, source: RenderedWords, count: int) -> float:
    return float(np.mean(read(reader, source, count)))


def read(reader: Reader, source: RenderedWords, count: int) -> list[bool]:
    """Of the first ``count`` samples, which are read rightly."""
    fold = protocol("36")
    samples = [source.sample(index) for index in range(count)]
    found = reader.read([crop for crop, _, _ in samples])
    return [fold(one.text) == fold(word) for one, (_, word, _) in zip(found, samples, strict=True)]


def by_font(reader: Reader, source: RenderedWords, count: int) -> str:
    """By the traits of the font (``dptr.synth.font_file``), and the families that are read worst."""
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
