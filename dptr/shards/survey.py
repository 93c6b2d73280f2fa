"""What a set of shards holds, looked at once before a training: which rows are used, and why others are not.

A row has a code of one byte, and where its picture counts a hash of four. In a folder these are files that later runs
map; their names end in a hash of what they depend on. Without a folder they are in memory.
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
LEFT_OUT = 200  # codes from here on are reasons; those below are classes of rows that can be used
LISTED = 1000  # rows of each reason that are named
_HELD = 50  # columns that stay mapped

Verdict: TypeAlias = tuple[int | str, str, int]
"""The class of a row, or the reason to leave it out; what explains that; the hash of its picture, or 0."""
Judge: TypeAlias = Callable[[Rows], Iterable[Verdict]]
Drops: TypeAlias = dict[str, tuple[int, list[tuple[str, str]]]]
"""Of each reason how many rows, and the first of them: what they are called, and what explains it."""


@dataclass(frozen=True)
class Column:
    """A value for each row, in memory or in a file."""

    held: np.ndarray | Path

    def part(self, first: int, last: int) -> np.ndarray:
        """Those of rows ``first``..``last - 1``; what is read from a file is a copy."""
        if isinstance(self.held, Path):
            return np.array(_map(self.held)[first:last])
        return self.held[first:last]


@dataclass(frozen=True)
class Survey:
    """What became of each row.

    Attributes:
        codes: uint8, the class of a row below ``LEFT_OUT``.
        hashes: uint32, of pictures; None where they do not count.
        drops: the rows that are left out.
        digest: of labels, codes, and hashes.
    """

    shards: ShardSet
    codes: Column
    hashes: Column | None
    drops: Drops = field(repr=False)
    digest: str

    def codes_of(self, chunk: int) -> UInt8[np.ndarray, " n"]:
        """The codes of a chunk's rows."""
        return self.codes.part(*self.shards.starts[chunk : chunk + 2])

    def hashes_of(self, chunk: int) -> UInt32[np.ndarray, " n"]:
        """The hashes of their pictures."""
        assert self.hashes is not None
        return self.hashes.part(*self.shards.starts[chunk : chunk + 2])

    def count(self, classes: Callable[[int], Int[np.ndarray, " n"]], bins: int) -> Int[np.ndarray, "chunks bins"]:
        """How many rows of each class the chunks have, where ``classes`` gives those of a chunk's used rows."""
        chunks = range(len(self.shards.chunks))
        return np.array([np.bincount(classes(chunk), minlength=bins) for chunk in chunks], np.int32)


def survey(shards: ShardSet, judge: Judge, pictures: bool, folder: str, key: str, setting: str) -> Survey:
    """Look at all rows, or at what was found before.

    Args:
        judge: the verdicts on the rows of a chunk.
        pictures: whether it needs them.
        folder: where what is found is kept, by the state of the files; empty = in memory.
        key: what the verdicts depend on beside the rows.
        setting: that names the folder, for errors.

    Raises:
        UserError: a shard cannot be read; the folder cannot be written to, or holds what is damaged.
    """
    if not folder:
        codes, hashes = np.empty(len(shards), np.uint8), np.empty(len(shards) if pictures else 0, np.uint32)
        drops, digest, done = Drops(), hashlib.sha256(), 0
        for some, hashed in _look(shards, judge, pictures, drops, digest):
            codes[done : done + len(some)] = some
            hashes[done : done + len(hashed)] = hashed
            done += len(some)
        held = Column(hashes) if pictures else None
        return Survey(shards, Column(codes), held, drops, digest.hexdigest()[:8])
    place = Path(folder)
    named = hashlib.sha256(f"{FORMAT} {shards.stamp()} {key}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    report = place / f"shards-{named}.json"
    files = [place / f"shards-{named}-codes.npy", *[place / f"shards-{named}-hashes.npy"] * pictures]
    if not report.is_file():
        with alone_in(place, setting):
            if not report.is_file():
                remove_partial(place)
                _write(shards, judge, pictures, report, files)
    read = read_json(report, "cache")
    for file in files:
        if len(_map(file)) != len(shards):
            raise UserError(f"{file}: {len(_map(file)):,} rows of {len(shards):,}; delete it and {report.name}")
    drops = {reason: (count, [(name, why) for name, why in some]) for reason, (count, some) in read["drops"].items()}
    columns = [Column(file) for file in files]
    return Survey(shards, columns[0], columns[1] if pictures else None, drops, read["digest"])


def _look(
    shards: ShardSet, judge: Judge, pictures: bool, drops: Drops, digest: hashlib._Hash
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Codes and hashes of each chunk; ``drops`` and ``digest`` grow."""
    reasons: dict[str, int] = {}
    for chunk, count in enumerate(shards.chunks[:, 3].tolist()):
        rows = shards.read(chunk, pictures)
        codes, hashes = np.empty(count, np.uint8), np.zeros(count if pictures else 0, np.uint32)
        for row, (found, why, hashed) in enumerate(judge(rows)):
            if isinstance(found, str):
                number, named = drops.get(found, (0, []))
                if number < LISTED:
                    named.append((shards.name(chunk, row, rows), why))
                drops[found] = number + 1, named
                found = reasons.setdefault(found, min(LEFT_OUT + len(reasons), 255))
            codes[row] = found
            if hashed:
                hashes[row] = hashed
        text = "\0".join(label or "" for label in rows.labels)
        for part in (text.encode("utf-8", "surrogatepass"), codes.tobytes(), hashes.astype(">u4").tobytes()):
            digest.update(part)
        yield codes, hashes


def _write(shards: ShardSet, judge: Judge, pictures: bool, report: Path, files: list[Path]) -> None:
    """By ``write``, not through a map: there a full disk would kill the process (SIGBUS)."""
    drops, digest = Drops(), hashlib.sha256()
    with ExitStack() as stack:
        asides = [stack.enter_context(replace_file(file)) for file in files]
        streams = [stack.enter_context(open(aside, "wb")) for aside in asides]
        for stream, kind in zip(streams, ("|u1", "<u4"), strict=False):
            header = {"descr": kind, "fortran_order": False, "shape": (len(shards),)}
            np.lib.format.write_array_header_1_0(stream, header)
        for some in _look(shards, judge, pictures, drops, digest):
            for stream, values in zip(streams, some, strict=False):
                stream.write(values.tobytes())
    write_json(report, {"data": shards.url, "drops": drops, "digest": digest.hexdigest()[:8]})


@lru_cache(maxsize=_HELD)
def _map(file: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(file, mmap_mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: not whole ({error}); delete it, and the .json beside it of that name") from error
