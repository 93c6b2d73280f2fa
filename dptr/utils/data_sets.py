"""The search for labeled data sets: folders with ``labels.tsv``, LMDBs, shards, and roots that hold many at any depth.

Public collections are such roots: ``data/train/real/ArT/train`` and so on (baudm/parseq, ``Datasets.md``),
``Union14M-L-LMDB-Filtered/train_easy`` (OpenOCR, ``docs/svtrv2.md``).
"""

from __future__ import annotations

import os
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.lmdb import is_lmdb

LABELS = "labels.tsv"


SHARDS = {"parquet": (".parquet", ".pq"), "tar": (".tar",)}
"""The suffixes of each kind of shards (``dptr.shards``), in lower case."""


def shard_kind(name: str) -> str:
    """The kind of shard that a file is, by its name: a key of ``SHARDS``, or "" for other files.

    Names with a part that begins with ``_`` or ``.`` are no shards, as in Spark.
    """
    if any(part.startswith(("_", ".")) for part in name.split("/")):
        return ""
    return next((kind for kind, suffixes in SHARDS.items() if name.lower().endswith(suffixes)), "")


def holds_shards(folder: Path) -> bool:
    """Whether a folder directly holds shards, but neither ``labels.tsv`` nor an LMDB, which take precedence."""
    return not (folder / LABELS).is_file() and not is_lmdb(folder) and any(map(shard_kind, os.listdir(folder)))


def is_data_set(folder: Path) -> bool:
    """Whether a folder directly holds ``labels.tsv``, ``data.mdb``, or shards."""
    return (folder / LABELS).is_file() or is_lmdb(folder) or (folder.is_dir() and holds_shards(folder))


def find_data_sets(root: Path) -> list[Path]:
    """The folders of the data sets at or below ``root``, sorted. The search does not go below a data set.

    Links are followed, and each folder is visited once. Folders whose name begins with a dot are unfinished and are
    skipped.

    Raises:
        UserError: there is no data set; a folder cannot be read; or ``root`` holds a folder ``test`` beside other
            folders of data, because the test set would be trained on. Deeper folders named ``test`` are accepted:
            PARSeq trains on ``LSVT/test``.
    """
    data_sets: list[Path] = []
    visited: set[str] = set()

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}; data sets below {root} are looked for there") from error

    for place, folders, _ in os.walk(root, followlinks=True, onerror=refuse):
        real, folder = os.path.realpath(place), Path(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if is_data_set(folder):
            data_sets.append(folder)
            folders.clear()
    if not data_sets:
        raise UserError(
            f"{root}: neither {LABELS} nor data.mdb in it; write {LABELS} there, a crop a line: path<TAB>label"
        )
    beside = {path.relative_to(root).parts[0] for path in data_sets if path != root}
    if "test" in beside and len(beside) > 1:
        others = ", ".join(str(root / name) for name in sorted(beside - {"test"})[:3])
        raise UserError(f"{root}: holds {root / 'test'} beside other data; pass the folders that you mean: {others}")
    return sorted(data_sets)
