"""A training of a label set, and the folder that holds it.

Each training is a run with a numbered folder in ``runs``, in the label set's folder:

- ``run.json``: the settings and the phase of the run.
- ``crops``: labeled crops, to train on or to compare on; ``words.txt``: a word list to train on.
- ``train``: the output of ``dptr finetune`` or ``dptr adapt``.
- ``said.txt``: the terminal output of the commands.
- ``model.onnx``: the exported recognizer.
- ``compared.json``: the comparison with the recognizer that the run started from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dptr.utils.errors import UserError
from dptr.utils.files import read_json, write_json

RUNS = "runs"
Kind = Literal["finetune", "adapt"]
Phase = Literal["preparing", "training", "exporting", "comparing", "done", "stopped", "failed"]
BUSY: tuple[Phase, ...] = ("preparing", "training", "exporting", "comparing")
"""The phases of a run in progress. If no process works on such a run, it was interrupted and can be resumed."""


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        folder: the folder of the run.
        number: the number of the run, from 1; also the name of the folder.
        kind: the ``dptr`` command that trains.
        base: the recognizer to start from: a shipped name, or a folder.
        base_name: the display name of that recognizer.
        minutes: the time limit of the training.
        settings: settings of its recipe, each as ``key=value``.
        share: the share of the crops that is held out, 0 to 1; 0 = none.
        spent: seconds of training that were done before the run was last stopped.
        phase: see ``Phase``; ``BUSY`` lists those of a run in progress.
        error: why the run failed; empty if it did not.
    """

    folder: Path
    number: int
    kind: Kind
    base: str
    base_name: str
    minutes: float
    settings: tuple[str, ...] = ()
    share: float = 0.0
    spent: float = 0.0
    phase: Phase = "preparing"
    error: str = ""

    @property
    def crops(self) -> Path:
        """The folder of labeled crops: to train on for ``finetune``, to compare on for both kinds."""
        return self.folder / "crops"

    @property
    def words(self) -> Path:
        """The file with the word list to train on, one word a line."""
        return self.folder / "words.txt"

    @property
    def train(self) -> Path:
        """The output folder of the training."""
        return self.folder / "train"

    @property
    def exported(self) -> Path:
        """The ONNX file of the trained recognizer."""
        return self.folder / "model.onnx"

    @property
    def compared(self) -> Path:
        """The JSON file with the comparison (``dptr.label.compare.Compared``)."""
        return self.folder / "compared.json"

    @property
    def said(self) -> Path:
        """The file with the terminal output of the commands."""
        return self.folder / "said.txt"

    def write(self, **changes: Any) -> Run:
        """A copy of the run with some attributes changed, saved to ``run.json``."""
        changed = replace(self, **changes)
        values = asdict(changed)
        del values["folder"], values["number"]
        write_json(self.folder / "run.json", values)
        return changed

    def arguments(self) -> list[str]:
        """The arguments of the ``dptr`` command that trains; with ``--resume`` if the training has begun before."""
        data = ["--data", str(self.crops)] if self.kind == "finetune" else ["--text", str(self.words)]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        resume = ["--resume"] if self.train.exists() else []
        return [self.kind, *data, "--model", self.base, "--out", str(self.train), *settings, *resume]


def open_run(folder: Path) -> Run:
    """Read a run from its folder.

    Raises:
        UserError: ``run.json`` is missing or damaged.
    """
    values = read_json(folder / "run.json", "run")
    try:
        run = Run(folder=folder, number=int(folder.name), **{**values, "settings": tuple(values["settings"])})
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{folder / 'run.json'}: not as dptr wrote it ({error}); delete the folder") from error
    if run.kind not in get_args(Kind) or run.phase not in get_args(Phase):
        raise UserError(f"{folder / 'run.json'}: not as dptr wrote it ({run.kind}, {run.phase}); delete the folder")
    return run


def list_runs(folder: Path) -> list[Run]:
    """The runs of a label set, newest first. Other files and folders are ignored.

    Args:
        folder: the folder of the label set.

    Raises:
        UserError: the ``run.json`` of a run is damaged.
    """
    runs_folder = folder / RUNS
    names = os.listdir(runs_folder) if runs_folder.is_dir() else []
    numbers: Sequence[int] = sorted((int(name) for name in names if re.fullmatch(r"[1-9]\d{0,8}", name)), reverse=True)
    return [
        open_run(runs_folder / str(number)) for number in numbers if (runs_folder / str(number) / "run.json").is_file()
    ]


def new_folder(folder: Path) -> Path:
    """Create the folder of a new run; its name is the next number.

    Args:
        folder: the folder of the label set.
    """
    runs_folder = folder / RUNS
    runs_folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(name) for name in os.listdir(runs_folder) if re.fullmatch(r"[1-9]\d{0,8}", name)]
    created = runs_folder / str(max(numbers, default=0) + 1)
    created.mkdir()
    return created
