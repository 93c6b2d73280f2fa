"""The parts of a batch input: a source consists of spans, and a span of items."""

from __future__ import annotations

from dataclasses import dataclass

from dptr.utils.errors import UserError
from dptr.utils.images import SUFFIXES
from dptr.utils.places import Place


@dataclass(frozen=True)
class Source:
    """An input, which any process can open.

    Attributes:
        place: a folder, or an LMDB.
        kind: a key of ``dptr.batch.inputs.KINDS``.
        column: the column of Parquet files, or the suffix of the archive members to read; empty = all pictures.
        suffixes: suffixes of the files and archive members to read, in lower case.
    """

    place: Place
    kind: str
    column: str = ""
    suffixes: frozenset[str] = SUFFIXES


@dataclass(frozen=True)
class Span:
    """A part of an input that one process reads sequentially.

    Attributes:
        name: the file in the place.
        first, last: the range of rows, row groups, or samples in the file; ``last`` is excluded.
        rows: number of items; 0 if it is unknown until the span is read.
    """

    name: str
    first: int
    last: int
    rows: int


@dataclass(frozen=True)
class Item:
    """One picture or document.

    Attributes:
        source: the file, relative to the place.
        row: number of the item in that file, from 0.
        name: name of the item in that file: a key, a member, or a path; None if the file itself is the picture.
        content: the bytes of a picture or a PDF, or the error that prevents reading it.
    """

    source: str
    row: int
    name: str | None
    content: bytes | UserError

    @property
    def label(self) -> str:
        """The name of the item in error messages and pages."""
        if self.name is not None:
            return f"{self.source}: {self.name}"
        return f"{self.source}: row {self.row}" if self.row else self.source
