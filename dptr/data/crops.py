"""Loading of labeled crops from data sets, or roots of several; crops that are left out are counted and listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8, UInt32
from PIL import Image

from dptr.data.cache import MappedCrops, decode_once
from dptr.data.held_out import hash_picture
from dptr.data.labeled import LabeledDataset, name_crop, open_labeled, parts_of
from dptr.data.report import DropReport
from dptr.text.charset import EMPTY, Charset, check_label
from dptr.utils.errors import UserError
from dptr.utils.resize import fit, to_array, turn_tall
from dptr.utils.sizes import Sizes, VariableSizeCrops, group_by_size

UNREADABLE = "unreadable image"
_SORTED = 16  # batches whose crops are grouped by size together


@dataclass
class LabeledCrops:
    """n labeled crops, in memory or on disk.

    Attributes:
        arrays: pictures at the target size.
        labels: normalized.
        keys: names within the data set.
        sources: index of the path of each crop.
        hashes: of the pictures (``dptr.data.held_out.hash_picture``); empty for rendered crops, which have no files.
        turned: row of a tall picture -> the picture turned by 90 and by 270 degrees (``dptr.utils.resize.turn_tall``),
            at the target size; empty for crops on disk.
    """

    arrays: UInt8[np.ndarray, "n h w 3"] | MappedCrops | VariableSizeCrops
    labels: list[str]
    keys: list[str]
    sources: list[int]
    drops: DropReport
    turned: dict[int, list[np.ndarray]] = field(default_factory=dict)
    hashes: UInt32[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0, np.uint32))

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """The number of crops, and a digest of their pictures, labels, and keys in this order."""
        sha256 = hashlib.sha256(self.hashes.astype(">u4").tobytes())
        for text in chain(self.labels, self.keys):
            sha256.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return f"{len(self)} ({sha256.hexdigest()[:8]})"

    def sizes(self) -> Int[np.ndarray, "n 2"]:
        """Height and width of each crop."""
        if isinstance(self.arrays, VariableSizeCrops):
            return np.array(self.arrays.sizes())
        return np.tile(self.arrays[0].shape[:2], (len(self), 1))

    def batches(self, size: int = 128) -> Iterator[tuple[list[int], UInt8[np.ndarray, "b h w 3"]]]:
        """Batches of up to ``size`` crops of one size, each with its rows; in order if all crops have the same size."""
        arrays = self.arrays
        span = size * _SORTED if isinstance(arrays, VariableSizeCrops) else size
        for start in range(0, len(self), span):
            rows = list(range(start, min(start + span, len(self))))
            if isinstance(arrays, VariableSizeCrops):
                for places, crops in group_by_size([arrays[row] for row in rows], size):
                    yield [rows[place] for place in places], crops
            else:
                yield rows, arrays[start : start + size]

    def choose(self, rows: np.ndarray) -> LabeledCrops:
        """The crops ``rows``, in this order."""
        return LabeledCrops(
            self.arrays[rows] if isinstance(self.arrays, np.ndarray) else self.arrays.choose(rows),
            [self.labels[row] for row in rows],
            [self.keys[row] for row in rows],
            [self.sources[row] for row in rows],
            self.drops,
            {place: self.turned[row] for place, row in enumerate(rows.tolist()) if row in self.turned},
            self.hashes[rows] if len(self.hashes) else self.hashes,
        )


def load_crops(
    paths: Sequence[str | Path],
    charset: Charset,
    max_length: int,
    size: Sizes,
    cache: str | Path = "",
    allow_empty: bool = False,
) -> LabeledCrops:
    """Load data sets, with every crop decoded and resized to the size that ``size`` chooses for it.

    Crops are left out, counted, and listed if the label is empty, has characters outside ``charset``, or is longer than
    ``max_length`` (``dptr.text.charset.check_label``), or if the picture is unreadable.

    Args:
        cache: folder of decoded crops (``dptr.data.cache``) that stay on disk; empty = decode into memory. Crops take
            three bytes per pixel in both cases.
        allow_empty: keep crops with an empty label, which show no text.

    Raises:
        UserError: no paths; a data set that cannot be opened (``open_labeled``); no crop is left; a cache for crops of
            several sizes; see ``decode_once``.
    """
    if cache and len(size.every) > 1:
        raise UserError(
            f"data.cache = '{cache}' holds crops of one size, the encoder reads {size}; leave data.cache out, or set "
            "model.encoder.max_width=0 and model.encoder.sizes=[]"
        )
    if not paths:
        raise UserError("no data set given; pass a folder with labels.tsv, or an LMDB folder")
    drops = DropReport()
    parts = [(owner, *part) for owner, path in enumerate(paths) for part in parts_of(open_labeled(path))]
    datasets = [dataset for _, _, dataset in parts]
    wanted: list[_Wanted] = []
    for source, dataset in enumerate(datasets):
        for index in range(len(dataset)):
            label, reason = check_label(dataset.label(index), charset, max_length)
            if reason is None or (reason == EMPTY and allow_empty):
                wanted.append((source, index, label))
            else:
                drops.add(reason, name_crop(dataset, index), repr(dataset.label(index)))
    arrays, turned, hashes, unreadable = _decode(datasets, wanted, size, cache)
    for (source, index), error in unreadable.items():
        drops.add(UNREADABLE, name_crop(datasets[source], index), error)
    readable = [(source, index, label) for source, index, label in wanted if (source, index) not in unreadable]
    if not readable:
        reasons = ", ".join(f"{count} {reason}" for reason, count in drops.counts.items()) or "they are empty"
        raise UserError(f"{', '.join(map(str, paths))}: no crop left ({reasons}); check the data or the charset")
    keys = [parts[source][1] + datasets[source].key(index) for source, index, _ in readable]
    sources = [parts[source][0] for source, *_ in readable]
    return LabeledCrops(arrays, [label for *_, label in readable], keys, sources, drops, turned, hashes)


def join_crops(parts: Sequence[LabeledCrops], size: Sizes) -> LabeledCrops:
    """Concatenate crops in memory; indices of sources are shifted to stay distinct, and ``drops`` are the first's."""
    crops = [part.arrays[row] for part in parts for row in range(len(part))]
    turned: dict[int, list[np.ndarray]] = {}
    sources: list[int] = []
    for part in parts:
        turned |= {len(sources) + row: views for row, views in part.turned.items()}
        offset = max(sources, default=-1) + 1
        sources += [offset + source for source in part.sources]
    return LabeledCrops(
        as_arrays(crops, size),
        [label for part in parts for label in part.labels],
        [key for part in parts for key in part.keys],
        sources,
        parts[0].drops if parts else DropReport(),
        turned,
        np.concatenate([part.hashes for part in parts]),
    )


def as_arrays(crops: list[np.ndarray], size: Sizes) -> UInt8[np.ndarray, "n h w 3"] | VariableSizeCrops:
    """Crops in the form of ``LabeledCrops.arrays``."""
    if len(size.every) > 1:
        return VariableSizeCrops(crops)
    return np.stack(crops) if crops else np.empty((0, size.height, size.width, 3), np.uint8)


_Wanted = tuple[int, int, str]  # index of the data set, index in it, label
_Unreadable = dict[tuple[int, int], str]  # (index of the data set, index in it) -> error
_Turned = dict[int, list[np.ndarray]]  # row -> a tall picture's turned views


_Decoded = tuple[np.ndarray | MappedCrops | VariableSizeCrops, _Turned, np.ndarray, _Unreadable]
"""As in ``LabeledCrops`` the arrays, the turned views, and the hashes; and the pictures that are not among them."""


def _decode(datasets: Sequence[LabeledDataset], wanted: Sequence[_Wanted], size: Sizes, cache: str | Path) -> _Decoded:
    if cache:
        return _map(datasets, wanted, size.height, size.width, cache)
    if len(size.every) > 1:
        return _decode_variable(datasets, wanted, size)
    return _decode_fixed(datasets, wanted, size.height, size.width)


def _decode_fixed(datasets: Sequence[LabeledDataset], wanted: Sequence[_Wanted], height: int, width: int) -> _Decoded:
    try:
        arrays = np.empty((len(wanted), height, width, 3), np.uint8)
    except MemoryError as error:
        raise UserError(
            f"{len(wanted)} crops of {height}x{width} do not fit in memory; set data.cache to a folder, or pass fewer"
        ) from error
    turned: _Turned = {}
    unreadable: _Unreadable = {}
    hashes: list[int] = []
    for row, (image, picture_hash) in enumerate(_open_readable(datasets, wanted, unreadable)):
        arrays[row] = to_array(image, height, width)
        if views := list(map(partial(to_array, height=height, width=width), turn_tall(image))):
            turned[row] = views
        hashes.append(picture_hash)
    return arrays[: len(hashes)], turned, np.array(hashes, np.uint32), unreadable


def _decode_variable(datasets: Sequence[LabeledDataset], wanted: Sequence[_Wanted], size: Sizes) -> _Decoded:
    crops: list[np.ndarray] = []
    turned: _Turned = {}
    unreadable: _Unreadable = {}
    hashes: list[int] = []
    for row, (image, picture_hash) in enumerate(_open_readable(datasets, wanted, unreadable)):
        crops.append(fit(image, size))
        if views := list(map(partial(fit, sizes=size), turn_tall(image))):
            turned[row] = views
        hashes.append(picture_hash)
    return VariableSizeCrops(crops), turned, np.array(hashes, np.uint32), unreadable


def _open_readable(
    datasets: Sequence[LabeledDataset], wanted: Sequence[_Wanted], unreadable: _Unreadable
) -> Iterator[tuple[Image.Image, int]]:
    """Yield each picture and its hash; pictures that cannot be opened go into ``unreadable``."""
    for source, index, _ in wanted:
        try:
            data = datasets[source].image_bytes(index)
            image = datasets[source].open_bytes(index, data)
        except UserError as error:
            unreadable[source, index] = str(error)
            continue
        yield image, hash_picture(data)


def _map(
    datasets: Sequence[LabeledDataset], wanted: Sequence[_Wanted], height: int, width: int, cache: str | Path
) -> _Decoded:
    decoded = [decode_once(dataset, cache, height, width) for dataset in datasets]
    unreadable = {
        (source, index): decoded[source].unreadable[index]
        for source, index, _ in wanted
        if index in decoded[source].unreadable
    }
    places = [(source, index) for source, index, _ in wanted if (source, index) not in unreadable]
    hashes = np.array([decoded[source].hashes[index] for source, index in places], np.uint32)
    crops = MappedCrops(tuple(dataset.file for dataset in decoded), np.array(places, np.int64).reshape(-1, 2))
    return crops, {}, hashes, unreadable
