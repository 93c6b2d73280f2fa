"""Measure the gain of text-only pre-training in eight languages, on rendered crops only.

    python research/evidence/languages.py --photographs PHOTOGRAPHS --out runs/languages

No labeled photographs in these languages were available. For each language, the script renders a pack from its words
and fonts, and aligns a glyph dual encoder on the pack (starting from the English one, which saw none of these words).
It makes residuals, and pre-trains a decoder on text. Then it fine-tunes twice on 1,000 labeled crops, with half of each
batch from the pack: with this decoder, and with a decoder from scratch.

Fonts must cover nine tenths of the language's letters. Validation and test crops use a fifth of the font families and a
fifth of PHOTOGRAPHS, which no training uses. The protocol is native. Runs are resumable: start the same command again
at any time. Each run uses one thread, and ``--jobs`` run at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

from jobs import RECIPES, Job, done, finish, network, scores, set_options

from dptr.models.checkpoint import open_checkpoint
from dptr.synth.fonts import find_fonts
from dptr.text.languages import LANGUAGES

CODES = ("de", "ru", "ar", "hi", "bn", "ko", "ja", "zh")
LABELED, VALIDATION, TEST = 1000, 500, 1000  # crops
STEPS = 300  # of fine-tuning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of natural photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(CODES), metavar="CODE")
    parser.add_argument("--crops", type=int, default=60_000, help="rendered crops in a language's pack")
    parser.add_argument("--steps", type=int, default=3000, help="steps of alignment")
    parser.add_argument("--start", default="glyph-en", help="the encoder that alignment starts from; '' for none")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--table", action="store_true", help="only print the results of finished runs")
    options = parser.parse_args()
    if not options.table:
        split_photographs(options.photographs, options.out)
        finish([job for code in options.languages for job in jobs(options, code)], options.out, options.jobs)
    print(table(options.languages, options.out))


def split_photographs(photographs: Path, out: Path) -> None:
    """Link four fifths of the photographs into ``grounds-train``, and the others into ``grounds-heldout``."""
    files = sorted(path for path in photographs.iterdir() if path.is_file())
    for number, path in enumerate(files):
        folder = out / ("grounds-train" if number % 5 else "grounds-heldout")
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / path.name).exists():
            os.symlink(path.resolve(), folder / path.name)


def jobs(options: argparse.Namespace, code: str) -> list[Job]:
    """All runs for one language, in order."""
    out: Path = options.out
    trained, heldout = (f"render.fonts={json.dumps(files)}" for files in split_fonts(code))

    def rendered(name: str, count: int, seed: int, split: str, form: str) -> Job:
        settings = (f"charset={code}", f"seed={seed}", trained if split == "train" else heldout)
        grounds = f"render.backgrounds={out / f'grounds-{split}'}"
        return Job(
            f"{name}-{code}", ("synth", "--count", str(count), "--format", form, *set_options(*settings, grounds))
        )

    model = out / f"glyph-{code}" / "model"
    pack, photographs = out / f"pack-{code}", f"render.backgrounds={out / 'grounds-train'}"
    align = (
        "align", "--config", str(RECIPES / "evidence" / "language.toml"),
        *set_options(f"pack={pack}", photographs, trained, f"glyph.charset={code}", f"run.steps={options.steps}"),
        *(set_options(f"init.glyph={options.start}", "ramp=0") if options.start else ()),
    )  # fmt: skip
    text = (
        "pretrain", "--config", str(RECIPES / "evidence" / "text.toml"),
        *set_options(f"model.charset={code}", f"dual.model={model}", f"orp.bank={out / f'residuals-{code}'}"),
        *set_options("orp.strength=1", "orp.positions=aligned"),
    )  # fmt: skip
    finetune = (
        "finetune", "--config", str(RECIPES / "evidence" / "gain.toml"), *network("parseq"),
        "--data", str(out / f"labeled-{code}"),
        *set_options(f"data.pack={pack}", photographs, trained, f"data.validation=[\"{out / f'validation-{code}'}\"]"),
        *set_options(f"init.glyph={model}", f"model.charset={code}", f"run.steps={STEPS}", "render.font_split=all"),
    )  # fmt: skip
    sets = (f"glyph-{code}", f"labeled-{code}", f"validation-{code}", f"test-{code}")

    def read(start: str) -> Job:
        arguments = ("eval", str(out / f"test-{code}"), "--protocol", "native")
        recognizer = out / f"{start}-{code}" / "model"
        needs = (f"{start}-{code}",)
        return Job(f"{start}-{code}-read", (*arguments, "--model", str(recognizer)), needs, flags=("--json",))

    bank = ("bank", "--pack", str(pack), "--model", str(model))
    decoder = set_options(f"init.decoder={out / f'decoder-{code}' / 'model'}")
    return [
        rendered("pack", options.crops, 0, "train", "pack"),
        rendered("labeled", LABELED, 1, "train", "folder"),
        rendered("validation", VALIDATION, 2, "heldout", "folder"),
        rendered("test", TEST, 3, "heldout", "folder"),
        Job(f"glyph-{code}", align, (f"pack-{code}",)),
        Job(f"residuals-{code}", bank, (f"glyph-{code}",), flags=()),
        Job(f"decoder-{code}", text, (f"residuals-{code}",)),
        Job(f"scratch-{code}", finetune, sets),
        Job(f"text-{code}", (*finetune, *decoder), (*sets, f"decoder-{code}")),
        read("scratch"),
        read("text"),
    ]


def split_fonts(code: str) -> tuple[list[str], list[str]]:
    """Split the font files that cover a language: four fifths of the families for training, one fifth held out.

    A hash of the family's name decides.
    """
    letters = [char for char in LANGUAGES[code].charset if not char.isascii() and char.isalpha()]
    families: dict[str, set[str]] = {}
    for font in find_fonts():
        if sum(letter in font for letter in letters) >= 0.9 * len(letters):
            families.setdefault(font.group, set()).add(font.path)
    ordered = sorted(families, key=lambda name: hashlib.blake2b(name.encode()).digest())
    if len(ordered) < 2:
        sys.exit(f"evidence: {len(ordered)} font families draw '{code}'; two are needed; run scripts/fonts.sh")
    heldout = set().union(*(families[name] for name in ordered[: max(1, round(len(ordered) / 5))]))
    trained = set().union(*(families[name] for name in ordered)) - heldout
    return sorted(trained), sorted(heldout)


def table(codes: list[str], out: Path) -> str:
    """Markdown: spelling accuracy after alignment and stage 1, validation accuracy before fine-tuning, test after."""
    columns = ("language", "characters", "slots spell", "decoder spells", "before labels", "from scratch", "from text")
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    for code in codes:
        if all(done(out / f"{start}-{code}-read") for start in ("scratch", "text")):
            slots = best(out / f"glyph-{code}", "validation_word_accuracy")
            words = best(out / f"decoder-{code}", "validation_held_out_words")
            before = scores(out / f"text-{code}")[0]
            tests = [result(out / f"{start}-{code}-read") for start in ("scratch", "text")]
            size = len(open_checkpoint(out / f"text-{code}" / "model").charset)
            cells = [f"{100 * value:.1f} %" for value in (slots, words, before, *tests)]
            lines.append(f"| {LANGUAGES[code].name} | {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def best(folder: Path, key: str) -> float:
    """The highest logged value of a run."""
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return max(record[key] for record in records if key in record)


def result(report: Path) -> float:
    """Word accuracy in a report of ``dptr eval``."""
    return float(json.loads(report.read_text(encoding="utf-8"))["results"][0]["word_accuracy"])


if __name__ == "__main__":
    main()
