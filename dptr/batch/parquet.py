"""Pictures in a column of Parquet files: their bytes, their paths, or Hugging Face's struct of both.

A span is a row group, which is what Parquet can read alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow

from dptr.batch.items import Item, Source, Span
from dptr.shards.parquet import ERRORS, listed, meaning_of, open_parquet
from dptr.utils.errors import UserError, one_line
from dptr.utils.places import Place, StoreError, is_url, split_place

ROWS = 64  # that are decoded at once


def list_groups(source: Source, files: Sequence[str]) -> tuple[list[Span], str]:
    """The row groups of files, and the column to read.

    Raises:
        UserError: a file is damaged, lacks the column, or has it in another type than the others.
    """
    spans: list[Span] = []
    column, first, held_first = source.column, "", ""
    for name in files:
        with open_parquet(source.place, name) as file:
            schema = file.schema_arrow
            column = column or _choose_column(schema, name)
            if column not in schema.names:
                raise UserError(f"{name}: no column '{column}', but {listed(schema.names)}; pass another --column")
            kind = schema.field(column).type
            held = meaning_of(kind)
            if not held:
                raise UserError(f"{name}: column '{column}' of {kind}, neither bytes nor paths; pass another --column")
            if first and held != held_first:
                raise UserError(
                    f"{name}: column '{column}' holds {held}, but {held_first} in {first}; read them in two jobs"
                )
            first, held_first = first or name, held
            groups = range(file.num_row_groups)
            spans += [Span(name, group, group + 1, file.metadata.row_group(group).num_rows) for group in groups]
    return spans, column


def open_group(source: Source, span: Span) -> Iterator[Item]:
    """The items of a row group; of one that is damaged, all that cannot be read with the same error."""
    name = span.name
    with open_parquet(source.place, name) as file:
        row = sum(file.metadata.row_group(group).num_rows for group in range(span.first))
        end = row + span.rows
        try:
            for batch in file.iter_batches(ROWS, row_groups=[span.first], columns=[source.column]):
                for value in batch.column(0).to_pylist():
                    yield _item(source, name, row, value)
                    row += 1
        except ERRORS as error:
            if isinstance(error, OSError) and not source.place.local:
                raise StoreError(f"{source.place}/{name}: {one_line(error)}; try again later") from error
            damage = UserError(f"{name}: damaged from row {row} on ({one_line(error)}); copy it again")
            yield from (Item(name, missing, None, damage) for missing in range(row, end))


def _choose_column(schema: pyarrow.Schema, name: str) -> str:
    """The only column that holds bytes; without any, the only one that holds text."""
    for wanted in ("bytes", "paths"):
        columns = [field.name for field in schema if meaning_of(field.type) == wanted]
        if len(columns) == 1:
            return columns[0]
        if columns:
            raise UserError(f"{name}: columns {listed(columns)} hold {wanted}; choose one with --column")
    raise UserError(f"{name}: no column of bytes or paths, but {listed(schema.names)}; pass files that have one")


def _item(source: Source, name: str, row: int, value: Any) -> Item:
    title = None
    if isinstance(value, dict):
        title, value = value.get("path"), value["bytes"]
    if value is None:
        return Item(name, row, title, UserError(f"{name}: row {row} holds no picture"))
    if isinstance(value, bytes):
        return Item(name, row, title, value)
    return Item(name, row, value, _follow(source.place, name, value))


def _follow(place: Place, name: str, path: str) -> bytes | UserError:
    """The file that a row names: an address, a whole path, or a path relative to its Parquet file."""
    try:
        if is_url(path) or os.path.isabs(path):
            folder, file = split_place(path)
            return folder.read(file)
        return place.read(os.path.normpath(os.path.join(os.path.dirname(name), path)))
    except StoreError:
        raise
    except UserError as error:
        return error
