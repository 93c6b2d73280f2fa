"""Schemas of the tables that jobs write; docs/guides/batch.md explains their columns."""

from __future__ import annotations

import pyarrow as pa

_SOURCE = [("source", pa.string()), ("row", pa.int64()), ("name", pa.string())]
READINGS = pa.schema(
    [
        *_SOURCE,
        ("text", pa.string()),
        ("confidence", pa.float64()),
        ("characters", pa.list_(pa.struct([("text", pa.string()), ("confidence", pa.float64())]))),
        ("runaway", pa.bool_()),
        ("turned", pa.int32()),
        ("outside", pa.float64()),
        ("script", pa.string()),
        ("recognizer", pa.string()),
        ("notes", pa.list_(pa.string())),
    ]
)
PAGES = pa.schema(
    [
        *_SOURCE,
        ("page", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("text", pa.string()),
        ("words", pa.int64()),
        ("json", pa.string()),
        ("notes", pa.list_(pa.string())),
    ]
)
CROPS = pa.schema([("number", pa.int64()), ("label", pa.string()), ("image", pa.binary())])
FAILURES = pa.schema([*_SOURCE, ("page", pa.int64()), ("error", pa.string())])
