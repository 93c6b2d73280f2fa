"""Whether text-only pre-training helps in other scripts: eight languages, rendered crops only (no photographs at hand).

    python research/evidence/languages.py --photographs PHOTOGRAPHS --out runs/languages

A language at a time, all from its own words and fonts: a pack, a glyph dual encoder aligned on it (from the English
one, which saw no word of it), residuals, a decoder taught on text, and two fine-tunings on 1,000 labeled crops, half
of each batch from the pack, with that decoder and with one from scratch. Fonts are those that draw nine tenths of the
language's letters. Validation and test crops are in a fifth of these font families and on a fifth of PHOTOGRAPHS, which
nothing was trained on. Native protocol. Runs are resumable: start the same command anew at any time. Each computes with
one thread, ``--jobs`` at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

from jobs import RECIPES, Job, done, finish, network, scores, told

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
    parser.add_argument("--steps", type=int, default=3000, help="of alignment")
    parser.add_argument("--start", default="glyph-en", help="the encoder that alignment goes on from; '' for none")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    options = parser.parse_args()
    if not options.table:
        split_photographs(options.photographs, options.out)
        finish([job for code in options.languages for job in jobs(options, code)], options.out, options.jobs)
    print(table(options.languages, options.out))


def split_photographs(photographs: Path, out: Path) -> None:
    """Links to four fifths of the photographs in ``grounds-train``, to the others in ``grounds-heldout``."""
    files = sorted(path for path in photographs.iterdir() if path.is_file())
    for number, path in enumerate(files):
        folder = out / ("grounds-train" if number % 5 else "grounds-heldout")
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / path.name).exists():
            os.symlink(path.resolve(), folder / path.name)


def jobs(options: argparse.Namespace, code: str) -> list[Job]:
    """Everything for one language, in order."""
    out: Path = options.out
    trained, heldout = (f"render.fonts={json.dumps(files)}" for files in split_fonts(code))

    def rendered(name: str, count: int, seed: int, split: str, form: str) -> Job:
        settings = (f"charset={code}", f"seed={seed}", trained if split == "train" else heldout)
        grounds = f"render.backgrounds={out / f'grounds-{split}'}"
        return Job(f"{name}-{code}", ("synth", "--count", str(count), "--format", form, *told(*settings, grounds)))

    model = out / f"glyph-{code}" / "model"
    pack, photographs = out / f"pack-{code}", f"render.backgrounds={out / 'grounds-train'}"
    align = (
        "align", "--config", str(RECIPES / "evidence" / "language.toml"),
        *told(f"pack={pack}", photographs, trained, f"glyph.charset={code}", f"run.steps={options.steps}"),
        *(told(f"init.glyph={options.start}", "ramp=0") if options.start else ()),
    )  # fmt: skip
    text = (
        "pretrain", "--config", str(RECIPES / "evidence" / "text.toml"),
        *told(f"model.charset={code}", f"dual.model={model}", f"orp.bank={out / f'residuals-{code}'}"),
        *told("orp.strength=1", "orp.positions=aligned"),
    )  # fmt: skip
    finetune = (
        "finetune", "--config", str(RECIPES / "evidence" / "gain.toml"), *network("parseq"),
        "--data", str(out / f"labeled-{code}"),
        *told(f"data.pack={pack}", photographs, trained, f"data.validation=[\"{out / f'validation-{code}'}\"]"),
        *told(f"init.glyph={model}", f"model.charset={code}", f"run.steps={STEPS}", "render.font_split=all"),
    )  # fmt: skip
    sets = (f"glyph-{code}", f"labeled-{code}", f"validation-{code}", f"test-{code}")

    def read(start: str) -> Job:
        arguments = ("eval", str(out / f"test-{code}"), "--protocol", "native")
        recognizer = out / f"{start}-{code}" / "model"
        needs = (f"{start}-{code}",)
        return Job(f"{start}-{code}-read", (*arguments, "--model", str(recognizer)), needs, flags=("--json",))

    bank = ("bank", "--pack", str(pack), "--model", str(model))
    decoder = told(f"init.decoder={out / f'decoder-{code}' / 'model'}")
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
    """Files of the families that draw the language, four fifths and, by a hash of their names, one fifth of them."""
    letters = [char for char in LANGUAGES[code].charset if not char.isascii() and char.isalpha()]
    families: dict[str, set[str]] = {}
    for font in find_fonts():
        if sum(letter in font for letter in letters) >= 0.9 * len(letters):
            families.setdefault(font.group, set()).add(font.path)
    ordered = sorted(families, key=lambda name: hashlib.blake2b(name.encode()).digest())
    if len(ordered) < 2:
        sys.exit(f"evidence: {len(ordered)} font families draw '{code}'; two are needed; run scripts/fonts.sh")
    held = set().union(*(families[name] for name in ordered[: max(1, round(len(ordered) / 5))]))
    trained = set().union(*(families[name] for name in ordered)) - held
    return sorted(trained), sorted(held)


def table(codes: list[str], out: Path) -> str:
    """Markdown: spelling after alignment and stage 1, reading of validation crops before labels and test after."""
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
    """The highest of a value that a run has logged."""
    records = map(json.loads, (folder / "log.jsonl").read_text(encoding="utf-8").splitlines())
    return max(record[key] for record in records if key in record)


def result(report: Path) -> float:
    """Word accuracy in a report of ``dptr eval``."""
    return float(json.loads(report.read_text(encoding="utf-8"))["results"][0]["word_accuracy"])


if __name__ == "__main__":
    main()
