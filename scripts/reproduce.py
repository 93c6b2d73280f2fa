"""Reproduce the published tables from data on disk, and print the results beside the published rows.

    python scripts/reproduce.py english --data DATA --photographs PHOTOGRAPHS --out runs/english --dry
    python scripts/reproduce.py english --data DATA --photographs PHOTOGRAPHS --out runs/english

docs/reproduce.md explains the steps. Most are ``dptr`` commands, which are printed. To continue after an interruption,
start the same command again: finished steps are skipped, and an interrupted training is resumed. Nothing is downloaded;
the first step says what is missing and where to get it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dptr.config.load import load_recipe
from dptr.config.train import FinetuneRecipe, PretrainRecipe
from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.labeled import LabeledDataset, open_labeled
from dptr.data.lmdb import write_lmdb
from dptr.dual.clip.families import FAMILIES
from dptr.dual.clip.hub import find_checkpoint
from dptr.evaluation.benchmarks import benchmark, find_sets
from dptr.models.checkpoint import load_recognizer
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, write_json
from dptr.utils.terminal import markdown_table

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
PARSEQ = "https://github.com/baudm/parseq/blob/main/Datasets.md"
OPENOCR = "https://github.com/Topdu/OpenOCR/blob/main/docs/svtrv2.md#downloading-datasets"
BCTR = "https://github.com/FudanVI/benchmarking-chinese-text-recognition#download"
MLT17, MLT19 = (f"https://rrc.cvc.uab.es/?ch={number}&com=downloads (task 2, after registration)" for number in (8, 15))
KEYS = "https://github.com/Topdu/OpenOCR/blob/main/tools/utils/ppocr_keys_v1.txt"
MLT19_TEST = 0.1  # fraction of MLT19's labeled crops for testing, because its test labels are not public


@dataclass(frozen=True)
class Track:
    """One table of the paper.

    Attributes:
        needs: required paths below ``--data``, and where to get them.
        train, validation: data sets or roots below ``--data``, or below ``--out`` for those that the script builds.
        test: the folder of the data sets to report on.
        benchmarks: keys of ``dptr.evaluation.benchmarks.BENCHMARKS``; none: each data set is reported by ``protocol``.
        settings, stage2: settings beyond the two paper recipes, for both stages and for stage 2.
        builds: folders with ``gt.txt`` of MLT's task 2 below ``--data`` -> the root of LMDBs below ``--out``.
    """

    needs: dict[str, str]
    train: str
    test: str
    validation: str = ""
    benchmarks: tuple[str, ...] = ()
    protocol: str = "native"
    settings: tuple[str, ...] = ()
    stage2: tuple[str, ...] = ()
    builds: tuple[tuple[str, str], ...] = ()


TRACKS: dict[str, Track] = {
    "english": Track(
        {"Union14M-L-LMDB-Filtered": OPENOCR, "val": PARSEQ, "test": PARSEQ},
        train="Union14M-L-LMDB-Filtered",
        validation="val",
        test="test",
        benchmarks=("english", "english-whole"),
    ),
    "chinese": Track(
        {
            "benchmark_bctr/benchmark_bctr_train": BCTR,
            "benchmark_bctr/benchmark_bctr_test": BCTR,
            Path(KEYS).name: KEYS,
        },
        train="benchmark_bctr/benchmark_bctr_train",
        test="benchmark_bctr/benchmark_bctr_test",
        benchmarks=("bctr",),
        settings=("model.charset={out}/charset.txt",),
        stage2=("data.validation_share=0.01",),
    ),
    "mlt17": Track(
        {"mlt17/train": MLT17, "mlt17/validation": MLT17},
        train="{out}/mlt17-train",
        test="{out}/mlt17-validation",
        settings=("model.charset=mlt",),
        stage2=("data.validation_share=0.05",),
        builds=(("mlt17/train", "mlt17-train"), ("mlt17/validation", "mlt17-validation")),
    ),
    "mlt19": Track(
        {"mlt19/train": MLT19},
        train="{out}/mlt19-train",
        test="{out}/mlt19-test",
        settings=("model.charset=mlt",),
        stage2=("data.validation_share=0.05",),
        builds=(("mlt19/train", "mlt19"),),
    ),
}


def main() -> None:
    """Read the arguments, and run the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("track", choices=TRACKS)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the data sets, laid out as published")
    parser.add_argument("--photographs", type=Path, required=True, help="pictures for ORP's bank")
    parser.add_argument("--out", type=Path, required=True, help="the folder for all results")
    parser.add_argument("--dual", default="clip", help="kind of the dual encoder")
    parser.add_argument("--model", default="openai/clip-vit-base-patch16", help="its weights: a folder or a hub id")
    parser.add_argument("--control", action="store_true", help="also the same stage 2 with a fresh decoder")
    parser.add_argument("--step", help="only this step: " + ", ".join(NAMES))
    parser.add_argument("--pretrain", action="append", default=[], metavar="KEY=VALUE", help="a setting of stage 1")
    parser.add_argument("--finetune", action="append", default=[], metavar="KEY=VALUE", help="a setting of stage 2")
    parser.add_argument(
        "--dry", action="store_true", help="check the data, and print the commands without running them"
    )
    options = parser.parse_args()
    try:
        reproduce(options)
    except UserError as error:
        print(f"reproduce: error: {error}", file=sys.stderr)
        sys.exit(2)


def reproduce(options: argparse.Namespace) -> None:
    """Run the unfinished steps.

    Raises:
        UserError: data or weights are missing, a step of that name is not there, or a command failed.
    """
    run = Run(options, TRACKS[options.track])
    steps = [step for step in run.steps() if options.step in (None, step.name)]
    if not steps:
        raise UserError(f"--step {options.step}: not one of {', '.join(step.name for step in run.steps())}")
    missing = list(dict.fromkeys(run.missing()))
    for line in missing:
        print(line)
    if missing and not options.dry:
        raise UserError("fetch what is missing; docs/reproduce.md says how")
    for step in steps:
        run.do(step)


@dataclass(frozen=True)
class Step:
    """A command line of ``dptr``, or a function of this script."""

    name: str
    command: tuple[str, ...] = ()
    function: Callable[[], None] | None = None
    resumes: bool = False  # whether the command has --resume


NAMES = ("data", "charset", "bank", "pretrain", "finetune", "control", "eval", "table")


class Run:
    """The steps of a track in a folder, whose ``steps.json`` records the finished ones."""

    def __init__(self, options: argparse.Namespace, track: Track) -> None:
        self.options, self.track, self.out, self.data = options, track, options.out, options.data
        self.record = self.out / "steps.json"
        self.train = self._place(track.train)
        self.test = self._place(track.test)

    def _place(self, path: str) -> Path:
        return Path(path.format(out=self.out)) if "{out}" in path else self.data / path

    def missing(self) -> list[str]:
        """A line for each missing path, with where to get it."""
        lines = []
        for path, source in self.track.needs.items():
            if not (self.data / path).exists():
                lines.append(f"missing: {self.data / path}, from {source}")
        if not self.options.photographs.is_dir():
            lines.append(
                f"missing: {self.options.photographs}, a folder of photographs (any; the published are unknown)"
            )
        try:
            families = [family for family in FAMILIES.values() if family.kind == self.options.dual]
            find_checkpoint(self.options.model, families[0] if families else FAMILIES["clip"])
        except UserError as error:
            lines.append(f"missing: {error}")
        for name in self.track.benchmarks:
            try:
                find_sets(benchmark(name), [self.test])
            except UserError as error:
                lines.append(f"missing: {error}")
        return lines

    def steps(self) -> Iterator[Step]:
        """All steps, in order."""
        options, out, track = self.options, self.out, self.track
        bank, decoder = out / "bank.safetensors", out / "pretrain" / "model"
        for source, name in track.builds:
            yield Step("data", function=lambda source=source, name=name: self.build(source, name))  # type: ignore[misc]
        if any("charset.txt" in setting for setting in track.settings):
            yield Step("charset", function=self.write_charset)
        pictures, weights = ("--images", str(options.photographs)), ("--dual", options.dual, "--model", options.model)
        yield Step("bank", ("bank", *pictures, "--center-crop", *weights, "--out", str(bank)))
        both = [setting.format(out=out) for setting in track.settings]
        validation = [self._place(track.validation)] if track.validation else []
        labels = [f"corpus.sources={_sources([self.train])}", f"validation={_sources(validation)}"]
        first = [*both, *labels, f"orp.bank={json.dumps(str(bank))}", f"dual.kind={options.dual}"]
        first.append(f"dual.model={json.dumps(options.model)}")
        yield Step("pretrain", self._training("pretrain", [*first, *options.pretrain]), resumes=True)
        second = [*both, f"data.train={json.dumps([str(self.train)])}", f"data.cache={json.dumps(str(out / 'crops'))}"]
        second += [f"data.validation={json.dumps([*map(str, validation)])}", *track.stage2, *options.finetune]
        yield Step(
            "finetune", self._training("finetune", [*second, f"init.decoder={json.dumps(str(decoder))}"]), resumes=True
        )
        arms = ["finetune"]
        if options.control:
            yield Step("control", self._training("control", [*second, "init.decoder="]), resumes=True)
            arms.append("control")
        for arm in arms:
            model = ("--model", str(out / arm / "model"), "--json")
            for name in track.benchmarks or ("",):
                how = ("--benchmark", name) if name else ("--protocol", track.protocol)
                yield Step(
                    "eval", ("eval", str(self.test), *how, *model, "--out", str(out / f"{arm}-{name or 'test'}.json"))
                )
        yield Step("table", function=lambda: self.write_table(arms))

    def _training(self, name: str, settings: Sequence[str]) -> tuple[str, ...]:
        stage = "pretrain" if name == "pretrain" else "finetune"
        recipe = RECIPES / f"paper-{stage}.toml"
        load_recipe(PretrainRecipe if stage == "pretrain" else FinetuneRecipe, recipe, settings)  # reports mistakes now
        last = {setting.partition("=")[0]: setting for setting in settings}  # those of the options come last
        sets = [part for setting in last.values() for part in ("--set", setting)]
        return (stage, "--config", str(recipe), *sets, "--out", str(self.out / name))

    def do(self, step: Step) -> None:
        """Run a step, unless it has finished with the same command.

        Raises:
            UserError: the command failed.
        """
        finished: dict[str, Any] = read_json(self.record, "record of steps") if self.record.is_file() else {}
        line = shlex.join(("dptr", *step.command)) if step.command else f"# {step.name}"
        always = step.name in ("data", "charset", "table")  # these skip finished parts themselves
        if line in finished and not always:
            print(f"{step.name}: finished before, in {finished[line]:,.0f} s")
            return
        print(f"{step.name}: {line}", flush=True)
        if self.options.dry:
            return
        begun = time.monotonic()
        if step.function is not None:
            step.function()
        else:
            call_dptr(step.name, (*step.command, *(["--resume"] if step.resumes else [])))
        if step.resumes:  # readings of the earlier model are outdated
            finished = {other: seconds for other, seconds in finished.items() if not other.startswith("dptr eval ")}
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.record, {**finished, line: round(time.monotonic() - begun, 1)})

    def build(self, source: str, name: str) -> None:
        """Convert MLT's crops to LMDBs, one for each folder with ``gt.txt``; a tenth of MLT19 becomes a test set."""
        folders = sorted(path.parent for path in (self.data / source).rglob("gt.txt"))
        if not folders:
            raise UserError(f"{self.data / source}: no gt.txt below; unpack the word crops of task 2 there")
        for number, folder in enumerate(folders):
            target = self.out / name / f"{number:02d}-{folder.name}.lmdb"
            target.parent.mkdir(parents=True, exist_ok=True)
            command = ("data", "build", str(folder), "--kind", "mlt", "--resume", "--out", str(target))
            print(shlex.join(("dptr", *command)), flush=True)
            call_dptr("data", command)
        if name == "mlt19":
            crops = open_labeled(self.out / name)
            pixels = (
                np.asarray(crops.image(index)).tobytes() for index in range(len(crops))
            )  # independent of the encoding
            is_test = is_held_out(np.array([*map(hash_picture, pixels)], np.uint32), MLT19_TEST)
            for part, rows in (("train", ~is_test), ("test", is_test)):
                write_lmdb(self.out / f"mlt19-{part}" / "all.lmdb", _samples(crops, np.flatnonzero(rows)), resume=True)

    def write_charset(self) -> None:
        """Write the published characters as a charset: NFC, unique, without white space. Dropped ones are printed."""
        keys = [*filter(None, (self.data / Path(KEYS).name).read_text(encoding="utf-8").split("\n"))]
        kept: list[str] = []
        for key in keys:
            character = unicodedata.normalize("NFC", key)
            if character.isspace() or (character != key and character in keys):
                print(f"charset: U+{ord(key):04X} left out: white space, or U+{ord(character):04X} in NFC")
            else:
                kept.append(character)
        print(f"charset: {len(kept):,} of {len(keys):,} characters")
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "charset.txt").write_text("".join(kept), encoding="utf-8")

    def write_table(self, arms: Sequence[str]) -> None:
        """Write ``table.md``: the measured rows above the published ones."""
        parts = []
        for name in self.track.benchmarks:
            reports = {arm: read_json(self.out / f"{arm}-{name}.json", "report")["benchmark"]["rows"] for arm in arms}
            header, measured, *published = reports[arms[0]]
            others = [("the same with a fresh decoder", *reports[arm][1][1:]) for arm in arms[1:]]
            rows = [header, ("DPTR, measured here", *measured[1:]), *others, *published]
            parts.append(f"{benchmark(name).title}\n\n{markdown_table(rows)}\n")
        if not self.track.benchmarks:
            rows = [("model, data set", "crops", "word accuracy, %")]
            for arm in arms:
                report = read_json(self.out / f"{arm}-test.json", "report")
                shares = [(Path(row["data"]).name, row["n"], row["word_accuracy"]) for row in report["results"]]
                shares += [("all crops", mean["n"], mean["word_accuracy_of_all"]) for mean in report["means"]]
                rows += [(f"{arm}, {name}", f"{n:,}", f"{100 * accuracy:.2f}") for name, n, accuracy in shares]
            parts.append(f"{self.options.track}: no published row is known to this project\n\n{markdown_table(rows)}\n")
        model = load_recognizer(str(self.out / arms[0] / "model")).model
        parts.append(
            f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.1f} M parameters (published: 68 M)\n"
        )
        text = "\n".join(parts)
        (self.out / "table.md").write_text(text, encoding="utf-8")
        print(text)


def call_dptr(name: str, arguments: Sequence[str]) -> None:
    """Run ``dptr`` in a separate process, so that a step leaves no memory allocated.

    Raises:
        UserError: it failed.
    """
    if code := subprocess.run([sys.executable, "-m", "dptr", *arguments], check=False).returncode:
        raise UserError(f"{name}: the command above ended with {code}; start the script again to go on with it")


def _sources(paths: Sequence[Path]) -> str:
    tables = (f'{{kind = "labels", path = {json.dumps(str(path))}}}' for path in paths)
    return f"[{', '.join(tables)}]"


def _samples(crops: LabeledDataset, rows: np.ndarray) -> Iterator[tuple[bytes, str]]:
    return ((crops.image_bytes(int(row)), crops.label(int(row))) for row in rows)


if __name__ == "__main__":
    main()
