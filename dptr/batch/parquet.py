"""Pictures in a column of Parquet files: their bytes, their paths, or Hugging Face's struct of both.

A span is a row group, the smallest unit that Parquet reads independently.
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

ROWS = 64  # decoded at once


def list_groups(source: Source, files: Sequence[str]) -> tuple[list[Span], str]:
    """A span for each row group of the files, and the column to read.

    Raises:
        UserError: a file is damaged, lacks the column, or has it in another type than the other files.
    """
    spans: list[Span] = []
    column, first, first_content = source.column, "", ""
    for name in files:
        with open_parquet(source.place, name) as file:
            schema = file.schema_arrow
            column = column or _choose_column(schema, name)
            if column not in schema.names:
                raise UserError(f"{name}: no column '{column}', but {listed(schema.names)}; pass another --column")
            kind = schema.field(column).type
            content = meaning_of(kind)
            if not content:
                raise UserError(f"{name}: column '{column}' of {kind}, neither bytes nor paths; pass another --column")
            if first and content != first_content:
                raise UserError(
                    f"{name}: column '{column}' holds {content}, but {first_content} in {first}; read them in two jobs"
                )
            first, first_content = first or name, content
            groups = range(file.num_row_groups)
            spans += [Span(name, group, group + 1, file.metadata.row_group(group).num_rows) for group in groups]
    return spans, column


def open_group(source: Source, span: Span) -> Iterator[Item]:
    """Yield the items of a row group. If it is damaged, all items from the damage on have the same error.

    Raises:
        StoreError: a remote store does not answer.
    """
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
    """The only column of bytes, or, if there is none, the only column of strings (paths)."""
    for wanted in ("bytes", "paths"):
        columns = [field.name for field in schema if meaning_of(field.type) == wanted]
        if len(columns) == 1:
            return columns[0]
        if columns:
            raise UserError(f"{name}: columns {listed(columns)} hold {wanted}; choose one with --column")
    raise UserError(f"{name}: no column of bytes or paths, but {listed(schema.names)}; pass files that have one")


def _item(source: Source, name: str, row: int, value: Any) -> Item:
    path = None
    if isinstance(value, dict):
        path, value = value.get("path"), value["bytes"]
    if value is None:
        return Item(name, row, path, UserError(f"{name}: row {row} holds no picture"))
    if isinstance(value, bytes):
        return Item(name, row, path, value)
    return Item(name, row, value, _read_picture(source.place, name, value))


def _read_picture(place: Place, name: str, path: str) -> bytes | UserError:
    """Read the file that a row names: a URL, an absolute path, or a path relative to the Parquet file ``name``."""
    try:
        if is_url(path) or os.path.isabs(path):
            folder, file = split_place(path)
            return folder.read(file)
        return place.read(os.path.normpath(os.path.join(os.path.dirname(name), path)))
    except StoreError:
        raise
    except UserError as error:
        return error
