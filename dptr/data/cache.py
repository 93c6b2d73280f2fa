"""A cache of decoded crops on disk: each data set is decoded once for each target size, and memory-mapped afterwards.

A data set becomes two files: the crops as a NumPy array and, written last, a JSON file with the hash of each picture
(``dptr.data.held_out``) and the unreadable ones. The name of both ends in a hash of what decoding depends on: the size
of crops, Pillow's version, the path of the data set, and name, size, and times of each picture (or of ``data.mdb``).
Labels are not cached.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL
from jaxtyping import Int, UInt8, UInt32

from dptr.data.held_out import hash_picture
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, remove_partial, replace_file, write_json
from dptr.utils.locks import alone_in
from dptr.utils.resize import to_array

if TYPE_CHECKING:
    from dptr.data.labeled import LabeledDataset

FORMAT = 2  # raise it when the pixels of ``open_image`` or ``to_array`` change, or the content of the JSON file


@dataclass(frozen=True)
class MappedCrops:
    """Crops on disk, indexed like an array (n, h, w, 3) by number or slice; crops that are read are copies.

    Args:
        files: of decoded data sets.
        places: index of the file, and row in it, of each crop.
    """

    files: tuple[Path, ...]
    places: Int[np.ndarray, "n 2"]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int | slice) -> UInt8[np.ndarray, "*n h w 3"]:
        if isinstance(index, slice):
            return np.stack([self[row] for row in range(*index.indices(len(self)))])
        file, row = self.places[index]
        return np.array(_open(self.files[file])[row])

    def choose(self, rows: np.ndarray) -> MappedCrops:
        """The crops ``rows``, in this order; nothing is read."""
        return MappedCrops(self.files, self.places[rows])


@dataclass(frozen=True)
class DecodedSet:
    """A data set in the cache.

    Attributes:
        file: with the crops.
        unreadable: index of each unreadable picture -> error.
        hashes: of each picture (``dptr.data.held_out.hash_picture``); 0 if it is unreadable.
    """

    file: Path
    unreadable: dict[int, str]
    hashes: UInt32[np.ndarray, " n"]


def decode_once(dataset: LabeledDataset, folder: str | Path, height: int, width: int) -> DecodedSet:
    """Decode all pictures of a data set to a file in ``folder``, with ``height * width * 3`` bytes for each.

    A data set that was decoded before is not decoded again. If several processes call this, one decodes, and the others
    wait.

    Raises:
        UserError: the folder cannot be written, or the disk is full (then no file is left there); or an existing file
            is incomplete.
    """
    folder = Path(folder)
    place = dataset.path.resolve()
    described = [f"{FORMAT} {PIL.__version__} {height}x{width} {place}", *dataset.stamps()]
    key = hashlib.sha256("\n".join(described).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    file = folder / f"{place.name}-{height}x{width}-{key}.npy"
    report = file.with_suffix(".json")
    if not report.is_file():
        with alone_in(folder, "data.cache"):
            if not report.is_file():
                remove_partial(folder)
                if file.exists():  # only a whole array is replaced: another file may not be dptr's
                    _open(file)
                    _open.cache_clear()
                unreadable, hashes = _decode(dataset, file, height, width)
                digits = hashes.astype(">u4").tobytes().hex()  # 8 per picture
                write_json(report, {"data": str(place), "unreadable": unreadable, "hashes": digits})
    if _open(file).shape != (len(dataset), height, width, 3):
        raise UserError(f"{file}: {_open(file).shape[0]} crops of {len(dataset)}; delete it and {report.name}")
    saved = read_json(report, "cache")
    unreadable = {int(index): error for index, error in saved["unreadable"].items()}
    return DecodedSet(file, unreadable, np.frombuffer(bytes.fromhex(saved["hashes"]), ">u4").astype(np.uint32))


def _decode(
    dataset: LabeledDataset, file: Path, height: int, width: int
) -> tuple[dict[int, str], UInt32[np.ndarray, " n"]]:
    """Write with ``write``, not through a memory map, where a full disk would kill the process (SIGBUS)."""
    unreadable: dict[int, str] = {}
    hashes = np.zeros(len(dataset), np.uint32)
    blank = np.zeros((height, width, 3), np.uint8)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(dataset), height, width, 3)}
    with replace_file(file) as aside, open(aside, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for index in range(len(dataset)):
            try:
                data = dataset.image_bytes(index)
                crop, hashes[index] = to_array(dataset.open_bytes(index, data), height, width), hash_picture(data)
            except UserError as error:
                unreadable[index], crop = str(error), blank
            stream.write(crop.tobytes())
    return unreadable, hashes


@lru_cache(maxsize=64)
def _open(file: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(file, mmap_mode="r"))  # the plain class is indexed much faster
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{file}: not whole ({error}); delete it and {file.stem}.json, the next run decodes it again"
        ) from error
