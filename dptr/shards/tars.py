"""Shards in tar archives, as WebDataset writes them: consecutive members ``NAME.png`` and ``NAME.txt`` form a sample.

A chunk is a range of bytes that holds complete samples. It is read at once.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, Self

import numpy as np

from dptr.shards.rows import Chunks, Rows, Scan
from dptr.utils.errors import UserError, one_line
from dptr.utils.images import SUFFIXES
from dptr.utils.places import Place, StoreError

LABEL = "txt"  # the suffix of labels
CHUNK_ROWS, CHUNK_BYTES = 1000, 32 << 20  # a chunk ends with the sample that reaches either limit


class StrictMember(tarfile.TarInfo):
    """A member of an archive that must have an end marker.

    An archive without one is truncated. ``tarfile`` itself would accept it as complete.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"no end mark, {error}") from error


def scan_tar(place: Place, name: str) -> Scan:
    """Divide an archive into chunks. All headers are read.

    Raises:
        UserError: the archive is damaged, or holds no labels.
    """

    def scan() -> tuple[list[tuple[int, int, int, int]], bool, bool]:
        with place.open(name) as stream:
            return _scan(stream, name)

    chunks, labels, pictures = scan() if place.local else place.ask(name, scan)
    if chunks and not labels:
        raise UserError(f"{name}: no label in it; put NAME.{LABEL} beside each picture NAME.png")
    return Scan(np.array(chunks, np.int64).reshape(-1, 4), (LABEL, "", ""), pictures)


def read_stretch(place: Place, name: str, chunk: Chunks, columns: tuple[str, ...], pictures: bool) -> Rows:
    """Read the samples of a chunk.

    Args:
        columns: ignored, because all archives have the same structure.
        pictures: whether to read pictures too, or only labels.

    Raises:
        UserError: the archive is damaged, or has changed since the scan.
    """
    first, length = int(chunk[1]), int(chunk[2] - chunk[1])

    def read() -> bytes:
        with place.open(name) as stream:
            stream.seek(first)
            data = stream.read(length)
        if len(data) < length:
            raise OSError(f"{length - len(data)} bytes are missing")
        return data

    names: list[str] = []
    labels: list[str | None] = []
    images: list[bytes | None] = []
    try:
        data = read() if place.local else place.ask(name, read)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for key, members in _samples(archive):
                text = members.get(LABEL)
                names.append(key)
                labels.append(None if text is None else _extract(archive, text).decode("utf-8-sig").rstrip("\r\n"))
                image = next((members[each] for each in members if f".{each.rpartition('.')[2]}" in SUFFIXES), None)
                images.append(_extract(archive, image) if image is not None and pictures else None)
    except StoreError:
        raise
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: label of {names[-1]} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"{name}: damaged from byte {first} on ({one_line(error)}); copy it again") from error
    if len(labels) != chunk[3]:
        raise UserError(f"{name}: has changed since it was opened; start again")
    no_stops: Sequence[Any] = [None] * len(labels)
    return Rows(labels, images, no_stops, names)


def _scan(stream: IO[bytes], name: str) -> tuple[list[tuple[int, int, int, int]], bool, bool]:
    chunks: list[tuple[int, int, int, int]] = []
    labels = pictures = False
    first, rows, done = 0, 0, 0
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=StrictMember) as archive:
            for _, members in _samples(archive):
                begin = min(member.offset for member in members.values())
                if rows and (rows == CHUNK_ROWS or begin - first >= CHUNK_BYTES):
                    chunks.append((0, first, begin, rows))
                    first, rows = begin, 0
                if not rows:
                    first = begin
                rows, done = rows + 1, done + 1
                labels |= LABEL in members
                pictures |= any(f".{each.rpartition('.')[2]}" in SUFFIXES for each in members)
                archive.members = []  # type: ignore[attr-defined]  # free the headers that were read
            end = archive.offset  # type: ignore[attr-defined]
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, OSError) and not hasattr(stream, "fileno"):
            raise
        raise UserError(f"{name}: damaged after {done} samples ({one_line(error)}); copy it again") from error
    if rows:
        chunks.append((0, first, end, rows))
    return chunks, labels, pictures


def _samples(archive: tarfile.TarFile) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Yield the name of each sample, and its members by lower-case suffix.

    Consecutive members form a sample if their names are equal up to the first dot. The suffix is what follows that dot.
    """
    key, members = "", dict[str, tarfile.TarInfo]()
    for member in archive:
        if not member.isfile():
            continue
        folder, base = os.path.split(member.name)
        stem, _, suffix = base.partition(".")
        suffix = suffix.lower()
        if suffix != LABEL and f".{suffix.rpartition('.')[2]}" not in SUFFIXES:
            continue
        if members and (os.path.join(folder, stem) != key or suffix in members):
            yield key, members
            members = {}
        key = os.path.join(folder, stem)
        members[suffix] = member
    if members:
        yield key, members


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()
