"""Labeled crops: a folder with ``labels.tsv``, an LMDB, shards, or a root with many of them below it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image

from dptr.shards.rows import Rows
from dptr.shards.shard_set import is_shards, open_shards
from dptr.utils.data_sets import LABELS, find_data_sets, is_data_set
from dptr.utils.errors import UserError
from dptr.utils.images import open_image, read_encoded
from dptr.utils.lmdb import LmdbReader, is_lmdb
from dptr.utils.reading import read_file, resolve_inside


@dataclass(frozen=True)
class Crop:
    """One labeled crop: an RGB picture, the label as it was written, and where it came from."""

    image: Image.Image
    label: str
    key: str


class LabeledDataset(ABC):
    """Labeled crops by index; iterating reads them one after the other."""

    path: Path

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def label(self, index: int) -> str:
        """The label as it was written."""

    @abstractmethod
    def key(self, index: int) -> str:
        """The name of the picture within the data set."""

    @abstractmethod
    def image_bytes(self, index: int) -> bytes:
        """The encoded picture: the file, the value in the LMDB; UserError where it cannot be read."""

    @abstractmethod
    def open_bytes(self, index: int, data: bytes) -> Image.Image:
        """What ``image_bytes`` gave as RGB; UserError where it is no picture."""

    def image(self, index: int) -> Image.Image:
        """The picture as RGB; UserError where it cannot be read."""
        return self.open_bytes(index, self.image_bytes(index))

    @abstractmethod
    def stamps(self) -> Iterator[str]:
        """What tells of a change of pictures without reading them: names, sizes, times."""

    def __getitem__(self, index: int) -> Crop:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        return Crop(self.image(index), self.label(index), self.key(index))


class LabeledFolder(LabeledDataset):
    """A folder with ``labels.tsv``: UTF-8, one ``path<TAB>label`` a line, paths of files in the folder."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self._rows = list(_rows(self.path / LABELS))

    def __len__(self) -> int:
        return len(self._rows)

    def label(self, index: int) -> str:
        return self._rows[index][1]

    def key(self, index: int) -> str:
        return self._rows[index][0]

    def image_bytes(self, index: int) -> bytes:
        return read_encoded(self._place(index))

    def open_bytes(self, index: int, data: bytes) -> Image.Image:
        return open_image(data, str(self._place(index)))

    def stamps(self) -> Iterator[str]:
        return (f"{name}\t{_stamp(self.path / name)}" for name, _ in self._rows)

    def _place(self, index: int) -> Path:
        return resolve_inside(self.path, self._rows[index][0])


class LabeledLmdb(LabeledDataset):
    """An LMDB in the field's format; keys are those of the pictures, ``image-000000001`` and on."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self._reader = LmdbReader(folder)

    def __len__(self) -> int:
        return len(self._reader)

    def label(self, index: int) -> str:
        return self._reader.label(index)

    def key(self, index: int) -> str:
        return self._reader.key(index)

    def image_bytes(self, index: int) -> bytes:
        return self._reader.image_bytes(index)

    def open_bytes(self, index: int, data: bytes) -> Image.Image:
        try:
            return open_image(data)
        except UserError as error:
            raise UserError(f"{self.path}: {self.key(index)}: {error}") from error

    def stamps(self) -> Iterator[str]:
        yield _stamp(self.path / "data.mdb")


class LabeledShards(LabeledDataset):
    """Shards (``dptr.shards``), read chunk by chunk: quick in order, slow here and there."""

    def __init__(self, url: str) -> None:
        self.shards = open_shards(url)
        if not self.shards.pictures:
            raise UserError(f"{self.shards.url}: no pictures in these shards; labeled crops have one in each row")
        self.path = Path(self.shards.url)
        self._held: dict[bool, tuple[int, Rows]] = {}  # the last chunk, without pictures and with them

    def __len__(self) -> int:
        return len(self.shards)

    def label(self, index: int) -> str:
        _, row, rows = self._find(index, False)
        return rows.labels[row] or ""

    def key(self, index: int) -> str:
        chunk, row, rows = self._find(index, False)
        return self.shards.name(chunk, row, rows)

    def image_bytes(self, index: int) -> bytes:
        _, row, rows = self._find(index, True)
        data = rows.pictures[row]
        if data is None:
            raise UserError(f"{self.shards.url}/{self.key(index)}: no picture")
        return data

    def open_bytes(self, index: int, data: bytes) -> Image.Image:
        return open_image(data, f"{self.shards.url}/{self.key(index)}")

    def stamps(self) -> Iterator[str]:
        yield self.shards.stamp()

    def _find(self, index: int, pictures: bool) -> tuple[int, int, Rows]:
        starts = self.shards.starts
        chunk = int(np.searchsorted(starts, index, "right")) - 1
        for held in self._held.values():
            if held[0] == chunk and (not pictures or held is self._held.get(True)):
                return chunk, index - int(starts[chunk]), held[1]
        self._held[pictures] = chunk, self.shards.read(chunk, pictures)
        return chunk, index - int(starts[chunk]), self._held[pictures][1]


class LabeledRoot(LabeledDataset):
    """Data sets below one folder, one after the other; keys begin with the folder of the data set.

    Attributes:
        parts: the data sets, in the order of their paths.
    """

    def __init__(self, folder: str | Path, parts: Sequence[LabeledDataset]) -> None:
        self.path = Path(folder)
        self.parts = tuple(parts)
        self._ends = list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def label(self, index: int) -> str:
        part, own = self._find(index)
        return part.label(own)

    def key(self, index: int) -> str:
        part, own = self._find(index)
        return f"{self.name(part)}/{part.key(own)}"

    def image_bytes(self, index: int) -> bytes:
        part, own = self._find(index)
        return part.image_bytes(own)

    def open_bytes(self, index: int, data: bytes) -> Image.Image:
        part, own = self._find(index)
        return part.open_bytes(own, data)

    def stamps(self) -> Iterator[str]:
        return (f"{self.name(part)}\t{stamp}" for part in self.parts for stamp in part.stamps())

    def name(self, part: LabeledDataset) -> str:
        """The folder of a data set as seen from the root."""
        return part.path.relative_to(self.path).as_posix()

    def describe(self) -> str:
        """What was found, for the log: how many data sets, their names and sizes."""
        sizes = ", ".join(f"{self.name(part)} {len(part):,}" for part in self.parts)
        return f"{self.path}: {len(self):,} crops in {len(self.parts)} data sets: {sizes}"

    def _find(self, index: int) -> tuple[LabeledDataset, int]:
        number = bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


def open_labeled(path: str | Path) -> LabeledDataset:
    """Open a data set: a folder with ``labels.tsv``, an LMDB folder, shards, or a root with such folders below it.

    The file itself, ``labels.tsv`` or ``data.mdb``, is taken for its folder.

    Raises:
        UserError: nothing there, none of the three, both files in one folder, what ``find_data_sets`` raises, or what
            the two formats demand is violated.
    """
    if is_shards(path):
        return LabeledShards(str(path))
    folder = Path(path)
    if folder.name in (LABELS, "data.mdb") and folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        problem = "not a data set" if folder.exists() else "no such folder"
        raise UserError(f"{path}: {problem}; pass a folder with {LABELS}, an LMDB folder, or shards")
    if is_data_set(folder):
        return _open_folder(folder)
    return LabeledRoot(folder, [_open_folder(part) for part in find_data_sets(folder)])


def parts_of(dataset: LabeledDataset) -> list[tuple[str, LabeledDataset]]:
    """The data sets below a root, or the data set itself; and what stands before their keys in the root's."""
    if isinstance(dataset, LabeledRoot):
        return [(f"{dataset.name(part)}/", part) for part in dataset.parts]
    return [("", dataset)]


def _open_folder(folder: Path) -> LabeledDataset:
    if not is_lmdb(folder) and not (folder / LABELS).is_file():
        return LabeledShards(str(folder))
    if not is_lmdb(folder):
        return LabeledFolder(folder)
    if (folder / LABELS).is_file():
        raise UserError(f"{folder}: both {LABELS} and data.mdb in it; move one of them to a folder of its own")
    return LabeledLmdb(folder)


def _stamp(file: Path) -> str:
    """Size and times; the time of the last change (``ctime``) cannot be set back, as unpacking does with the other."""
    try:
        found = file.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _rows(file: Path) -> Iterator[tuple[str, str]]:
    try:
        data = read_file(file)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; check the path") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {number}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line:
            continue
        if line.count("\t") != 1 or line.startswith("\t"):
            found = "no path" if line.startswith("\t") else f"{line.count(chr(9)) or 'no'} tabs"
            raise UserError(f"{file}, line {number}: {found} in {line[:60]!r}; write path<TAB>label, one crop a line")
        path, label = line.split("\t")
        yield path, label
