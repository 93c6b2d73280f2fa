"""The study of the gain of text-only pre-training, which docs/evidence/study.md announced before it ran.

    DPTR_DATA=... python research/evidence/study.py --pack runs/pack-en --out runs/study --seeds 0
    DPTR_DATA=... python research/evidence/study.py --pack runs/pack-en --out runs/study --labels 500 --read

For each seed, the script aligns a dual encoder, writes the text sides and banks of the controls, pre-trains each arm,
and fine-tunes it on 100, 500, 2,000, and all labeled crops. Runs are resumable: start the same command again at any
time. When all runs of ``--labels`` are finished, ``--read`` reads the test folders and adds the results to
``readings.json``; each model reads only once. ``--table`` prints the results.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from intervals import Difference, compare_arms
from jobs import Job, data_folder, finetuning, finish, options_of, set_options, steps
from study_controls import write_controls
from zero_shot import join_parts

from dptr.evaluation.evaluate import evaluate
from dptr.inference.reader import Reader
from dptr.utils.escapes import dump_json
from dptr.utils.files import atomic_file

TESTS = ("iiit5k/test", "ic15/test", "mlt-latin/test")
STEPS = {0: 0, 100: 200, 500: 300, 2000: 500, -1: 800}  # of fine-tuning by labels; -1 = all
ALL, FEW = (0, 100, 500, 2000, -1), (0, 100, 500)
ALIGNMENT = 3000  # steps of 64 crops
# CPU seconds a step on one core: alignment 0.2175, stage 1 0.224, direct training 0.3215, fine-tuning 0.283.
STAGE_1 = 400  # steps of 256 words: 90 CPU seconds
CAUGHT_UP = 317  # steps of fine-tuning in the time of stage 1
DIRECT = 2308  # steps of direct training in the time of alignment and stage 1: 742 CPU seconds


@dataclass(frozen=True)
class Arm:
    """The initialization of the decoder, or, for ``direct`` and ``rendered``, of the whole network.

    Attributes:
        about: description in the table.
        text: the dual encoder of stage 1, ``align/model`` or a control; "" = no stage 1.
        orp: settings of the perturbation; ``{}`` stands for the folder of the seed.
        labels: numbers of labeled crops for fine-tuning; 0 = none, -1 = all.
    """

    about: str
    text: str = ""
    orp: tuple[str, ...] = ("orp.strength=0",)
    labels: tuple[int, ...] = ALL


PHOTOGRAPHS = ("orp.strength=0.1",)
BY_SYMBOL = ("orp.strength=1", "orp.positions=symbols")
ARMS = {
    "scratch": Arm("decoder from scratch, stage 1's time as more fine-tuning", labels=ALL[1:]),
    "text": Arm("text tokens, no ORP", "align/model"),
    "photographs": Arm(
        "text tokens, ORP of photographs", "align/model", (*PHOTOGRAPHS, "orp.bank={}/photographs"), FEW
    ),
    "centered": Arm(
        "text tokens, ORP of centered photographs", "align/model",
        (*PHOTOGRAPHS, "orp.bank={}/controls/centered.safetensors"), FEW,
    ),
    "white": Arm(
        "text tokens, white noise of the residuals' size", "align/model",
        ("orp.strength=1", "orp.bank={}/controls/white.safetensors"), FEW,
    ),
    "residuals": Arm("text tokens, ORP of residuals", "align/model", (*BY_SYMBOL, "orp.bank={}/residuals")),
    "permuted": Arm("letters permuted, no ORP", "controls/permuted"),
    "permuted-residuals": Arm(
        "letters permuted, ORP of residuals permuted alike", "controls/permuted",
        (*BY_SYMBOL, "orp.bank={}/controls/permuted.safetensors"),
    ),
    "random": Arm("random text tokens, no ORP", "controls/random"),
    "constant": Arm("one constant token: spelling alone", "controls/constant"),
    "rendered": Arm("network on rendered crops for stage 1's time"),
    "direct": Arm("network on rendered crops for the time of alignment and stage 1"),
}  # fmt: skip
HYPOTHESES = {  # pairs of arms, the first expected to read more: docs/evidence/study.md
    "H1": ("residuals", "scratch"),
    "H2": ("residuals", "permuted-residuals"),
    "H3": ("text", "permuted"),
    "H4": ("text", "random"),
    "H5": ("text", "constant"),
    "H6": ("residuals", "rendered"),
    "H7": ("direct", "residuals"),
    "H8": ("photographs", "text"),
    "H9": ("centered", "photographs"),
    "H10": ("residuals", "white"),
}


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--labels", type=int, nargs="+", choices=ALL, default=list(ALL), help="-1 = all")
    parser.add_argument("--read", action="store_true", help="read the test folders")
    options = parser.parse_args()
    data, file = data_folder(), options.out / "readings.json"
    readings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if options.read:
        missing = [str(folder) for folder in models(options) if not (folder / "config.json").is_file()]
        if missing:
            sys.exit(f"study: {len(missing)} runs are not done, the first {missing[0]}; the test folders are read once")
        readings |= read_tests([folder for folder in models(options) if str(folder) not in readings], data)
        with atomic_file(file) as aside:
            aside.write_text(dump_json(readings) + "\n", encoding="utf-8")
    elif not options.table:
        for seed in options.seeds:
            train_seed(options, data, seed)
    if readings:
        print(table(readings, options))


def train_seed(options: argparse.Namespace, data: Path, seed: int) -> None:
    """All runs of one pre-training seed."""
    out: Path = options.out / f"seed{seed}"
    finish(alignments(options, data, seed, out), out, options.jobs, options.settings)
    write_controls(str(out / "align/model"), out / "residuals", out / "photographs", seed, out / "controls")
    arms = {name: arm for name, arm in ARMS.items() if name in options.arms}
    finish(pretrainings(options, data, seed, out, arms), out, options.jobs, options.settings)
    finish(finetunings(options, data, seed, out, arms), out, options.jobs, options.settings)
    for name, arm in arms.items():
        if 0 in arm.labels and 0 in options.labels and name != "rendered" and not (out / f"{name}-0").exists():
            glyph, decoder = start_of(name, arm, out)
            join_parts(glyph, decoder, out / f"{name}-0")


def alignments(options: argparse.Namespace, data: Path, seed: int, out: Path) -> list[Job]:
    """The alignment of the dual encoder, and its banks."""
    glyph = str(out / "align/model")
    recipe = options.recipes.parents[2] / "recipes" / "align-en.toml"
    settings = (
        f"pack={options.pack}", f"render.backgrounds={data / 'natural'}", f"run.seed={seed}", "run.tensorboard=false",
        steps(options, ALIGNMENT),
    )  # fmt: skip
    return [
        Job("align", ("align", "--config", str(recipe), *set_options(*settings))),
        Job("residuals", ("bank", "--pack", options.pack, "--model", glyph), ("align",), flags=()),
        Job("photographs", ("bank", "--images", str(data / "natural"), "--model", glyph), ("align",), flags=()),
    ]


def pretrainings(options: argparse.Namespace, data: Path, seed: int, out: Path, arms: dict[str, Arm]) -> list[Job]:
    """Stage 1 of each arm that has one, and the two trainings on rendered crops."""
    jobs = [
        Job(
            f"stage1-{name}",
            (
                "pretrain", "--config", str(options.recipes / "text.toml"),
                *set_options(f"dual.model={out / arm.text}", f"run.seed={seed}", steps(options, STAGE_1)),
                *set_options(*(setting.format(out) for setting in arm.orp)),
            ),
        )
        for name, arm in arms.items()
        if arm.text
    ]  # fmt: skip
    common = (f"run.seed={seed}",)
    if "rendered" in arms:
        count = steps(options, CAUGHT_UP)
        validate_at_end = count.replace("steps", "validate_every")
        begin = (*common, f"init.glyph={out / 'align/model'}", "data.rendered=1", count, validate_at_end)
        jobs.append(Job("rendered-0", (*finetuning(options, data), *set_options(*begin))))
    if "direct" in arms:
        settings = (*common, f"pack={options.pack}", f"render.backgrounds={data / 'natural'}", steps(options, DIRECT))
        jobs.append(Job("direct", ("align", "--config", str(options.recipes / "direct.toml"), *set_options(*settings))))
    return jobs


def start_of(name: str, arm: Arm, out: Path) -> tuple[Path, Path | None]:
    """The dual encoder and the decoder that an arm's fine-tuning starts from."""
    if name == "direct":
        return out / "direct/model", out / "direct/decoder"
    return out / "align/model", out / f"stage1-{name}/model" if arm.text else None


def finetunings(options: argparse.Namespace, data: Path, seed: int, out: Path, arms: dict[str, Arm]) -> list[Job]:
    """Fine-tuning of each arm on each number of labels.

    A run validates only at its start and its end, and keeps the better of the two.
    """
    jobs = []
    for labels in (each for each in (500, 100, 2000, -1) if each in options.labels):
        for name, arm in arms.items():
            if labels not in arm.labels:
                continue
            if name == "rendered":
                start = [f"init.model={out / 'rendered-0/model'}"]
            else:
                glyph, decoder = start_of(name, arm, out)
                start = [f"init.glyph={glyph}", *([f"init.decoder={decoder}"] if decoder else [])]
            count = max(1, round(options.times * (STEPS[labels] + (CAUGHT_UP if name == "scratch" else 0))))
            settings = (
                *start, f"run.seed={seed}", f"run.steps={count}", f"run.validate_every={count}",
                f"data.max_crops={max(labels, 0)}",
            )  # fmt: skip
            jobs.append(Job(f"{name}-{labels}", (*finetuning(options, data), *set_options(*settings))))
    return jobs


def models(options: argparse.Namespace) -> list[Path]:
    """The recognizers of all requested arms, seeds, and numbers of labels."""
    return [
        model_of(options.out / f"seed{seed}" / f"{name}-{labels}")
        for seed in options.seeds
        for name in options.arms
        for labels in ARMS[name].labels
        if labels in options.labels
    ]


def model_of(run: Path) -> Path:
    """The recognizer of a run. Without labels the run's folder is the recognizer, except for ``rendered``."""
    return run if run.name.endswith("-0") and not run.name.startswith("rendered") else run / "model"


def read_tests(folders: list[Path], data: Path) -> dict[str, dict[str, str]]:
    """Read the test sets: by model and test set, a 1 for each crop that is read correctly (protocol 36), else a 0."""
    readings: dict[str, dict[str, str]] = {}
    for folder in folders:
        report = evaluate(Reader(str(folder)), [data / name for name in TESTS])
        readings[str(folder)] = {}
        for name, result in zip(TESTS, report.results, strict=True):
            wrong = {error.index for error in report.errors if error.data == result.data}
            if sum(result.dropped.values()):
                sys.exit(f"study: {result.data}: {result.dropped} left out; all arms must read the same crops")
            readings[str(folder)][name] = "".join("0" if crop in wrong else "1" for crop in range(result.n))
        print(folder, *(f"{result.word_accuracy:.1%}" for result in report.results), flush=True)
    return readings


def table(readings: dict[str, dict[str, str]], options: argparse.Namespace) -> str:
    """Markdown: the accuracy of each arm (mean over test sets and seeds, and range over seeds), and each hypothesis."""

    def arm(name: str, labels: int) -> list[np.ndarray] | None:
        """For each test set, which crops each seed reads correctly; None without the run, or before it is read."""
        models = [str(model_of(options.out / f"seed{seed}" / f"{name}-{labels}")) for seed in options.seeds]
        if labels not in ARMS[name].labels or name not in options.arms or not readings.keys() >= {*models}:
            return None
        runs = [readings[model] for model in models]
        return [np.array([[mark == "1" for mark in run[test]] for run in runs]) for test in TESTS]

    heads = [str(labels) if labels >= 0 else "all" for labels in options.labels]
    lines = [f"| arm | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name in options.arms:
        cells = []
        for labels in options.labels:
            right = arm(name, labels)
            seeds = [] if right is None else 100 * np.mean([part.mean(1) for part in right], 0)
            cells.append(f"{np.mean(seeds):.1f} ({np.min(seeds):.1f}-{np.max(seeds):.1f})" if len(seeds) else "")
        lines.append(f"| {ARMS[name].about} | {' | '.join(cells)} |")
    lines += ["", f"| hypothesis | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for hypothesis, (one, other) in HYPOTHESES.items():
        pairs = (
            [(arm(one, labels), arm(other, labels)) for labels in options.labels]
            if {one, other} <= set(options.arms)
            else []
        )
        differences: list[Difference | str] = [compare_arms(a, b) if a and b else "" for a, b in pairs]
        if differences:
            lines.append(f"| {hypothesis}: {one} over {other} | {' | '.join(map(str, differences))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
