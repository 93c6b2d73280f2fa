"""What rendered crops are worth: one small recognizer trained on ours, on trdg's and on synthtiger's, read real crops.

    DPTR_DATA=... python research/bench/worth.py --out runs/worth
    DPTR_DATA=... python research/bench/worth.py --out runs/worth --ablate
    DPTR_DATA=... python research/bench/worth.py --out runs/worth --ablate --table

Each arm renders the same --crops words (``dptr synth``'s corpus, in its order) with the same fonts, those of this
system that have all of charset 94; trains the same network from nothing for the same steps with the same seed, one
thread (``research/recipes/evidence/worth.toml``); and reads the real crops of ``iiit5k/train`` and ``ic15/train``,
protocol 36.
Test sets are not touched. Photographs of ``natural`` are behind ours, and are synthtiger's textures; trdg brings its
own. Word accuracies, and the differences to ours in points with their standard errors, paired over crops; they do not
hold the spread over seeds (--seed).

- ours: recipes/synth/signs.toml. --ablate: again with one of ``GROUPS`` switched off at a time. --presets: other files
  of settings in its place.
- ours-places (--places): the same crops of ours, and where each letter stands, which the other renderers do not tell;
  the losses of alignment for naming each column and for where slots look have something to learn from then.
- trdg, synthtiger: as in research/bench/synth.py, with all effects of trdg's README. synthtiger's colors are clusters
  of the real train crops, as our palette is counted on them; the map in its repository was made of all of IIIT5K. It
  draws a full-width backslash for a backslash, so its words are the first --crops without one.

Trained by ``dptr align`` with ``co_training.images`` and CTC, and not by ``dptr finetune``, which has no loss but the
decoder's and stays on its plateau far longer from nothing (docs/LOG.md). Other renderers do not say where letters
stand, so ours do not either (NaN in the packs). Nothing is chosen by validation: the last state counts. If a scale is
too small for that, --ramp 0.1 lets plain words of our renderer, with places, lead in all arms alike.

What is done is not done again: start the same command anew at any time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engines import ONE_THREAD, RECIPES, ROOT, Worker, color_map, corpus_words, environment, font_folder

from dptr.config.effects import KIND_NAMES, Effects
from dptr.data.labeled import LABELS, open_labeled
from dptr.evaluation.evaluate import evaluate
from dptr.inference.reader import Reader
from dptr.synth import pack
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, write_json
from dptr.utils.resize import to_array
from dptr.utils.tensors import save_tensors

SETS = ("iiit5k/train", "ic15/train")
CHUNK = 200  # words a request
SPARE = 100  # words beyond those that synthtiger cannot draw, as some of their substitutes are such too
# Effects by group; --ablate sets all of one group to 0.
GROUPS: dict[str, tuple[str, ...]] = {
    "layout": (
        "curve", "rotation", "perspective", "letter_spacing", "neighbors", "slant", "letter_jitter", "large_initial",
        "quarter_turn", "wave", "vertical_text", "two_lines", "cut",
    ),
    "ink": (
        "outline", "double_outline", "shadow", "extrusion", "stroke_weight", "low_contrast", "wear", "emboss", "neon",
        "dots", "stencil", "chalk", "hollow", "occlusion",
    ),
    "ground": ("photograph", "gradient", "texture", "panel", "paper", "sign_board"),
    "camera": (
        "low_resolution", "blur", "defocus", "noise", "jpeg", "lighting", "exposure", "color_cast", "glare",
        "cast_shadow", "bloom", "sharpen", "chromatic_aberration", "grayscale",
    ),
}  # fmt: skip
NO_CORPUS = (
    'corpus.sources=[{kind="wordfreq"}]', "corpus.upper=0", "corpus.title=0", "corpus.mixed=0", "corpus.punctuation=0",
)  # fmt: skip
FEW_FAMILIES = 10
ABLATIONS = (*GROUPS, "corpus", "fonts")
PLACES = "ours-places"
ENGINES = ("ours", "trdg", "synthtiger")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=40_000, help="of each arm")
    parser.add_argument("--steps", type=int, default=3000, help="of 64 crops")
    parser.add_argument("--seed", type=int, default=0, help="of training; another one gets folders of its own")
    parser.add_argument(
        "--ramp", type=float, default=0.0, help="share of training that plain words with places lead in"
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument(
        "--presets", nargs="+", type=Path, default=[], metavar="TOML", help="also ours with other settings"
    )
    parser.add_argument("--ablate", action="store_true", help="ours with one group of effects off at a time")
    parser.add_argument("--places", action="store_true", help="also ours, told where each letter stands")
    parser.add_argument("--venv", type=Path, default=Path("runs/bench-venv"), help="environment of the other two")
    parser.add_argument("--clone", type=Path, help="a checkout of synthtiger's repository: its own template")
    parser.add_argument("--jobs", type=int, default=1, help="arms at once, one thread each")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("worth: DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
    torch.set_num_threads(1)  # arms are read at once too, and threads that wait for each other spin
    options.data = Path(os.environ["DPTR_DATA"]).absolute()
    options.out = options.out.absolute()
    arms = [*options.engines, *(f"ours-no-{group}" for group in ABLATIONS if options.ablate)]
    arms += [PLACES] if options.places else []
    options.presets = {f"ours-{path.stem}": path.absolute() for path in options.presets}
    arms += options.presets
    try:
        _check_groups()
        if not options.table:
            prepare(options, arms)
            with ThreadPoolExecutor(options.jobs) as pool:
                for _ in pool.map(lambda arm: work(arm, options), arms):
                    pass
    except UserError as error:
        sys.exit(f"worth: {error}; the same command goes on from here")
    print(table(options, arms))


def _check_groups() -> None:
    effects = set(Effects.model_fields) - {"black_or_white", *KIND_NAMES}
    grouped = [name for names in GROUPS.values() for name in names]
    if odd := (effects ^ set(grouped)) | {name for name in grouped if grouped.count(name) > 1}:
        raise UserError(
            f"GROUPS and the renderer's effects differ in {', '.join(sorted(odd))}; put each into one group"
        )


def prepare(options: argparse.Namespace, arms: Sequence[str]) -> None:
    """What several arms share: settings that must not change, fonts, colors, the other engines' environment.

    Raises:
        UserError: ``options.out`` was begun with other settings; see ``font_folder``, ``environment``.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    settings = {"crops": options.crops, "clone": bool(options.clone)}
    path = options.out / "settings.json"
    if path.exists() and read_json(path, "settings") != settings:
        raise UserError(
            f"{options.out}: begun with {path.read_text(encoding='utf-8')}; pass the same, or another --out"
        )
    write_json(path, settings)
    font_folder(options.out / "fonts")
    if "ours-no-fonts" in arms:
        font_folder(options.out / "few-fonts", FEW_FAMILIES)
    if not set(arms) <= {arm for arm in arms if arm.startswith("ours")}:
        environment(options.venv)
    colors = options.out / "colors.txt"
    if "synthtiger" in arms and not colors.exists():
        color_map(colors, [options.data / name for name in SETS])


def work(arm: str, options: argparse.Namespace) -> None:
    """Render, pack, train, join, read: each part where it is not done.

    Raises:
        UserError: a part failed.
    """
    folder: Path = options.out / arm
    run = folder / f"seed-{options.seed}-steps-{options.steps}-ramp-{options.ramp:g}"
    if (run / "scores.json").exists():
        return
    if arm == PLACES:
        render(arm, folder / "pack", options)
    else:
        render(arm, folder / "crops", options)
        packed(folder / "crops", folder / "pack", options.crops)
    plain = ("--set", f"render.fonts={json.dumps([str(options.out / 'fonts')])}")  # validation, and the ramp
    _dptr(
        "align", "--config", str(ROOT / "research/recipes/evidence/worth.toml"),
        "--set", f"pack={folder / 'pack'}", *plain,
        "--set", f"run.steps={options.steps}", "--set", f"run.validate_every={options.steps}",
        "--set", f"run.seed={options.seed}", "--set", f"ramp={options.ramp}", "--out", str(run / "train"), "--resume",
        log=run / "train.log",
    )  # fmt: skip
    if not (run / "model" / "config.json").exists():
        join = ROOT / "research" / "evidence" / "zero_shot.py"
        parts = ("--glyph", str(run / "train/model"), "--decoder", str(run / "train/decoder"))
        _python(str(join), *parts, "--out", str(run / "model"), log=run / "join.log")
    write_json(run / "scores.json", score(run / "model", [options.data / name for name in SETS]))
    print(f"{arm}: done", flush=True)


def render(arm: str, folder: Path, options: argparse.Namespace) -> None:
    """A folder with ``labels.tsv`` of ``options.crops`` crops, and beside it what it was made with."""
    log = folder.with_name("render.log")
    if arm.startswith("ours"):
        preset = options.presets.get(arm, RECIPES / "synth" / "signs.toml")
        off = arm.removeprefix("ours-no-") if arm.startswith("ours-no-") else ""
        fonts = options.out / ("few-fonts" if off == "fonts" else "fonts")
        changes = [f"render.fonts={json.dumps([str(fonts)])}", f"render.backgrounds={options.data / 'natural'}"]
        changes += [f"render.effects.{effect}=0" for effect in GROUPS.get(off, ())]
        changes += NO_CORPUS if off == "corpus" else ()
        kind = () if arm == PLACES else ("--format", "folder")  # a pack also holds where letters stand
        _dptr(
            "synth", "--config", str(preset), *kind, "--out", str(folder),
            "--count", str(options.crops), "--resume", *(part for change in changes for part in ("--set", change)),
            log=log,
        )  # fmt: skip
        return
    words = corpus_words(options.crops)
    if arm == "synthtiger":
        more = corpus_words(options.crops + sum("\\" in word for word in words) + SPARE)
        words = [word for word in more if "\\" not in word][: options.crops]
    fonts = options.out / "fonts"
    if arm == "trdg":
        files = sorted(str(path) for path in fonts.iterdir() if path.suffix != ".txt")
        script, settings = "trdg_worker.py", {"fonts": files, "varied": True}
    else:
        clone = str(options.clone.absolute()) if options.clone else ""
        given = {"fonts": fonts, "colors": options.out / "colors.txt", "textures": options.data / "natural"}
        script, settings = "tiger_worker.py", {"clone": clone, **{name: str(path) for name, path in given.items()}}
    draw_all(words, folder, script, settings, environment(options.venv), log)


def draw_all(
    words: Sequence[str], folder: Path, script: str, settings: dict[str, Any], python: Path, log: Path
) -> None:
    """All words by a worker, ``CHUNK`` at a time; a chunk's lines are in ``labels.tsv`` once its pictures are there.

    ``manifest.json`` beside the folder tells the worker's settings, and how many words it had to be asked again for.

    Raises:
        UserError: the folder was begun with other settings; the worker ended.
    """
    manifest, labels = folder.with_name("manifest.json"), folder / LABELS
    told: dict[str, Any] = {"worker": script, "settings": settings, "retries": {}}
    if manifest.exists():
        told = read_json(manifest, "manifest")
        if told["settings"] != settings:
            raise UserError(f"{folder}: begun with other settings ({manifest}); delete it, or pass another --out")
    folder.mkdir(parents=True, exist_ok=True)
    whole = labels.read_text(encoding="utf-8").split("\n")[:-1] if labels.exists() else []
    done = len(whole) - len(whole) % CHUNK if len(whole) < len(words) else len(words)
    if done == len(words):
        return
    labels.write_text("".join(f"{line}\n" for line in whole[:done]), encoding="utf-8")
    with Worker(python, script, settings, log) as worker:
        for first in range(done, len(words), CHUNK):
            some = words[first : first + CHUNK]
            reply = worker.draw(some, first, folder)
            told["retries"][str(first)] = reply["retries"]
            lines = "".join(f"{name}\t{word}\n" for name, word in zip(reply["names"], some, strict=True))
            with open(labels, "a", encoding="utf-8") as file:
                file.write(lines)
            write_json(manifest, told)


def packed(folder: Path, out: Path, count: int) -> None:
    """The first ``count`` crops of a folder as a pack, at 32x128, where letters stand unknown."""
    if (out / pack.RECIPE).exists():
        return
    dataset = open_labeled(folder)
    out.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, count, pack.SHARD)):
        rows = range(first, min(first + pack.SHARD, count))
        words = [dataset.label(row) for row in rows]
        tensors = {
            "crops": torch.from_numpy(np.stack([to_array(dataset.image(row), 32, 128) for row in rows])),
            "stops": torch.full((len(words), max(map(len, words)), 2), math.nan, dtype=torch.float16),
        }
        save_tensors(out / pack._name(number), tensors, {"words": json.dumps(words, ensure_ascii=False)})
    write_json(out / pack.RECIPE, {"recipe": {"folder": folder.name}, "shard": pack.SHARD, "count": count})


def score(model: Path, paths: Sequence[Path]) -> dict[str, Any]:
    """By data set: crops compared under protocol 36, and which of them were misread."""
    report = evaluate(Reader(str(model), "cpu"), paths, ["36"])
    wrong = {path.parent.name: [e.index for e in report.errors if e.data == str(path)] for path in paths}
    return {
        Path(result.data).parent.name: {"n": result.n, "wrong": wrong[Path(result.data).parent.name]}
        for result in report.results
    }


def table(options: argparse.Namespace, arms: Sequence[str]) -> str:
    """Markdown: word accuracies, and the difference to ours over all crops with its paired standard error."""
    run = f"seed-{options.seed}-steps-{options.steps}-ramp-{options.ramp:g}"
    scores = {
        arm: read_json(options.out / arm / run / "scores.json", "scores")
        for arm in arms
        if (options.out / arm / run / "scores.json").exists()
    }
    names = [Path(name).parent.name for name in SETS]
    lines = [f"| arm | {' | '.join(names)} | all | to ours, points |", "|---|" + "---:|" * (len(names) + 2)]
    for arm, found in scores.items():
        total = sum(found[name]["n"] for name in names)
        rates = [1 - len(found[name]["wrong"]) / found[name]["n"] for name in names]
        rates.append(1 - sum(len(found[name]["wrong"]) for name in names) / total)
        points = ""
        if arm != "ours" and "ours" in scores:
            mean, error = difference([found[name] for name in names], [scores["ours"][name] for name in names])
            points = f"{100 * mean:+.1f} ± {100 * error:.1f}"
        lines.append(f"| {arm} | {' | '.join(f'{100 * rate:.1f} %' for rate in rates)} | {points} |")
    return "\n".join(lines)


def difference(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Mean over crops of (right in ``one``) - (right in ``other``), and its standard error.

    Only crops that one of them alone misreads count: with b and c of them among n, the mean is (c - b) / n and the
    variance of a crop's difference (b + c) / n - mean ** 2.
    """
    total = sum(part["n"] for part in one)
    alone = [set(a["wrong"]) - set(b["wrong"]) for a, b in zip(one, other, strict=True)]
    spared = [set(b["wrong"]) - set(a["wrong"]) for a, b in zip(one, other, strict=True)]
    worse, better = sum(map(len, alone)), sum(map(len, spared))
    mean = (better - worse) / total
    return mean, math.sqrt(((worse + better) / total - mean**2) / total)


def _dptr(*arguments: str, log: Path) -> None:
    _python("-m", "dptr", *arguments, log=log)


def _python(*arguments: str, log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a", encoding="utf-8") as file:
        done = subprocess.run([sys.executable, *arguments], stdout=file, stderr=file, env={**os.environ, **ONE_THREAD})
    if done.returncode:
        raise UserError(f"{' '.join(arguments[:3])} ended with code {done.returncode}; see {log}")


if __name__ == "__main__":
    main()
