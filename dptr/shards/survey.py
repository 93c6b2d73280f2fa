"""Examine all rows of a set of shards once before training: which rows are used, and why the others are dropped.

Each row gets a code of one byte and, if pictures matter, a picture hash of four bytes. With a cache folder, codes and
hashes are files that later runs memory-map; the file names contain a hash of everything they depend on. Without a
folder, they are in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int, UInt8, UInt32

from dptr.shards.rows import Rows
from dptr.shards.shard_set import ShardSet
from dptr.utils.errors import UserError
from dptr.utils.files import read_json, remove_partial, replace_file, write_json
from dptr.utils.locks import alone_in

FORMAT = 1
LEFT_OUT = 200  # codes from here on are reasons to drop a row; lower codes are classes of usable rows
LISTED = 1000  # dropped rows that are listed by name, for each reason
_MAPPED_FILES = 50  # that stay open

Verdict: TypeAlias = tuple[int | str, str, int]
"""The class of a row, or the reason to drop it; an explanation; the hash of its picture, or 0."""
Judge: TypeAlias = Callable[[Rows], Iterable[Verdict]]
Drops: TypeAlias = dict[str, tuple[int, list[tuple[str, str]]]]
"""For each reason: the number of dropped rows, and the names and explanations of the first ``LISTED``."""


@dataclass(frozen=True)
class Column:
    """A value for each row: an array in memory, or the path of a .npy file."""

    held: np.ndarray | Path

    def part(self, first: int, last: int) -> np.ndarray:
        """The values of rows ``first``..``last - 1``; values from a file are copied."""
        if isinstance(self.held, Path):
            return np.array(_map(self.held)[first:last])
        return self.held[first:last]


@dataclass(frozen=True)
class Survey:
    """The result for each row.

    Attributes:
        codes: uint8; the class of a used row, or ``LEFT_OUT`` and above for a dropped row.
        hashes: uint32, of pictures; None if pictures do not matter.
        drops: the dropped rows.
        digest: of labels, codes, and hashes, 8 hexadecimal digits.
    """

    shards: ShardSet
    codes: Column
    hashes: Column | None
    drops: Drops = field(repr=False)
    digest: str

    def codes_of(self, chunk: int) -> UInt8[np.ndarray, " n"]:
        """The codes of the rows of a chunk."""
        return self.codes.part(*self.shards.starts[chunk : chunk + 2])

    def hashes_of(self, chunk: int) -> UInt32[np.ndarray, " n"]:
        """The picture hashes of the rows of a chunk; ``hashes`` must not be None."""
        assert self.hashes is not None
        return self.hashes.part(*self.shards.starts[chunk : chunk + 2])

    def count(self, classes: Callable[[int], Int[np.ndarray, " n"]], bins: int) -> Int[np.ndarray, "chunks bins"]:
        """Count the used rows of each class in each chunk.

        Args:
            classes: returns the class of each used row of a chunk, given its number.
            bins: number of classes.
        """
        chunks = range(len(self.shards.chunks))
        return np.array([np.bincount(classes(chunk), minlength=bins) for chunk in chunks], np.int32)


def survey(shards: ShardSet, judge: Judge, pictures: bool, folder: str, key: str, setting: str) -> Survey:
    """Judge all rows, or load the verdicts of an earlier run.

    Args:
        shards: the set.
        judge: returns a verdict for each row of a chunk.
        pictures: whether ``judge`` needs pictures.
        folder: a cache for the verdicts; it depends on sizes and times of the files. Empty = keep them in memory.
        key: whatever else the verdicts depend on.
        setting: the name of the setting that holds the folder, for error messages.

    Raises:
        UserError: a shard cannot be read, the folder is not writable, or it holds a damaged file.
    """
    if not folder:
        codes, hashes = np.empty(len(shards), np.uint8), np.empty(len(shards) if pictures else 0, np.uint32)
        drops, digest, done = Drops(), hashlib.sha256(), 0
        for chunk_codes, chunk_hashes in _judge_chunks(shards, judge, pictures, drops, digest):
            codes[done : done + len(chunk_codes)] = chunk_codes
            hashes[done : done + len(chunk_hashes)] = chunk_hashes
            done += len(chunk_codes)
        hash_column = Column(hashes) if pictures else None
        return Survey(shards, Column(codes), hash_column, drops, digest.hexdigest()[:8])
    cache = Path(folder)
    state = hashlib.sha256(f"{FORMAT} {shards.stamp()} {key}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    report = cache / f"shards-{state}.json"
    files = [cache / f"shards-{state}-codes.npy", *[cache / f"shards-{state}-hashes.npy"] * pictures]
    if not report.is_file():
        with alone_in(cache, setting):
            if not report.is_file():
                remove_partial(cache)
                _write_files(shards, judge, pictures, report, files)
    content = read_json(report, "cache")
    for file in files:
        if len(_map(file)) != len(shards):
            raise UserError(f"{file}: {len(_map(file)):,} rows of {len(shards):,}; delete it and {report.name}")
    drops = {
        reason: (count, [(name, why) for name, why in listed]) for reason, (count, listed) in content["drops"].items()
    }
    columns = [Column(file) for file in files]
    return Survey(shards, columns[0], columns[1] if pictures else None, drops, content["digest"])


def _judge_chunks(
    shards: ShardSet, judge: Judge, pictures: bool, drops: Drops, digest: hashlib._Hash
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the codes and hashes of each chunk; ``drops`` and ``digest`` are updated in place."""
    reasons: dict[str, int] = {}
    for chunk, count in enumerate(shards.chunks[:, 3].tolist()):
        rows = shards.read(chunk, pictures)
        codes, hashes = np.empty(count, np.uint8), np.zeros(count if pictures else 0, np.uint32)
        for row, (verdict, why, picture_hash) in enumerate(judge(rows)):
            if isinstance(verdict, str):
                number, listed = drops.get(verdict, (0, []))
                if number < LISTED:
                    listed.append((shards.name(chunk, row, rows), why))
                drops[verdict] = number + 1, listed
                verdict = reasons.setdefault(verdict, min(LEFT_OUT + len(reasons), 255))
            codes[row] = verdict
            if picture_hash:
                hashes[row] = picture_hash
        text = "\0".join(label or "" for label in rows.labels)
        for part in (text.encode("utf-8", "surrogatepass"), codes.tobytes(), hashes.astype(">u4").tobytes()):
            digest.update(part)
        yield codes, hashes


def _write_files(shards: ShardSet, judge: Judge, pictures: bool, report: Path, files: list[Path]) -> None:
    """Judge all rows and write the .npy files, then the report.

    The files are written with ``write``. A full disk would kill a process that writes through a memory map (SIGBUS).
    """
    drops, digest = Drops(), hashlib.sha256()
    with ExitStack() as stack:
        asides = [stack.enter_context(replace_file(file)) for file in files]
        streams = [stack.enter_context(open(aside, "wb")) for aside in asides]
        for stream, kind in zip(streams, ("|u1", "<u4"), strict=False):
            header = {"descr": kind, "fortran_order": False, "shape": (len(shards),)}
            np.lib.format.write_array_header_1_0(stream, header)
        for arrays in _judge_chunks(shards, judge, pictures, drops, digest):
            for stream, values in zip(streams, arrays, strict=False):
                stream.write(values.tobytes())
    write_json(report, {"data": shards.url, "drops": drops, "digest": digest.hexdigest()[:8]})


@lru_cache(maxsize=_MAPPED_FILES)
def _map(file: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(file, mmap_mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: not whole ({error}); delete it, and the .json beside it of that name") from error
