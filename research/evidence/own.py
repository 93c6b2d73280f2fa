"""Measure ``dptr finetune --data CROPS`` with default settings on a few hundred crops of a user's domain.

    DPTR_DATA=... python research/evidence/own.py --domain plates --base dptr-en --out runs/own
    DPTR_DATA=... python research/evidence/own.py --domain ic15 --base BASE --out runs/own

The domains are:

- ``ic15``: crops of ``ic15/train``, for a BASE that has not seen IC15 (a stage 2 run on only ``iiit5k/train``). The
  remaining crops of ``ic15/train`` are read before and after.
- ``plates``: words of the pattern AB-123-CD, rendered with the preset ``plates`` in three held-out font families, which
  are sans-serif or monospaced and which no training has used. 1,000 other crops are read.
- ``codes``: the same with the words of the preset: license plates of all kinds, codes, numbers, and dates.
- ``meters``: numbers in seven-segment fonts (Debian's fonts-dseg), which no training has seen.

Test folders are not used. The result of a finished run is only printed. An interrupted run is resumed; the printed
minutes are then those of the resumed part.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import string
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from dptr.data.labeled import LABELS, open_labeled
from dptr.synth.fonts import FontIndex
from dptr.text.charset import CHARSETS
from dptr.utils.files import read_json, write_json

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
TEST = 1000  # rendered crops
FAMILIES = 3
SEGMENTS = Path("/usr/share/fonts/truetype/dseg")
READINGS = (3, 4, 5, 6)  # digits
PLATES = 20_000  # words to draw from
REQUIRED = "".join(CHARSETS["36"]) + "-.:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", choices=DOMAINS, required=True)
    parser.add_argument("--base", default="dptr-en", help="the recognizer to start from")
    parser.add_argument("--crops", type=int, default=500, help="crops to train on")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of crops, and of training")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--name", default="default", help="the name of the run, to tell runs with --set apart")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("evidence: DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
    data = Path(os.environ["DPTR_DATA"]).absolute()
    out = options.out.absolute() / f"{options.domain}-{options.crops}-{options.seed}"
    train, test = DOMAINS[options.domain](data, options.crops, options.seed, out)
    run = out / options.name
    if (run / "result.json").exists():
        print((run / "result.json").read_text(encoding="utf-8"))
        return
    before = accuracy(test, options.base, out / "before.json")
    began = time.monotonic()
    changes = [f"run.seed={options.seed}", f"render.backgrounds={data / 'natural'}", "render.font_split=train"]
    changes += options.overrides
    dptr("finetune", "--data", str(train), *(part for change in changes for part in ("--set", change)),
         "--model", options.base, "--out", str(run), "--resume")  # fmt: skip
    minutes = (time.monotonic() - began) / 60
    after = accuracy(test, str(run / "model"), run / "after.json")
    cut = (after - before) / (1 - before)
    settings = {"domain": options.domain, "crops": options.crops, "seed": options.seed, "base": options.base}
    write_json(run / "result.json", {**settings, "before": before, "after": after, "minutes": round(minutes, 1)})
    print(f"{options.domain}: {before:.1%} -> {after:.1%}, {cut:.0%} of the errors cut in {minutes:.1f} minutes")


def ic15(data: Path, count: int, seed: int, out: Path) -> tuple[Path, Path]:
    """``count`` random crops of ``ic15/train`` and the remaining ones, as folders of labels that point to pictures."""
    crops = open_labeled(data / "ic15" / "train")
    order = np.random.default_rng(seed).permutation(len(crops))
    folders = (out / "train", out / "test")
    for folder, rows in zip(folders, (order[:count], order[count:]), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{crops.path / crops.key(row)}\t{crops.label(row)}\n" for row in sorted(rows.tolist())]
        (folder / LABELS).write_text("".join(lines), encoding="utf-8")
    return folders


def codes(data: Path, count: int, seed: int, out: Path, sources: str = "") -> tuple[Path, Path]:
    """Crops of the preset ``plates`` in held-out fonts: ``count`` for training, and ``TEST`` of another seed.

    ``sources`` is TOML that replaces the word sources of the preset; its words are not changed in case.
    """
    return rendered(data, count, seed, out, fonts_of(seed), sources)


def fonts_of(seed: int) -> list[str]:
    """Upright faces of ``FAMILIES`` random held-out families, sans-serif or monospaced."""
    index = FontIndex(split="heldout")
    fonts = [font for font, covers in zip(index.fonts, index.covering(REQUIRED), strict=True) if covers]
    fonts = [font for font in fonts if {"sans", "mono"} & set(font.traits) and "italic" not in font.traits]
    families = sorted({font.group for font in fonts})
    chosen = set(np.random.default_rng(seed).choice(families, FAMILIES, replace=False).tolist())
    return [str(font.path) for font in fonts if font.group in chosen]


def rendered(data: Path, count: int, seed: int, out: Path, fonts: list[str], sources: str) -> tuple[Path, Path]:
    """Render the folders ``train`` and ``test`` with the preset ``plates``, unless they exist."""
    folders = (out / "train", out / "test")
    changes = [f"corpus.sources={sources}", *(f"corpus.{style}=0" for style in ("upper", "title", "mixed"))]
    words = [part for change in changes for part in ("--set", change)] if sources else []
    for folder, crops, number in zip(folders, (count, TEST), (seed, seed + 1000), strict=True):
        if not (folder / LABELS).exists():
            dptr("synth", "--config", str(RECIPES / "synth" / "plates.toml"), "--format", "folder",
                 "--count", str(crops), "--set", f"seed={number}", "--set", f"render.fonts={json.dumps(fonts)}", *words,
                 "--set", f"render.backgrounds={data / 'natural'}", "--out", str(folder))  # fmt: skip
    return folders


def plates(data: Path, count: int, seed: int, out: Path) -> tuple[Path, Path]:
    """``codes`` of two letters, three digits, and two letters."""
    rng, words = np.random.default_rng(seed), out / "plates.txt"
    letters, digits = list(string.ascii_uppercase), list(string.digits)
    parts = [
        np.apply_along_axis("".join, 1, rng.choice(of, (PLATES, n)))
        for of, n in ((letters, 2), (digits, 3), (letters, 2))
    ]
    out.mkdir(parents=True, exist_ok=True)
    words.write_text("".join(f"{'-'.join(each)}\n" for each in zip(*parts, strict=True)), encoding="utf-8")
    return codes(data, count, seed, out, f'[{{kind = "file", path = "{words}"}}]')


def meters(data: Path, count: int, seed: int, out: Path) -> tuple[Path, Path]:
    """Numbers of three to six digits, half of them with a decimal point, in all seven-segment faces of fonts-dseg."""
    fonts = sorted(str(path) for path in SEGMENTS.glob("DSEG7[CM]*.ttf"))
    if not fonts:
        sys.exit(f"evidence: no DSEG7 fonts in {SEGMENTS}; apt-get install fonts-dseg")
    rng, words = np.random.default_rng(seed), out / "readings.txt"
    digits = ["".join(rng.choice(list(string.digits), rng.choice(READINGS))) for _ in range(PLATES)]
    readings = [*digits[::2], *(f"{each[:-1]}.{each[-1]}" for each in digits[1::2])]
    out.mkdir(parents=True, exist_ok=True)
    words.write_text("".join(f"{each}\n" for each in readings), encoding="utf-8")
    return rendered(data, count, seed, out, fonts, f'[{{kind = "file", path = "{words}"}}]')


DOMAINS = {"ic15": ic15, "plates": plates, "codes": codes, "meters": meters}


def accuracy(folder: Path, model: str, report: Path) -> float:
    """Word accuracy under protocol 36."""
    report.parent.mkdir(parents=True, exist_ok=True)
    dptr("eval", "--data", str(folder), "--model", model, "--protocol", "36", "--json", "--out", str(report))
    return float(read_json(report, "report")["results"][0]["word_accuracy"])


def dptr(*arguments: str) -> None:
    print("dptr", shlex.join(arguments)[:300], flush=True)
    if code := subprocess.run([sys.executable, "-m", "dptr", *arguments], stdout=subprocess.DEVNULL).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main()
