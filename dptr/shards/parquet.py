"""Shards in Parquet: a column of labels, mostly one of pictures, and of rendered ones where their letters stand.

A chunk is a row group, which is what Parquet can read alone.
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

LABELS = ("label", "text", "word")  # what the column of labels is called where several hold text
PICTURE = "image"  # the same of pictures
STOPS = "stops"  # where letters begin and end, one after the other, as shares of the width
GROUP = 500  # rows of a row group that is written
LARGEST_GROUP = 1 << 30  # bytes of a row group
ERRORS = (pyarrow.ArrowException, OSError, ValueError)


class ArrowColumn(Sequence[Any]):
    """A column in Arrow's memory, whose values become Python's when they are asked for."""

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
    """The row groups of a file, and its columns.

    Raises:
        UserError: no whole Parquet file, no column of labels, several that could be it, or a row group that is too
            large to be held in memory.
    """
    with open_parquet(place, name) as file:
        schema, held = file.schema_arrow, file.metadata
        texts = [field.name for field in schema if is_text(field.type)]
        bytes_ = [field.name for field in schema if meaning_of(field.type) == "bytes"]
        label = _choose(name, schema, texts, LABELS, "text")
        picture = _choose(name, schema, bytes_, (PICTURE,), "pictures") if bytes_ else ""
        chunks = np.zeros((held.num_row_groups, 4), np.int64)
        for number in range(held.num_row_groups):
            group = held.row_group(number)
            if group.total_byte_size > LARGEST_GROUP:
                raise UserError(
                    f"{name}: row group {number} holds {group.total_byte_size >> 20:,} MiB, and is read at once; write "
                    "it with smaller ones (row_group_size=1000)"
                )
            chunks[number] = 0, number, number + 1, group.num_rows
        stops = STOPS if STOPS in schema.names and types.is_list(schema.field(STOPS).type) else ""
    return Scan(chunks[chunks[:, 3] > 0], (label, picture, stops), bool(picture))


def read_group(place: Place, name: str, chunk: Chunks, columns: tuple[str, ...], pictures: bool) -> Rows:
    """The rows of a row group.

    Args:
        columns: of labels, pictures, and stops, the last two perhaps empty.
        pictures: off = labels alone.

    Raises:
        UserError: it is damaged, or its file is another than the one that was scanned.
    """
    label, picture, stops = columns
    wanted = [label, *(each for each in (picture, stops) if each and pictures)]

    def read() -> pyarrow.Table:
        with place.open(name) as stream:
            stamp = place.stamp(name) if place.local else ""
            file = ParquetFile(stream, metadata=_footer(place, name, stamp, os.getpid()))
            return file.read_row_group(int(chunk[1]), columns=wanted, use_threads=False)

    try:
        table = read() if place.local else place.ask(name, read)
    except StoreError:
        raise
    except ERRORS as error:
        raise UserError(f"{name}: row group {chunk[1]} is damaged ({one_line(error)}); copy it again") from error
    held = {each: _plain(table.column(each)) for each in table.column_names}
    if any(each not in held for each in wanted) or len(table) != chunk[3]:
        raise UserError(f"{name}: has changed since it was opened; start again")
    nothing: Sequence[Any] = [None] * len(table)
    return Rows(
        ArrowColumn(held[label]),
        ArrowColumn(held[picture]) if pictures and picture else nothing,
        ArrowColumn(held[stops]) if pictures and stops else nothing,
        [],
    )


def write_crops(path: Path, crops: Iterable[tuple[bytes, str, list[float]]], first: int) -> None:
    """Write rendered crops as a shard, whole or not at all.

    Args:
        crops: pictures, words, and where letters begin and end, one after the other.
        first: the number of the first.

    Raises:
        UserError: it cannot be written.
    """
    pictures, words, stops = zip(*crops, strict=True)
    columns = {
        "number": pyarrow.array(range(first, first + len(words)), pyarrow.int64()),
        LABELS[0]: pyarrow.array(words, pyarrow.string()),
        PICTURE: pyarrow.array(pictures, pyarrow.binary()),
        STOPS: pyarrow.array(stops, pyarrow.list_(pyarrow.float32())),
    }
    with replace_file(path) as aside:
        packed = {name: "none" if name == PICTURE else "zstd" for name in (*columns, f"{STOPS}.list.element")}
        write_table(pyarrow.table(columns), aside, row_group_size=GROUP, use_dictionary=False, compression=packed)


def count_rows(path: Path) -> int:
    """How many rows a shard holds.

    Raises:
        UserError: it is not whole.
    """
    with open_parquet(Place(str(path.parent)), path.name) as file:
        return file.metadata.num_rows


def read_words(path: Path) -> list[str]:
    """The words of a shard that ``write_crops`` wrote.

    Raises:
        UserError: it is not whole.
    """
    with open_parquet(Place(str(path.parent)), path.name) as file:
        words: list[str] = file.read([LABELS[0]])[LABELS[0]].to_pylist()
        return words


@contextmanager
def open_parquet(place: Place, name: str) -> Iterator[ParquetFile]:
    """A Parquet file whose end, which says what is in it, could be read.

    Raises:
        UserError: it is missing, or no whole Parquet file.
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
    """Names of columns, for an error."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def is_text(kind: pyarrow.DataType) -> bool:
    """Whether a column of that type holds strings."""
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def meaning_of(kind: pyarrow.DataType) -> str:
    """``bytes``, ``paths``, or empty for a type that holds neither."""
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        return "bytes"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "paths"
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return meaning_of(kind.field("bytes").type).replace("paths", "")
    return ""


def _choose(name: str, schema: pyarrow.Schema, found: Sequence[str], usual: Sequence[str], what: str) -> str:
    """The column of ``found`` with a usual name, or the only one."""
    named = [each for each in usual if each in found]
    if named:
        return named[0]
    if len(found) == 1:
        return found[0]
    held = f"columns {listed(found)} hold {what}" if found else f"no column of {what}, but {listed(schema.names)}"
    raise UserError(f"{name}: {held}; name the one that is meant {' or '.join(usual)}")


@lru_cache(maxsize=256)
def _footer(place: Place, name: str, stamp: str, process: int) -> FileMetaData:
    with open_parquet(place, name) as file:
        return file.metadata


def _plain(values: pyarrow.ChunkedArray) -> pyarrow.ChunkedArray | pyarrow.Array:
    """Strings that stand in a dictionary as strings, and of structs the bytes."""
    if types.is_struct(values.type):
        values = compute.struct_field(values, "bytes")
    if types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.chunk(0) if values.num_chunks == 1 else values
