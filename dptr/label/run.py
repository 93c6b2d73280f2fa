"""Trainings of a set: a numbered folder each, in ``runs`` of the set's folder.

In it are ``run.json``, which says what is trained and how far it is, ``crops`` or ``words.txt``, what it is trained on,
``train``, which ``dptr finetune`` or ``dptr adapt`` writes, what these say (``said.txt``), ``model.onnx``, and
``compared.json``.
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
"""Phases of a run that goes on; one that was found so when nobody works on it was cut off, and can be resumed."""


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        number: from 1.
        base: the recognizer that it starts from: a shipped name, or a folder.
        base_name: what people call it.
        minutes: that it may take.
        settings: ``key=value`` of its recipe.
        share: of the crops that is held out, 0 to 1; 0 where nothing is.
        spent: seconds of training before it was stopped.
        error: why it failed.
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
        """The labeled crops that it is trained on, or compared with."""
        return self.folder / "crops"

    @property
    def words(self) -> Path:
        """The word list that it is trained on."""
        return self.folder / "words.txt"

    @property
    def train(self) -> Path:
        """What the training writes."""
        return self.folder / "train"

    @property
    def exported(self) -> Path:
        """The recognizer as one file."""
        return self.folder / "model.onnx"

    @property
    def compared(self) -> Path:
        """What was read before and after."""
        return self.folder / "compared.json"

    @property
    def said(self) -> Path:
        """What the programs said."""
        return self.folder / "said.txt"

    def write(self, **changes: Any) -> Run:
        """The run with other values, kept in ``run.json``."""
        changed = replace(self, **changes)
        values = asdict(changed)
        del values["folder"], values["number"]
        write_json(self.folder / "run.json", values)
        return changed

    def arguments(self) -> list[str]:
        """The command line of the training, after ``dptr``."""
        data = ["--data", str(self.crops)] if self.kind == "finetune" else ["--text", str(self.words)]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        resume = ["--resume"] if self.train.exists() else []
        return [self.kind, *data, "--model", self.base, "--out", str(self.train), *settings, *resume]


def open_run(folder: Path) -> Run:
    """A run that is there.

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
    """The runs of a set's folder, the last one first; what is no run is passed over."""
    place = folder / RUNS
    names = os.listdir(place) if place.is_dir() else []
    numbers: Sequence[int] = sorted((int(name) for name in names if re.fullmatch(r"[1-9]\d{0,8}", name)), reverse=True)
    return [open_run(place / str(number)) for number in numbers if (place / str(number) / "run.json").is_file()]


def new_folder(folder: Path) -> Path:
    """A new folder for a run of a set; its name is the next number."""
    place = folder / RUNS
    place.mkdir(parents=True, exist_ok=True)
    names = [int(name) for name in os.listdir(place) if re.fullmatch(r"[1-9]\d{0,8}", name)]
    made = place / str(max(names, default=0) + 1)
    made.mkdir()
    return made
