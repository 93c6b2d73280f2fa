"""The record of an output folder: from what, and with which settings, each of its files was read.

So ``--resume`` mixes no settings, and reads inputs again that have changed. ``RECORD`` is a file in the folder with a
JSON object on each line, which has the fields of ``Entry`` and the name of the ``file``. A line is appended when a file
is complete; the last line of the file counts. Each begins with its line break, so that a killed run spoils no line of
another one. Without a line, nothing is known about a file: an earlier version wrote it, or the run was killed just
behind it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.files import digest
from dptr.version import __version__

RECORD = ".dptr-ocr.jsonl"

Settings = Mapping[str, str]
"""What decides the content of an output file, as short texts: options by name, and digests of models and files."""


@dataclass(frozen=True)
class Entry:
    """What is known about an output file. Lines of earlier versions have only ``settings``.

    Attributes:
        settings: see ``Settings``.
        input: ``digest_input`` of what was read; empty = not known.
        output: the digest of the file as it was written; empty = not known.
        dptr: the version that wrote it; empty = not known.
    """

    settings: Settings = field(default_factory=dict)
    input: str = ""
    output: str = ""
    dptr: str = ""


def digest_input(source: str) -> str:
    """The digest of an input, if it is a file; empty for standard input, a URL, and a file that cannot be read.

    Size and time of change would take no reading, and would call every file of a copied folder a changed one.
    """
    try:
        return digest(source) if Path(source).is_file() else ""
    except OSError:
        return ""


def add_record(path: Path, settings: Settings, input_digest: str) -> None:
    """Record from what an output file was read, and with which settings.

    Raises:
        UserError: the record cannot be written.
    """
    record = path.with_name(RECORD)
    try:
        with open(record, "a", encoding="utf-8") as file:
            entry = Entry(dict(settings), input_digest, digest(path), __version__)
            file.write("\n" + dump_json({"file": path.name, **asdict(entry)}))
    except OSError as error:
        raise UserError(f"cannot write {record}: {error.strerror}; pass another folder") from error


def check_record(folder: Path, names: Iterable[str], settings: Settings, recorded: Mapping[str, Entry]) -> None:
    """Check that no file of a folder is known to have been read with other settings.

    Args:
        names: of the files.
        recorded: see ``read_record``.

    Raises:
        UserError: a file was.
    """
    for name in names:
        before = recorded[name].settings if name in recorded else settings
        for key in sorted({*before, *settings}):
            if before.get(key, "") != settings.get(key, ""):
                raise UserError(
                    f"--resume: {folder / name} was written with {key} {before.get(key, '')!r}, not "
                    f"{settings.get(key, '')!r}; pass the same options, or another folder"
                )


def read_record(folder: Path) -> dict[str, Entry]:
    """The entries of a folder by the name of the file; lines that are not whole are skipped."""
    recorded: dict[str, Entry] = {}
    with suppress(OSError), open(folder / RECORD, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError, RecursionError, KeyError, TypeError, AttributeError):
                row = json.loads(line)
                settings = {str(key): str(value) for key, value in row["settings"].items()}
                others = (str(row.get(key, "")) for key in ("input", "output", "dptr"))
                recorded[str(row["file"])] = Entry(settings, *others)
    return recorded
