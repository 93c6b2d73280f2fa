"""Where labeled data sets lie: folders with ``labels.tsv``, LMDBs, shards, and roots that hold many at any depth.

Roots are how the field lays its data out: ``data/train/real/ArT/train`` and so on (baudm/parseq, ``Datasets.md``),
``Union14M-L-LMDB-Filtered/train_easy`` (OpenOCR, ``docs/svtrv2.md``).
"""

from __future__ import annotations

import os
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.lmdb import is_lmdb

LABELS = "labels.tsv"


SHARDS = {"parquet": (".parquet", ".pq"), "tar": (".tar",)}
"""The suffixes of shards of each kind (``dptr.shards``), in lower case."""


def shard_kind(name: str) -> str:
    """The kind of shard that a file is, by its name; empty for others, and for what Spark and its kin hide."""
    if any(part.startswith(("_", ".")) for part in name.split("/")):
        return ""
    return next((kind for kind, suffixes in SHARDS.items() if name.lower().endswith(suffixes)), "")


def holds_shards(folder: Path) -> bool:
    """Whether a folder holds shards itself, and neither ``labels.tsv`` nor an LMDB, beside which they are no data."""
    return not (folder / LABELS).is_file() and not is_lmdb(folder) and any(map(shard_kind, os.listdir(folder)))


def is_data_set(folder: Path) -> bool:
    """Whether a folder holds ``labels.tsv``, ``data.mdb``, or shards itself."""
    return (folder / LABELS).is_file() or is_lmdb(folder) or (folder.is_dir() and holds_shards(folder))


def find_data_sets(root: Path) -> list[Path]:
    """The folders of the data sets at or below ``root``, sorted; nothing below a data set is looked at.

    Links are followed, each place is looked at once. Names that begin with a dot are unfinished work and are left out.

    Raises:
        UserError: there is none, a folder cannot be read, or ``root`` holds a ``test`` beside other folders of data:
            it would be trained on. (Deeper down it is what a project trains on: PARSeq takes ``LSVT/test``.)
    """
    found: list[Path] = []
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}; data sets below {root} are looked for there") from error

    for place, folders, _ in os.walk(root, followlinks=True, onerror=refuse):
        real, folder = os.path.realpath(place), Path(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if is_data_set(folder):
            found.append(folder)
            folders.clear()
    if not found:
        raise UserError(
            f"{root}: neither {LABELS} nor data.mdb in it; write {LABELS} there, a crop a line: path<TAB>label"
        )
    beside = {path.relative_to(root).parts[0] for path in found if path != root}
    if "test" in beside and len(beside) > 1:
        others = ", ".join(str(root / name) for name in sorted(beside - {"test"})[:3])
        raise UserError(f"{root}: holds {root / 'test'} beside other data; pass the folders that you mean: {others}")
    return sorted(found)
