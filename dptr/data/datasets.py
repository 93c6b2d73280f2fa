"""Labelled crops in: a folder with ``labels.tsv`` or an LMDB; what is left out is counted and listed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dptr.data.lmdb_io import LmdbReader, is_lmdb
from dptr.errors import UserError
from dptr.images import open_image, to_array
from dptr.text.charset import Charset, check_label

LABELS = "labels.tsv"
UNREADABLE = "unreadable image"


@dataclass(frozen=True)
class Crop:
    """One labelled crop: an RGB picture, the label as it was written, and where it came from."""

    image: Image.Image
    label: str
    key: str


class Labelled(ABC):
    """Labelled crops by index; iterating reads them one after the other."""

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
    def image(self, index: int) -> Image.Image:
        """The picture as RGB; UserError where it cannot be read."""

    def __getitem__(self, index: int) -> Crop:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        return Crop(self.image(index), self.label(index), self.key(index))


class LabelledFolder(Labelled):
    """A folder with ``labels.tsv``: UTF-8, one ``path<TAB>label`` a line, paths relative to the file."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder)
        self._rows = list(_rows(self.path / LABELS))

    def __len__(self) -> int:
        return len(self._rows)

    def label(self, index: int) -> str:
        return self._rows[index][1]

    def key(self, index: int) -> str:
        return self._rows[index][0]

    def image(self, index: int) -> Image.Image:
        return open_image(self.path / self._rows[index][0])


class LabelledLmdb(Labelled):
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

    def image(self, index: int) -> Image.Image:
        data = self._reader.image_bytes(index)
        try:
            return open_image(data)
        except UserError as error:
            raise UserError(f"{self.path}: {self.key(index)}: {error}") from error


def open_labelled(path: str | Path) -> Labelled:
    """Open a data set: a folder with ``labels.tsv``, or an LMDB folder; the file itself is taken for its folder.

    Raises:
        UserError: nothing there, neither of the two, both of the two, or what the two formats demand is violated.
    """
    folder = Path(path)
    if folder.name in (LABELS, "data.mdb") and folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        problem = "not a data set" if folder.exists() else "no such folder"
        raise UserError(f"{path}: {problem}; pass a folder with {LABELS}, or an LMDB folder")
    has_labels, has_lmdb = (folder / LABELS).is_file(), is_lmdb(folder)
    if has_labels and has_lmdb:
        raise UserError(f"{path}: both {LABELS} and data.mdb in it; move one of them to a folder of its own")
    if has_lmdb:
        return LabelledLmdb(folder)
    if has_labels:
        return LabelledFolder(folder)
    below = [f"{depth}/{name}" for depth in ("*", "*/*") for name in (LABELS, "data.mdb")]
    found = {file.parent for pattern in below for file in folder.glob(pattern)}
    inside = sorted(path for path in found if not path.name.startswith("."))
    remedy = (
        f"pass {', '.join(map(str, inside[:3]))}{' ...' if len(inside) > 3 else ''}"
        if inside
        else f"write {LABELS} there, a crop a line: path<TAB>label"
    )
    raise UserError(f"{path}: neither {LABELS} nor data.mdb in it; {remedy}")


def _rows(file: Path) -> Iterator[tuple[str, str]]:
    try:
        data = file.read_bytes()
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


@dataclass
class DropReport:
    """Samples left out, by reason: all of them counted, the first ``listed`` of each reason named."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # reason -> (key, detail)
    listed: int = 1000

    def add(self, reason: str, key: str, detail: str) -> None:
        """Count one sample: where it came from, and the label or error that explains the reason."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.examples.setdefault(reason, [])
        if len(named) < self.listed:
            named.append((key, detail))

    def merge(self, other: DropReport) -> None:
        """Add what ``other`` counted."""
        for reason, count in other.counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + count
            named = self.examples.setdefault(reason, [])
            named += other.examples[reason][: self.listed - len(named)]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def lines(self, show: int = 3) -> list[str]:
        """For the terminal: a line a reason, the most frequent first, with the first ``show`` samples."""
        result = []
        for reason, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            named = "; ".join(f"{key}: {detail}" if detail else key for key, detail in self.examples[reason][:show])
            result.append(f"dropped {count} ({reason}): {named}{'; ...' if count > show else ''}")
        return result

    def to_json(self) -> dict[str, Any]:
        """``{reason: {"count": n, "examples": [{"key": ..., "detail": ...}, ...]}}``."""
        return {
            reason: {
                "count": count,
                "examples": [{"key": key, "detail": detail} for key, detail in self.examples[reason]],
            }
            for reason, count in self.counts.items()
        }


@dataclass
class LabelledCrops:
    """Crops in memory, n of them: pictures at the target size, normalised labels, keys, and which path each is from."""

    arrays: UInt8[np.ndarray, "n h w 3"]
    labels: list[str]
    keys: list[str]
    sources: list[int]
    drops: DropReport

    def __len__(self) -> int:
        return len(self.labels)


def load_crops(
    paths: Sequence[str | Path], charset: Charset, max_length: int, height: int, width: int
) -> LabelledCrops:
    """Read data sets into memory, every crop decoded once and stretched to ``height`` x ``width``.

    A crop is left out, counted and listed when its label is empty, has characters outside ``charset`` or more than
    ``max_length`` of them (``dptr.text.charset.check_label``), or when its picture cannot be read.
    ``height * width * 3`` bytes a crop.

    Raises:
        UserError: no paths, a data set that cannot be opened (``open_labelled``), or no crop is left.
    """
    if not paths:
        raise UserError("no data set given; pass a folder with labels.tsv, or an LMDB folder")
    drops = DropReport()
    datasets = [open_labelled(path) for path in paths]
    wanted: list[tuple[int, int, str]] = []
    for source, dataset in enumerate(datasets):
        for index in range(len(dataset)):
            label, reason = check_label(dataset.label(index), charset, max_length)
            if reason is None:
                wanted.append((source, index, label))
            else:
                drops.add(reason, _where(dataset, index), repr(dataset.label(index)))
    try:
        arrays = np.empty((len(wanted), height, width, 3), np.uint8)
    except MemoryError as error:
        raise UserError(f"{len(wanted)} crops of {height}x{width} do not fit in memory; pass fewer at once") from error
    labels: list[str] = []
    keys: list[str] = []
    sources: list[int] = []
    for source, index, label in wanted:
        dataset = datasets[source]
        try:
            arrays[len(labels)] = to_array(dataset.image(index), height, width)
        except UserError as error:
            drops.add(UNREADABLE, _where(dataset, index), str(error))
            continue
        labels.append(label)
        keys.append(dataset.key(index))
        sources.append(source)
    if not labels:
        reasons = ", ".join(f"{count} {reason}" for reason, count in drops.counts.items()) or "they are empty"
        raise UserError(f"{', '.join(map(str, paths))}: no crop left ({reasons}); check the data or the charset")
    return LabelledCrops(arrays[: len(labels)], labels, keys, sources, drops)


def _where(dataset: Labelled, index: int) -> str:
    return f"{dataset.path}/{dataset.key(index)}"
