"""Data sets of labeled crops: a folder with ``labels.tsv``, an LMDB, shards, or a root folder of several."""

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
from dptr.utils.reading import read_text, resolve_inside


@dataclass(frozen=True)
class Crop:
    """A labeled crop: an RGB picture, the unchanged label, and the name within the data set."""

    image: Image.Image
    label: str
    key: str


class LabeledDataset(ABC):
    """Labeled crops by index; iteration reads them in order."""

    path: Path

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def label(self, index: int) -> str:
        """The unchanged label."""

    @abstractmethod
    def key(self, index: int) -> str:
        """The name of the picture within the data set."""

    @abstractmethod
    def image_bytes(self, index: int) -> bytes:
        """The encoded picture, of the file or the LMDB; raises UserError if it cannot be read."""

    @abstractmethod
    def open_bytes(self, index: int, data: bytes) -> Image.Image:
        """Decode the result of ``image_bytes`` to RGB; raises UserError if it is not a picture."""

    def image(self, index: int) -> Image.Image:
        """The picture as RGB; raises UserError if it cannot be read."""
        return self.open_bytes(index, self.image_bytes(index))

    @abstractmethod
    def stamps(self) -> Iterator[str]:
        """Strings that change when pictures change, without reading them: names, sizes, times."""

    def __getitem__(self, index: int) -> Crop:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        return Crop(self.image(index), self.label(index), self.key(index))


class LabeledFolder(LabeledDataset):
    """A folder with ``labels.tsv``: UTF-8, ``path<TAB>label`` on each line, with paths relative to the folder."""

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
    """An LMDB in the field's format; keys are those of the pictures, from ``image-000000001`` on."""

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
    """Shards (``dptr.shards``), read chunk by chunk: fast in order, slow in random order."""

    def __init__(self, url: str) -> None:
        self.shards = open_shards(url)
        if not self.shards.pictures:
            raise UserError(f"{self.shards.url}: no pictures in these shards; labeled crops have one in each row")
        self.path = Path(self.shards.url)
        self._chunks: dict[bool, tuple[int, Rows]] = {}  # the last chunk read, without pictures and with them

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
        for cached in self._chunks.values():
            if cached[0] == chunk and (not pictures or cached is self._chunks.get(True)):
                return chunk, index - int(starts[chunk]), cached[1]
        self._chunks[pictures] = chunk, self.shards.read(chunk, pictures)
        return chunk, index - int(starts[chunk]), self._chunks[pictures][1]


class LabeledRoot(LabeledDataset):
    """The data sets below one folder, concatenated; keys begin with the folder of the data set.

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
        """The folder of a data set, relative to the root."""
        return part.path.relative_to(self.path).as_posix()

    def describe(self) -> str:
        """A line for the log: the number of data sets, their names, and their sizes."""
        sizes = ", ".join(f"{self.name(part)} {len(part):,}" for part in self.parts)
        return f"{self.path}: {len(self):,} crops in {len(self.parts)} data sets: {sizes}"

    def _find(self, index: int) -> tuple[LabeledDataset, int]:
        number = bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


def open_labeled(path: str | Path) -> LabeledDataset:
    """Open a data set: a folder with ``labels.tsv``, an LMDB folder, shards, or a root folder of several.

    Args:
        path: of the folder, of ``labels.tsv`` or ``data.mdb`` in it, or the address of shards.

    Raises:
        UserError: nothing there; not a data set, or a broken one; both files in one folder; see ``find_data_sets``.
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
    """The data sets of a root, or the data set itself, each with the prefix of its keys in the root."""
    if isinstance(dataset, LabeledRoot):
        return [(f"{dataset.name(part)}/", part) for part in dataset.parts]
    return [("", dataset)]


def name_crop(dataset: LabeledDataset, index: int) -> str:
    """The name of a crop in reports: the path of its data set, and its key there."""
    return f"{dataset.path}/{dataset.key(index)}"


def _open_folder(folder: Path) -> LabeledDataset:
    if not is_lmdb(folder) and not (folder / LABELS).is_file():
        return LabeledShards(str(folder))
    if not is_lmdb(folder):
        return LabeledFolder(folder)
    if (folder / LABELS).is_file():
        raise UserError(f"{folder}: both {LABELS} and data.mdb in it; move one of them to a folder of its own")
    return LabeledLmdb(folder)


def _stamp(file: Path) -> str:
    """Size and times of a file; unlike ``mtime``, which unpacking sets back, ``ctime`` cannot be set."""
    try:
        status = file.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _rows(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line:
            continue
        if line.count("\t") != 1 or line.startswith("\t"):
            found = "no path" if line.startswith("\t") else f"{line.count(chr(9)) or 'no'} tabs"
            raise UserError(f"{file}, line {number}: {found} in {line[:60]!r}; write path<TAB>label, one crop a line")
        path, label = line.split("\t")
        yield path, label
