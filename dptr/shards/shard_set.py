"""A set of shards, opened: which files there are, and in which chunks they are read.

To add a kind of shards, write how a file is scanned and how a chunk is read, and a line in ``KINDS`` and in
``dptr.utils.data_sets.SHARDS``.
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

_AT_ONCE = 16  # files that are scanned at once, where that is a question of waiting
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Kind:
    """How shards of a kind are read.

    Attributes:
        what: for errors.
        scan: what is in a file.
        read: the rows of a chunk; without pictures only labels.
    """

    what: str
    scan: Callable[[Place, str], Scan]
    read: Callable[[Place, str, Chunks, tuple[str, ...], bool], Rows]


@dataclass(frozen=True, eq=False)
class ShardSet:
    """Labels, with pictures or without, by chunks.

    Attributes:
        url: as it was given, to be shown.
        place: of the files.
        kind: a key of ``KINDS``, and of ``dptr.utils.data_sets.SHARDS``.
        files: names in the place.
        chunks: in the order of files.
        columns: see ``Scan``.
        pictures: whether there are any.
    """

    url: str
    place: Place
    kind: str
    files: tuple[str, ...]
    chunks: Chunks
    columns: tuple[str, ...]
    pictures: bool

    def __len__(self) -> int:
        """How many rows there are."""
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> Int[np.ndarray, " chunks+1"]:
        """The number of the first row of each chunk, and how many rows there are."""
        return np.concatenate([[0], np.cumsum(self.chunks[:, 3])])

    def read(self, chunk: int, pictures: bool = True) -> Rows:
        """The rows of a chunk.

        Raises:
            UserError: they cannot be read any more.
        """
        found = self.chunks[chunk]
        return KINDS[self.kind].read(self.place, self.files[found[0]], found, self.columns, pictures)

    def name(self, chunk: int, row: int, rows: Rows) -> str:
        """What a row is called: its file, and the member, or the number in its file."""
        file = int(self.chunks[chunk, 0])
        first = self.starts[np.searchsorted(self.chunks[:, 0], file)]
        return f"{self.files[file]}:{rows.names[row] if rows.names else self.starts[chunk] - first + row}"

    def stamp(self) -> str:
        """A digest of where the files are, of their sizes and their times."""
        whole = hashlib.sha256(str(self.place).encode("utf-8", "surrogateescape"))
        for name, stamp in zip(self.files, _each(self.place, self.place.stamp, self.files), strict=True):
            whole.update(f"\n{name}\t{stamp}".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()[:16]

    def describe(self) -> str:
        """For the log."""
        return f"{self.url}: {len(self):,} rows in {len(self.files):,} {KINDS[self.kind].what}"


def is_shards(path: str | Path) -> bool:
    """Whether a path means shards: an address, such a file, or a folder that holds such files itself."""
    text = str(path)
    if is_url(text):
        return True
    if os.path.isdir(text):
        return holds_shards(Path(text))
    return bool(shard_kind(os.path.basename(text))) and os.path.lexists(text)


def open_shards(url: str) -> ShardSet:
    """The shards at a path or an address: a folder, with those below it, or one file.

    Raises:
        UserError: nothing is there, or no shards, or those of two kinds; a file that is damaged, has no labels, or has
            other columns than the first; a package that is missing.
    """
    place = Place(url if is_url(url) else os.path.abspath(url))
    shown = str(Place(url))
    if place.is_file():
        place, only = split_place(place.url)
        names = [only]
    else:
        names = place.list()
    found: dict[str, list[str]] = {}
    for name in names:
        if kind := shard_kind(name):
            found.setdefault(kind, []).append(name)
    if len(found) > 1:
        both = " and ".join(held.what for kind, held in KINDS.items() if kind in found)
        raise UserError(f"{shown}: holds {both}; put them in two folders, and pass both")
    if not found:
        packed = [name for name in names if name.lower().endswith(_COMPRESSED)]
        hint = f"{packed[0]} is compressed as a whole: unpack it to .tar" if packed else "check the path"
        raise UserError(f"{shown}: no shards there ({', '.join(each.what for each in KINDS.values())}); {hint}")
    ((kind, files),) = found.items()
    scans = _each(place, lambda name: KINDS[kind].scan(place, name), files)
    for name, scan in zip(files, scans, strict=True):
        if (scan.columns, scan.pictures) != (scans[0].columns, scans[0].pictures) and len(scan.chunks):
            one, other = (_describe(each) for each in (scan, scans[0]))
            raise UserError(f"{shown}: {name} holds {one}, but {files[0]} {other}; put them in two folders")
    chunks = np.concatenate([scan.chunks for scan in scans])
    chunks[:, 0] = np.repeat(np.arange(len(files)), [len(scan.chunks) for scan in scans])
    if not len(chunks):
        raise UserError(f"{shown}: its {KINDS[kind].what} hold no row; pass others")
    return ShardSet(shown, place, kind, tuple(files), chunks, scans[0].columns, scans[0].pictures)


def _each(place: Place, do: Callable[[str], object], names: Sequence[str]) -> list:
    if place.local or len(names) == 1:
        return [do(name) for name in names]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [*pool.map(do, names)]


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
