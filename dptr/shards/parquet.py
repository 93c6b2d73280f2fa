"""Shards in Parquet files: a column of labels, usually one of pictures, and one of letter positions in rendered words.

A chunk is a row group, the smallest unit that Parquet reads independently.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import compute, types
from pyarrow.parquet import FileMetaData, ParquetFile, write_table

from dptr.shards.rows import Chunks, Rows, Scan
from dptr.utils.errors import UserError, one_line
from dptr.utils.files import replace_file
from dptr.utils.places import Place, StoreError

LABELS = ("label", "text", "word")  # names of the label column, for files with several text columns
PICTURE = "image"  # name of the picture column, for files with several binary columns
STOPS = "stops"  # begin and end of each letter, alternating, as fractions of the width
GROUP = 500  # rows in a written row group
LARGEST_GROUP = 1 << 30  # bytes; a row group is read at once
ERRORS = (pyarrow.ArrowException, OSError, ValueError)


class ArrowColumn(Sequence[Any]):
    """A column in Arrow's memory, whose values are converted to Python objects on access."""

    def __init__(self, values: pyarrow.Array | pyarrow.ChunkedArray) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        return self.values[row].as_py()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), 4096):
            yield from self.values.slice(start, 4096).to_pylist()


def scan_parquet(place: Place, name: str) -> Scan:
    """Find the row groups and the columns of a file.

    Raises:
        UserError: the file is no complete Parquet file, has no column of labels or several candidates, or has a row
            group larger than ``LARGEST_GROUP``.
    """
    with open_parquet(place, name) as file:
        schema, metadata = file.schema_arrow, file.metadata
        texts = [field.name for field in schema if is_text(field.type)]
        bytes_ = [field.name for field in schema if meaning_of(field.type) == "bytes"]
        label = _choose(name, schema, texts, LABELS, "text")
        picture = _choose(name, schema, bytes_, (PICTURE,), "pictures") if bytes_ else ""
        chunks = np.zeros((metadata.num_row_groups, 4), np.int64)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if group.total_byte_size > LARGEST_GROUP:
                raise UserError(
                    f"{name}: row group {number} holds {group.total_byte_size >> 20:,} MiB, and is read at once; write "
                    "it with smaller ones (row_group_size=1000)"
                )
            chunks[number] = 0, number, number + 1, group.num_rows
        stops = STOPS if STOPS in schema.names and types.is_list(schema.field(STOPS).type) else ""
    return Scan(chunks[chunks[:, 3] > 0], (label, picture, stops), bool(picture))


def read_group(place: Place, name: str, chunk: Chunks, columns: tuple[str, ...], pictures: bool) -> Rows:
    """Read the rows of a row group.

    Args:
        columns: names of the columns of labels, pictures, and stops; the last two may be empty.
        pictures: whether to read pictures and stops too, or only labels.

    Raises:
        UserError: the row group is damaged, or the file has changed since the scan.
    """
    label, picture, stops = columns
    wanted = [label, *(each for each in (picture, stops) if each and pictures)]

    def read() -> pyarrow.Table:
        with place.open(name) as stream:
            stamp = place.stamp(name) if place.local else ""
            file = ParquetFile(stream, metadata=_read_footer(place, name, stamp, os.getpid()))
            return file.read_row_group(int(chunk[1]), columns=wanted, use_threads=False)

    try:
        table = read() if place.local else place.ask(name, read)
    except StoreError:
        raise
    except ERRORS as error:
        raise UserError(f"{name}: row group {chunk[1]} is damaged ({one_line(error)}); copy it again") from error
    values = {each: _plain(table.column(each)) for each in table.column_names}
    if any(each not in values for each in wanted) or len(table) != chunk[3]:
        raise UserError(f"{name}: has changed since it was opened; start again")
    empty: Sequence[Any] = [None] * len(table)
    return Rows(
        ArrowColumn(values[label]),
        ArrowColumn(values[picture]) if pictures and picture else empty,
        ArrowColumn(values[stops]) if pictures and stops else empty,
        [],
    )


def write_crops(path: Path, crops: Iterable[tuple[bytes, str, list[float]]], first: int) -> None:
    """Write rendered crops as a shard. The write is atomic: a failure leaves no partial file.

    Args:
        crops: encoded pictures, words, and stops (``STOPS``).
        first: the number of the first crop; the others follow.

    Raises:
        UserError: the file cannot be written.
    """
    pictures, words, stops = zip(*crops, strict=True)
    columns = {
        "number": pyarrow.array(range(first, first + len(words)), pyarrow.int64()),
        LABELS[0]: pyarrow.array(words, pyarrow.string()),
        PICTURE: pyarrow.array(pictures, pyarrow.binary()),
        STOPS: pyarrow.array(stops, pyarrow.list_(pyarrow.float32())),
    }
    with replace_file(path) as aside:
        codecs = {name: "none" if name == PICTURE else "zstd" for name in (*columns, f"{STOPS}.list.element")}
        write_table(pyarrow.table(columns), aside, row_group_size=GROUP, use_dictionary=False, compression=codecs)


def count_rows(path: Path) -> int:
    """The number of rows in a shard.

    Raises:
        UserError: the shard is incomplete.
    """
    with open_parquet(Place(str(path.parent)), path.name) as file:
        return file.metadata.num_rows


def read_words(path: Path) -> list[str]:
    """The words of a shard that ``write_crops`` wrote.

    Raises:
        UserError: the shard is incomplete.
    """
    with open_parquet(Place(str(path.parent)), path.name) as file:
        words: list[str] = file.read([LABELS[0]])[LABELS[0]].to_pylist()
        return words


@contextmanager
def open_parquet(place: Place, name: str) -> Iterator[ParquetFile]:
    """Open a Parquet file and read its footer, which describes the contents.

    Raises:
        UserError: the file is missing, or is no complete Parquet file.
    """
    with place.open(name) as stream:
        try:
            file = ParquetFile(stream)
        except ERRORS as error:
            raise UserError(
                f"{name}: no whole Parquet file ({one_line(error)}); copy it again or make it anew"
            ) from error
        yield file


def listed(names: Sequence[str]) -> str:
    """Up to eight names of columns, for an error message."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def is_text(kind: pyarrow.DataType) -> bool:
    """Whether a column of this type holds strings, also in dictionary encoding."""
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def meaning_of(kind: pyarrow.DataType) -> str:
    """How a column of this type stores pictures: ``bytes``, ``paths``, or "" for neither."""
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "paths"
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return meaning_of(kind.field("bytes").type).replace("paths", "")
    return ""


def _choose(name: str, schema: pyarrow.Schema, candidates: Sequence[str], usual: Sequence[str], what: str) -> str:
    """The candidate column with a usual name, or the only candidate."""
    named = [each for each in usual if each in candidates]
    if named:
        return named[0]
    if len(candidates) == 1:
        return candidates[0]
    problem = (
        f"columns {listed(candidates)} hold {what}"
        if candidates
        else f"no column of {what}, but {listed(schema.names)}"
    )
    raise UserError(f"{name}: {problem}; call the column to use {' or '.join(usual)}")


@lru_cache(maxsize=256)
def _read_footer(place: Place, name: str, stamp: str, process: int) -> FileMetaData:
    with open_parquet(place, name) as file:
        return file.metadata


def _plain(values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | pyarrow.Array:
    """Decode dictionary-encoded strings, and take the field ``bytes`` of structs."""
    if types.is_struct(values.type):
        values = compute.struct_field(values, "bytes")
    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.chunk(0) if values.num_chunks == 1 else values
