"""Open a set of shards: list its files, and divide them into chunks that are read at once.

To add a kind of shards, write a function that scans a file and one that reads a chunk, and add a line to ``KINDS`` and
to ``dptr.utils.data_sets.SHARDS``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int

from dptr.shards.rows import Chunks, Rows, Scan
from dptr.shards.tars import read_stretch, scan_tar
from dptr.utils.data_sets import holds_shards, shard_kind
from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package
from dptr.utils.places import Place, is_url, split_place

_THREADS = 16  # for scanning files of a remote store, where latency dominates
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Kind:
    """How shards of one kind are read.

    Attributes:
        what: the name of the kind in error messages.
        scan: describes the contents of a file, given its place and name.
        read: reads the rows of a chunk, given the place, the file's name, the chunk, the columns (``Scan``), and
            whether to read pictures or only labels.
    """

    what: str
    scan: Callable[[Place, str], Scan]
    read: Callable[[Place, str, Chunks, tuple[str, ...], bool], Rows]


@dataclass(frozen=True, eq=False)
class ShardSet:
    """Labels, with or without pictures, in chunks.

    Attributes:
        url: the path or address as the user gave it, for messages.
        place: the folder or store that holds the files.
        kind: a key of ``KINDS``, and of ``dptr.utils.data_sets.SHARDS``.
        files: names of the files in the place.
        chunks: all chunks, in the order of files.
        columns: see ``Scan``.
        pictures: whether the set has pictures.
    """

    url: str
    place: Place
    kind: str
    files: tuple[str, ...]
    chunks: Chunks
    columns: tuple[str, ...]
    pictures: bool

    def __len__(self) -> int:
        """The number of rows."""
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> Int[np.ndarray, " chunks+1"]:
        """The number of the first row of each chunk; the last element is the number of all rows."""
        return np.concatenate([[0], np.cumsum(self.chunks[:, 3])])

    def read(self, chunk: int, pictures: bool = True) -> Rows:
        """Read the rows of a chunk; without ``pictures``, only the labels.

        Raises:
            UserError: the chunk is damaged, or the file has changed.
        """
        entry = self.chunks[chunk]
        return KINDS[self.kind].read(self.place, self.files[entry[0]], entry, self.columns, pictures)

    def name(self, chunk: int, row: int, rows: Rows) -> str:
        """The name of a row in messages: its file, and either the archive's member or the row's number in the file."""
        file = int(self.chunks[chunk, 0])
        first = self.starts[np.searchsorted(self.chunks[:, 0], file)]
        return f"{self.files[file]}:{rows.names[row] if rows.names else self.starts[chunk] - first + row}"

    def stamp(self) -> str:
        """A digest of the location, sizes, and modification times of the files."""
        digest = hashlib.sha256(str(self.place).encode("utf-8", "surrogateescape"))
        for name, stamp in zip(self.files, _map_files(self.place, self.place.stamp, self.files), strict=True):
            digest.update(f"\n{name}\t{stamp}".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.url}: {len(self):,} rows in {len(self.files):,} {KINDS[self.kind].what}"


def is_shards(path: str | Path) -> bool:
    """Whether a path means shards: any URL, a file of a known kind, or a folder that directly holds such files."""
    text = str(path)
    if is_url(text):
        return True
    if os.path.isdir(text):
        return holds_shards(Path(text))
    return bool(shard_kind(os.path.basename(text))) and os.path.lexists(text)


def open_shards(url: str) -> ShardSet:
    """Open the shards at a path or URL: one file, or a folder with all files below it.

    Raises:
        UserError: there are no shards, or shards of two kinds; a file is damaged, has no labels, or has other columns
            than the first file; a package is missing.
    """
    place = Place(url if is_url(url) else os.path.abspath(url))
    shown = str(Place(url))
    if place.is_file():
        place, file_name = split_place(place.url)
        names = [file_name]
    else:
        names = place.list()
    kind, files = _choose_shards(names, shown)
    scans = _map_files(place, lambda name: KINDS[kind].scan(place, name), files)
    for name, scan in zip(files, scans, strict=True):
        if (scan.columns, scan.pictures) != (scans[0].columns, scans[0].pictures) and len(scan.chunks):
            this, first = (_describe(each) for each in (scan, scans[0]))
            raise UserError(f"{shown}: {name} holds {this}, but {files[0]} {first}; put them in two folders")
    chunks = np.concatenate([scan.chunks for scan in scans])
    chunks[:, 0] = np.repeat(np.arange(len(files)), [len(scan.chunks) for scan in scans])
    if not len(chunks):
        raise UserError(f"{shown}: its {KINDS[kind].what} hold no rows; pass other files")
    return ShardSet(shown, place, kind, tuple(files), chunks, scans[0].columns, scans[0].pictures)


def _choose_shards(names: Sequence[str], shown: str) -> tuple[str, list[str]]:
    """The files that are shards, and their one kind; ``shown`` is their place, for errors."""
    files_by_kind: dict[str, list[str]] = {}
    for name in names:
        if kind := shard_kind(name):
            files_by_kind.setdefault(kind, []).append(name)
    if len(files_by_kind) > 1:
        kinds = " and ".join(each.what for kind, each in KINDS.items() if kind in files_by_kind)
        raise UserError(f"{shown}: holds {kinds}; put them in two folders, and pass both")
    if not files_by_kind:
        compressed = [name for name in names if name.lower().endswith(_COMPRESSED)]
        hint = f"{compressed[0]} is compressed as a whole: unpack it to .tar" if compressed else "check the path"
        raise UserError(f"{shown}: no shards there ({', '.join(each.what for each in KINDS.values())}); {hint}")
    ((kind, files),) = files_by_kind.items()
    return kind, files


def _map_files(place: Place, function: Callable[[str], object], names: Sequence[str]) -> list:
    """Call a function with each name: in threads for a remote store, one after the other for local files."""
    if place.local or len(names) == 1:
        return [function(name) for name in names]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [*pool.map(function, names)]


def _describe(scan: Scan) -> str:
    label, picture, _ = scan.columns
    return f"labels in '{label}'" + (f" and pictures{f' in {picture!r}' * bool(picture)}" if scan.pictures else "")


def _scan_parquet(place: Place, name: str) -> Scan:
    try:
        from dptr.shards.parquet import scan_parquet
    except ImportError as error:
        raise missing_package(error, "reading Parquet", "shards") from error
    return scan_parquet(place, name)


def _read_group(place: Place, name: str, chunk: Chunks, columns: tuple[str, ...], pictures: bool) -> Rows:
    from dptr.shards.parquet import read_group

    return read_group(place, name, chunk, columns, pictures)


KINDS: dict[str, Kind] = {
    "parquet": Kind("Parquet files", _scan_parquet, _read_group),
    "tar": Kind("archives", scan_tar, read_stretch),
}
