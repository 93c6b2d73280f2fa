"""``make demo``: DPTR on two cores in a few minutes, without a download.

First, the shipped model reads crops. Then the script runs the whole method in miniature, with the ordinary commands: a
few steps of alignment, pre-training of a decoder on text tokens, and fine-tuning of two recognizers on the same few
labeled crops with the same budget, one with the pre-trained decoder and one with a fresh decoder. The script renders
all crops in the embedded fonts. Those of stage 2 show letters made of lamps, as on displays; the training of the dual
encoder had no such crops.

The script always uses one thread and one rendering process, so that sums do not depend on the number of cores. The
numbers depend on the kind of CPU and the versions in constraints.txt, but not on the machine's fonts, folders, or
environment variables.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from dptr.cli import app as cli
from dptr.config.load import load_recipe
from dptr.config.render import CorpusConfig, RenderConfig
from dptr.config.train import FinetuneRecipe
from dptr.data.labeled import open_labeled
from dptr.evaluation.evaluate import Result, evaluate
from dptr.evaluation.metrics import PROTOCOLS
from dptr.inference.reader import Reader
from dptr.models.checkpoint import card_of, save_checkpoint
from dptr.models.recognizer import build_recognizer
from dptr.synth import EMBEDDED, FontIndex, Renderer, find_fonts
from dptr.synth.source import RenderedWords
from dptr.text.charset import resolve_charset
from dptr.text.corpus import Corpus
from dptr.text.rules import Split
from dptr.training.initialize import initialize
from dptr.training.resolve import resolve_finetune
from dptr.utils.errors import UserError

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
SAMPLES, LABELED, TEST = 12, 500, 1000  # crops
FONTS = {"render.fonts": [str(EMBEDDED)]}  # only the embedded fonts, not those of the system
LAMPS = RenderConfig(effects={"dots": 1.0})

Row = tuple[str, int, Result]  # name of the recognizer, labeled crops in its training, result


def main() -> None:
    parser = argparse.ArgumentParser(description="DPTR in miniature.")
    parser.add_argument("--model", default="dptr-en", help="the recognizer that reads the samples")
    parser.add_argument("--glyph", default="glyph-en", help="the dual encoder for stages 1 and 2")
    parser.add_argument("--seed", type=int, default=0, help="of crops, weights, and orders from stage 1 on")
    parser.add_argument("--out", type=Path, help="the folder for all files; default: a new temporary folder")
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="dptr-demo-"))
    begun = time.monotonic()
    torch.set_num_threads(1)  # the order of sums depends on the number of threads
    try:
        with section("1. Reading word crops"):
            read_samples(arguments.model, out)
        with section("2. Alignment: a dual encoder learns that a rendered word and its spelling belong together"):
            align(out)
        with section(
            "3. Stage 1: a decoder learns to spell from text tokens; perturbed by residuals of rendered crops"
        ):
            decoder = pretrain(arguments.glyph, out, arguments.seed)
        with section(f"4. Stage 2: {LABELED} crops of displays, once with that decoder and once with a fresh one"):
            print_table(finetune(arguments.glyph, decoder, out, arguments.seed), arguments.seed)
    except UserError as error:
        sys.exit(f"demo: error: {error}")
    print(f"\nIn all {time.monotonic() - begun:.0f} s. Models, crops and logs are in {out}")


def rendered(split: Split, seed: int, config: RenderConfig) -> RenderedWords:
    """Words of one split in the embedded fonts of that split. Alignment never uses the held-out fonts."""
    corpus = Corpus(CorpusConfig(), resolve_charset("94"), 25, seed, split)
    return RenderedWords(corpus, Renderer(config, seed, FontIndex(find_fonts([EMBEDDED]), split)))


def write_crops(source: RenderedWords, count: int, folder: Path) -> Path:
    """Write a data set in the usual form: pictures and ``labels.tsv``."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for index in range(count):
        crop, word, _ = source.sample(index)
        Image.fromarray(crop).save(folder / "images" / f"{index:04d}.png")
        lines.append(f"images/{index:04d}.png\t{word}\n")
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def read_samples(model: str, out: Path) -> None:
    """Read rendered words in fonts that no training has used."""
    print_reading(Reader(model), write_crops(rendered("heldout", 10, RenderConfig()), SAMPLES, out / "samples"))


def print_reading(reader: Reader, folder: Path) -> None:
    """Print the label and the reading of each crop of a data set."""
    dataset = open_labeled(folder)
    rows = range(len(dataset))
    fold = PROTOCOLS["36"]
    right = 0
    print(f"{folder}\n{'label':>20}  {'read':<20} confidence")
    for row, word in zip(rows, reader.read([dataset.image(row) for row in rows]), strict=True):
        label = dataset.label(row)
        hit = fold(word.text) == fold(label)
        right += hit
        print(f"{label:>20}  {word.text:<20} {word.confidence:10.2f}{'' if hit else '  wrong'}")
    print(f"{right} of {len(rows)} right (letters and digits, case aside)")


def align(out: Path) -> None:
    """Run sixteen steps, which show the loss falling. The later stages use the shipped dual encoder."""
    command("align", "demo-align.toml", out / "align", FONTS)
    log = [json.loads(line) for line in (out / "align" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [record["loss"] for record in log if "loss" in record]
    print(
        f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; reading takes half an hour of this: the rest uses the shipped one"
    )


def pretrain(glyph: str, out: Path, seed: int) -> Path:
    """Pre-train the decoder, and return its folder."""
    command("pretrain", "demo-pretrain.toml", out / "text", {"dual.model": glyph, "run.seed": seed})
    decoder = out / "text" / "model"
    for result in card_of(decoder)["results"]:
        print(f"spells {result['word_accuracy']:.1%} of {result['data'].replace('_', ' ')} from their text tokens")
    return decoder


def finetune(glyph: str, decoder: Path, out: Path, seed: int) -> list[Row]:
    """Evaluate three recognizers: one joined from its parts without training, and one fine-tuned with each decoder."""
    crops = write_crops(rendered("train", 100 + seed, LAMPS), LABELED, out / "crops" / "train")
    test = write_crops(rendered("heldout", 200 + seed, LAMPS), TEST, out / "crops" / "test")
    fresh: dict[str, Any] = {"init.glyph": glyph, "data.train": [str(crops)], "run.seed": seed}
    taught = fresh | {"init.decoder": str(decoder)}
    command("finetune", "demo-finetune.toml", out / "fresh", fresh)
    command("finetune", "demo-finetune.toml", out / "taught", taught)
    models = [
        ("pre-trained on text, as it is", 0, join(taught, out / "joined")),
        ("fresh, fine-tuned", LABELED, out / "fresh" / "model"),
        ("pre-trained on text, fine-tuned", LABELED, out / "taught" / "model"),
    ]
    return [(name, count, evaluate(Reader(folder), [test]).results[0]) for name, count, folder in models]


def join(settings: dict[str, Any], folder: Path) -> Path:
    """Write the recognizer that stage 2 starts from: encoder and FMU of the dual encoder, decoder of stage 1."""
    settings = {**settings, "data.rendered": 1}  # no labeled crops are needed
    resolved = resolve_finetune(load_recipe(FinetuneRecipe, RECIPES / "demo-finetune.toml", overrides(settings)))
    recipe, charset = resolved.recipe, resolved.charset
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_recognizer(recipe.model, len(charset))
    initialize(model, resolved)
    save_checkpoint(folder, "recognizer", model, recipe.model, charset, {}, {})
    return folder


def print_table(rows: list[Row], seed: int) -> None:
    """Print the gain of pre-training on text tokens."""
    n = rows[0][2].n
    print(f"\n{'decoder':<32}{'labeled crops':>15}{'word accuracy':>15}{'1-NED':>9}")
    worst = 0.0
    for name, count, result in rows:
        accuracy, similarity = result.word_accuracy or 0.0, result.one_minus_ned or 0.0
        worst = max(worst, math.sqrt(accuracy * (1 - accuracy) / n))
        print(f"{name:<32}{count:>15}{accuracy:>15.1%}{similarity:>9.1%}")
    print(f"{n} words of lamps, held out of all text, in fonts held out; protocol 36; seed {seed}; "
          f"standard error up to {worst:.1%}.")  # fmt: skip
    print("Both fine-tunings: the same encoder, FMU, crops and number of steps, too few for a fresh decoder to learn "
          "to spell.")  # fmt: skip


def overrides(settings: dict[str, Any]) -> list[str]:
    """Settings as ``--set`` options."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def command(name: str, recipe: str, out: Path, settings: dict[str, Any]) -> None:
    """Print a command line and run it here."""
    sets = [word for override in overrides(settings) for word in ("--set", override)]
    words = [name, "--config", str(RECIPES / recipe), *sets, "--out", str(out)]
    print(f"$ dptr {shlex.join(words)}", flush=True)
    if code := cli.run(words):
        sys.exit(code)


@contextmanager
def section(title: str) -> Iterator[None]:
    """Print a heading, and after the ``with`` block the seconds that it took."""
    begun = time.monotonic()
    print(f"\n=== {title}", flush=True)
    yield
    print(f"({time.monotonic() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
