"""Compare the methods of ``dptr adapt --text WORDS`` with training the whole recognizer for the same time.

    DPTR_DATA=... python research/evidence/adapt.py --pack runs/pack-en --out runs/adapt

The script generates the words of three domains: German street names (``streets``); names of medicines, formed like
international names from free syllables and a stem for the effect (``medicines``); license plates of one pattern
(``plates``). It measures accuracy on 1,000 rendered words of the domain, in the preset ``signs`` with held-out fonts,
and on the real validation crops (a fixed tenth of ``iiit5k/train`` and ``ic15/train``). Test folders are not used.

``adapt`` renders the words, and ``slots`` composes them of slots of other words. The first control, ``others``, is
``adapt`` on as many words of English instead of those of the domain. The second, ``whole``, trains all parts on
rendered words, half of them from the domain, for as many steps of 64 crops as fit into the time of ``adapt``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from wordfreq import top_n_list

from dptr.config.size import CropSize
from dptr.data.crops import load_crops
from dptr.data.labeled import LABELS, open_labeled
from dptr.evaluation.evaluate import evaluate
from dptr.inference.reader import Reader
from dptr.text.charset import resolve_charset
from dptr.training.sources import split
from dptr.utils.files import read_json, write_json

SIGNS = str(Path(__file__).resolve().parents[2] / "recipes" / "synth" / "signs.toml")
TEST, BATCH = 1000, 64
SPEED_STEPS = (10, 40)  # short runs of the control, to measure the time of a step
SYLLABLES = (
    "a", "be", "ci", "do", "el", "fa", "ga", "hi", "io", "ke", "la", "mi", "no", "or", "pa", "qui", "ro", "sa",
    "te", "ul", "va", "xi", "ye", "zo", "tra", "bri", "clo", "dre", "fle", "gly",
)  # fmt: skip
STEMS = (
    "pril", "sartan", "olol", "statin", "mab", "tinib", "gliptin", "prazole", "floxacin", "cillin", "vir", "dipine",
    "triptan", "oxetine", "azepam",
)  # fmt: skip


def streets(rng: np.random.Generator) -> list[str]:
    first = [word.capitalize() for word in top_n_list("de", 20_000) if word.isascii() and word.isalpha()]
    first = [word for word in first if 4 <= len(word) <= 12]
    ends = ("strasse", "weg", "platz", "allee", "gasse", "ring", "ufer", "damm")
    return [f"{first[rng.integers(500, len(first))]}{ends[rng.integers(len(ends))]}" for _ in range(1500)]


def medicines(rng: np.random.Generator) -> list[str]:
    names = ("".join(rng.choice(SYLLABLES, rng.integers(2, 4))) + rng.choice(STEMS) for _ in range(1500))
    return [name.capitalize() for name in names]


def plates(rng: np.random.Generator) -> list[str]:
    letters = list("ABCDEFGHJKLMNPRSTUVWXYZ")
    return [
        f"{''.join(rng.choice(letters, 2))}{rng.integers(10, 99)}{''.join(rng.choice(letters, 3))}" for _ in range(3000)
    ]


DOMAINS = {"streets": streets, "medicines": medicines, "plates": plates}
ARMS = ("adapt", "slots", "others", "whole")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--model", default="dptr-en")
    parser.add_argument("--pack", required=True, help="rendered words of the language, to mix in")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in all that is rendered")
    parser.add_argument("--table", action="store_true", help="only print the results of finished runs")
    options = parser.parse_args()
    if "DPTR_DATA" not in os.environ:
        sys.exit("evidence: DPTR_DATA is not set; set it to the folder that holds natural, iiit5k and ic15")
    options.data, options.out = Path(os.environ["DPTR_DATA"]).absolute(), options.out.absolute()
    if not options.table:
        real_crops(options.data, options.out / "real")
        for domain in options.domains:
            work(domain, options)
    print(table(options))


def real_crops(data: Path, folder: Path) -> None:
    """Copy the validation crops of dptr-en's training into a folder of labeled crops."""
    paths = [data / "iiit5k/train", data / "ic15/train"]
    crops = load_crops(paths, resolve_charset("94"), 25, CropSize())
    validation = split(crops, 0.1, "order")[1]
    sets = [open_labeled(path) for path in paths]
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row, (source, key, label) in enumerate(
        zip(validation.sources, validation.keys, validation.labels, strict=True)
    ):
        name = f"{row:04}{Path(key).suffix}"
        shutil.copyfile(sets[source].path / key, folder / name)
        lines.append(f"{name}\t{label}\n")
    (folder / LABELS).write_text("".join(lines), encoding="utf-8")


def work(domain: str, options: argparse.Namespace) -> None:
    """Make the words and test crops of a domain, run both trainings, and evaluate; finished parts are skipped."""
    out: Path = options.out / domain
    out.mkdir(parents=True, exist_ok=True)
    words = out / "words.txt"
    words.write_text("\n".join(dict.fromkeys(DOMAINS[domain](np.random.default_rng(0)))) + "\n", encoding="utf-8")
    render = set_options("render.font_split=train", f"render.backgrounds={options.data / 'natural'}", *options.set)
    source = f'{{kind="file", path={json.dumps(str(words))}, weight=1}}'
    if not (out / "test" / LABELS).exists():
        plain = [f"corpus.{key}=0" for key in ("heldout", "upper", "title", "mixed", "punctuation")]
        unseen = ("render.font_split=heldout", f"render.backgrounds={options.data / 'natural'}", *options.set)
        dptr("synth", "--config", SIGNS, "--format", "folder", "--count", str(TEST), "--out", str(out / "test"),
             *set_options("seed=9", f"corpus.sources=[{source}]", *plain, *unseen))  # fmt: skip
    english = options.out / "english.txt"
    english.write_text("\n".join(top_n_list("en", 1500)) + "\n", encoding="utf-8")
    for arm, text, method in (("adapt", words, "rendered"), ("slots", words, "slots"), ("others", english, "rendered")):
        if arm in options.arms and not (out / f"{arm}.json").exists():
            began = time.monotonic()
            dptr("adapt", "--config", SIGNS, *render, "--text", str(text), "--method", method, "--model", options.model,
                 *set_options(f"pack={options.pack}"), "--out", str(out / arm))  # fmt: skip
            write_json(out / f"{arm}.json", {"minutes": (time.monotonic() - began) / 60})
    if "whole" in options.arms:
        train_whole(out, source, render, options)
    if not (out / "lexicon-test.json").exists():
        evaluated = evaluate(Reader(options.model, lexicon=str(words)), [out / "test"]).results[0]
        write_json(out / "lexicon-test.json", {"word_accuracy": evaluated.word_accuracy})
    models = {"before": options.model, **{arm: str(out / arm / "model") for arm in options.arms}}
    for name, model in models.items():
        for data in (out / "test", options.out / "real"):
            report = out / f"{name}-{data.name}.json"
            if not report.exists():
                dptr("eval", "--data", str(data), "--model", model, "--protocol", "36", "--json", "--out", str(report))


def train_whole(out: Path, source: str, render: list[str], options: argparse.Namespace) -> None:
    """Train all parts on rendered words for as long as ``adapt`` took."""
    minutes = read_json(out / "adapt.json", "adapt")["minutes"]
    mixed = f'corpus.sources=[{source}, {{kind="wordfreq", weight=0.75}}, {{kind="pattern", weight=0.25}}]'
    whole = ["finetune", "--config", SIGNS, *render, "--model", options.model, *set_options(
        mixed, "data.rendered=1", f"run.batch_size={BATCH}", "run.workers=0", "run.tensorboard=false", "optim.lr=5e-4",
        "optim.grad_clip=5")]  # fmt: skip
    if not (out / "whole.json").exists():
        seconds = [timed(whole, steps, out / f"speed-{steps}") for steps in SPEED_STEPS]
        step = (seconds[1] - seconds[0]) / (SPEED_STEPS[1] - SPEED_STEPS[0])
        steps = SPEED_STEPS[0] + max(0, round((60 * minutes - seconds[0]) / step))
        write_json(out / "whole.json", {"steps": steps, "minutes": timed(whole, steps, out / "whole") / 60})


def timed(command: list[str], steps: int, out: Path) -> float:
    """Run a training, and return its wall time in seconds, including validation before and after."""
    if out.exists():
        sys.exit(f"evidence: {out}: of a timing that was interrupted, and no measure of time; delete it")
    began = time.monotonic()
    dptr(*command, *set_options(f"run.steps={steps}", f"run.validate_every={steps}"), "--out", str(out))
    return time.monotonic() - began


def table(options: argparse.Namespace) -> str:
    """Markdown: word accuracy on the domain and on real crops, before and after."""
    lines = ["| domain | | of the domain | real crops | minutes |", "|---|---|---:|---:|---:|"]
    for domain in options.domains:
        out = options.out / domain
        for name in ("before", *options.arms):
            if not (out / f"{name}-real.json").exists():
                continue
            rates = [
                read_json(out / f"{name}-{data}.json", "report")["results"][0]["word_accuracy"]
                for data in ("test", "real")
            ]
            minutes = "" if name == "before" else f"{read_json(out / f'{name}.json', 'minutes')['minutes']:.1f}"
            lines.append(f"| {domain} | {name} | {' | '.join(f'{rate:.1%}' for rate in rates)} | {minutes} |")
        if (out / "lexicon-test.json").exists():
            lexicon = read_json(out / "lexicon-test.json", "report")["word_accuracy"]
            lines.append(f"| {domain} | before, with the words as a lexicon | {lexicon:.1%} | | |")
    return "\n".join(lines)


def set_options(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


def dptr(*arguments: str) -> None:
    if code := subprocess.run([sys.executable, "-m", "dptr", *arguments], stdout=subprocess.DEVNULL).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main()
