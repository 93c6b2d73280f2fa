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

from dptr.data.cache import MappedCrops, decode_once
from dptr.data.lmdb import LmdbReader, is_lmdb
from dptr.text.charset import Charset, check_label
from dptr.utils.errors import UserError
from dptr.utils.images import fit, open_image, to_array, turns
from dptr.utils.widths import Ragged, by_width

LABELS = "labels.tsv"
UNREADABLE = "unreadable image"
_SORTED = 16  # batches whose crops are sorted by width together


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

    @abstractmethod
    def stamps(self) -> Iterator[str]:
        """What tells of a change of pictures without reading them: names, sizes, times."""

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

    def stamps(self) -> Iterator[str]:
        return (f"{name}\t{_stamp(self.path / name)}" for name, _ in self._rows)


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

    def stamps(self) -> Iterator[str]:
        yield _stamp(self.path / "data.mdb")


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


def _stamp(file: Path) -> str:
    """Size and times; the time of the last change (``ctime``) cannot be set back, as unpacking does with the other."""
    try:
        found = file.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


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
    """n crops: pictures at the target size, in memory or on disk, normalised labels, keys, which path each is from.

    Attributes:
        turned: by row, the two ways in which a tall picture can be turned (``dptr.utils.images.turns``), at the target size;
            of crops on disk none.
    """

    arrays: UInt8[np.ndarray, "n h w 3"] | MappedCrops | Ragged
    labels: list[str]
    keys: list[str]
    sources: list[int]
    drops: DropReport
    turned: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int = 128) -> Iterator[tuple[list[int], UInt8[np.ndarray, "b h w 3"]]]:
        """All crops, up to ``size`` of one width at a time, and which they are; in order where there is one width."""
        arrays = self.arrays
        span = size * _SORTED if isinstance(arrays, Ragged) else size
        for start in range(0, len(self), span):
            rows = list(range(start, min(start + span, len(self))))
            if isinstance(arrays, Ragged):
                for places, crops in by_width([arrays[row] for row in rows], size):
                    yield [rows[place] for place in places], crops
            else:
                yield rows, arrays[start : start + size]

    def choose(self, rows: np.ndarray) -> LabelledCrops:
        """Some crops, in the order given."""
        return LabelledCrops(
            self.arrays[rows] if isinstance(self.arrays, np.ndarray) else self.arrays.choose(rows),
            [self.labels[row] for row in rows],
            [self.keys[row] for row in rows],
            [self.sources[row] for row in rows],
            self.drops,
            {place: self.turned[row] for place, row in enumerate(rows.tolist()) if row in self.turned},
        )


def load_crops(
    paths: Sequence[str | Path],
    charset: Charset,
    max_length: int,
    height: int,
    width: int,
    cache: str | Path = "",
    widest: int = 0,
) -> LabelledCrops:
    """Open data sets, every crop decoded once and stretched to ``height`` x ``width``.

    With ``widest`` longer pictures become wider crops (``dptr.utils.widths``).

    A crop is left out, counted and listed when its label is empty, has characters outside ``charset`` or more than
    ``max_length`` of them (``dptr.text.charset.check_label``), or when its picture cannot be read.

    Args:
        cache: a folder for decoded crops (``dptr.data.cache``), which need not fit in memory then; empty = they are
            held in memory. ``height * width * 3`` bytes a crop either way.

    Raises:
        UserError: no paths, a data set that cannot be opened (``open_labelled``), what ``decode_once`` raises, no crop
            is left, or a cache for crops of several widths.
    """
    if cache and widest:
        raise UserError(
            f"data.cache = '{cache}' holds crops of one width, encoder.widest = {widest} asks for several; "
            "leave one of them out"
        )
    if not paths:
        raise UserError("no data set given; pass a folder with labels.tsv, or an LMDB folder")
    drops = DropReport()
    datasets = [open_labelled(path) for path in paths]
    wanted: list[_Wanted] = []
    for source, dataset in enumerate(datasets):
        for index in range(len(dataset)):
            label, reason = check_label(dataset.label(index), charset, max_length)
            if reason is None:
                wanted.append((source, index, label))
            else:
                drops.add(reason, _where(dataset, index), repr(dataset.label(index)))
    arrays: np.ndarray | MappedCrops | Ragged
    turned: dict[int, list[np.ndarray]] = {}
    if cache:
        arrays, unreadable = _map(datasets, wanted, height, width, cache)
    elif widest:
        arrays, turned, unreadable = _decode_ragged(datasets, wanted, height, width, widest)
    else:
        arrays, turned, unreadable = _decode(datasets, wanted, height, width)
    for (source, index), error in unreadable.items():
        drops.add(UNREADABLE, _where(datasets[source], index), error)
    kept = [(source, index, label) for source, index, label in wanted if (source, index) not in unreadable]
    if not kept:
        reasons = ", ".join(f"{count} {reason}" for reason, count in drops.counts.items()) or "they are empty"
        raise UserError(f"{', '.join(map(str, paths))}: no crop left ({reasons}); check the data or the charset")
    keys = [datasets[source].key(index) for source, index, _ in kept]
    return LabelledCrops(arrays, [label for *_, label in kept], keys, [source for source, *_ in kept], drops, turned)


_Wanted = tuple[int, int, str]  # data set, sample, label
_Unreadable = dict[tuple[int, int], str]  # data set, sample -> error


_Turned = dict[int, list[np.ndarray]]  # row -> a tall picture's turned views


def _decode(
    datasets: Sequence[Labelled], wanted: Sequence[_Wanted], height: int, width: int
) -> tuple[np.ndarray, _Turned, _Unreadable]:
    try:
        arrays = np.empty((len(wanted), height, width, 3), np.uint8)
    except MemoryError as error:
        raise UserError(
            f"{len(wanted)} crops of {height}x{width} do not fit in memory; set data.cache to a folder, or pass fewer"
        ) from error
    turned: _Turned = {}
    unreadable: _Unreadable = {}
    count = 0
    for source, index, _ in wanted:
        try:
            image = datasets[source].image(index)
        except UserError as error:
            unreadable[source, index] = str(error)
            continue
        arrays[count] = to_array(image, height, width)
        if views := turns(image):
            turned[count] = [to_array(view, height, width) for view in views]
        count += 1
    return arrays[:count], turned, unreadable


def _decode_ragged(
    datasets: Sequence[Labelled], wanted: Sequence[_Wanted], height: int, width: int, widest: int
) -> tuple[Ragged, _Turned, _Unreadable]:
    crops: list[np.ndarray] = []
    turned: _Turned = {}
    unreadable: _Unreadable = {}
    for source, index, _ in wanted:
        try:
            image = datasets[source].image(index)
        except UserError as error:
            unreadable[source, index] = str(error)
            continue
        if views := turns(image):
            turned[len(crops)] = [fit(view, height, width, widest) for view in views]
        crops.append(fit(image, height, width, widest))
    return Ragged(crops), turned, unreadable


def _map(
    datasets: Sequence[Labelled], wanted: Sequence[_Wanted], height: int, width: int, cache: str | Path
) -> tuple[MappedCrops, _Unreadable]:
    files, errors = zip(*(decode_once(dataset, cache, height, width) for dataset in datasets), strict=True)
    unreadable = {(source, index): errors[source][index] for source, index, _ in wanted if index in errors[source]}
    places = [(source, index) for source, index, _ in wanted if (source, index) not in unreadable]
    return MappedCrops(files, np.array(places, np.int64).reshape(-1, 2)), unreadable


def _where(dataset: Labelled, index: int) -> str:
    return f"{dataset.path}/{dataset.key(index)}"
