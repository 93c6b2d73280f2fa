"""What a batch is made of: a source, its spans, and the items in them."""

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
        column: of Parquet, or the suffix of the members of archives that are read; empty = all pictures.
        suffixes: of files and members that are read, in lower case.
    """

    place: Place
    kind: str
    column: str = ""
    suffixes: frozenset[str] = SUFFIXES


@dataclass(frozen=True)
class Span:
    """A piece of an input that one process reads in a stretch.

    Attributes:
        name: of a file in the place.
        first, last: rows, row groups, or samples of it, ``last`` excluded.
        rows: how many items it holds; 0 where that is told only by reading it.
    """

    name: str
    first: int
    last: int
    rows: int


@dataclass(frozen=True)
class Item:
    """One input, or why it cannot be read.

    Attributes:
        source: the file, relative to the place.
        row: its number in that file, from 0.
        name: what the file calls it: a key, a member, a path; None for a file that is one picture.
        content: the bytes of a picture or a PDF.
    """

    source: str
    row: int
    name: str | None
    content: bytes | UserError

    @property
    def label(self) -> str:
        """What errors and pages call it."""
        if self.name is not None:
            return f"{self.source}: {self.name}"
        return f"{self.source}: row {self.row}" if self.row else self.source
