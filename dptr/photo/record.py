"""The record of an output folder: with which settings each of its files was read, so that ``--resume`` mixes none.

``RECORD`` is a file in the folder with a JSON object on each line: ``{"file": name, "settings": {...}}``. A line is
appended when a file is complete; the last line of the file counts. Each begins with its line break, so that a killed
run spoils no line of another one. Without a line, nothing is known about a file: an earlier version wrote it, or the
run was killed just behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json

RECORD = ".dptr-ocr.jsonl"

Settings = Mapping[str, str]
"""What decides the content of an output file, as short texts: options by name, and digests of models and files."""


def add_record(path: Path, settings: Settings) -> None:
    """Record the settings of an output file.

    Raises:
        UserError: the record cannot be written.
    """
    record = path.with_name(RECORD)
    try:
        with open(record, "a", encoding="utf-8") as file:
            file.write("\n" + dump_json({"file": path.name, "settings": dict(settings)}))
    except OSError as error:
        raise UserError(f"cannot write {record}: {error.strerror}; pass another folder") from error


def check_record(folder: Path, names: Iterable[str], settings: Settings) -> None:
    """Check that no file of a folder is known to have been read with other settings.

    Args:
        names: of the files.

    Raises:
        UserError: a file was.
    """
    recorded = _read_record(folder / RECORD)
    for name in names:
        before = recorded.get(name, settings)
        for key in sorted({*before, *settings}):
            if before.get(key, "") != settings.get(key, ""):
                raise UserError(
                    f"--resume: {folder / name} was written with {key} {before.get(key, '')!r}, not "
                    f"{settings.get(key, '')!r}; pass the same options, or another folder"
                )


def _read_record(path: Path) -> dict[str, dict[str, str]]:
    """The settings by the name of the file; lines that are not whole are skipped."""
    recorded: dict[str, dict[str, str]] = {}
    with suppress(OSError), open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError, RecursionError, KeyError, TypeError, AttributeError):
                row = json.loads(line)
                recorded[str(row["file"])] = {str(key): str(value) for key, value in row["settings"].items()}
    return recorded
