"""The inputs of a batch job: files in folders, rows of Parquet files, members of archives, or samples of an LMDB.

To add a kind, write a function that lists spans and one that opens a span, and add a line to ``KINDS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dptr.batch.archives import list_archives, open_archive
from dptr.batch.items import Item, Source, Span
from dptr.batch.parquet import list_groups, open_group
from dptr.utils.errors import UserError
from dptr.utils.images import SUFFIXES
from dptr.utils.lmdb import LmdbReader, is_lmdb
from dptr.utils.places import Place, StoreError, is_url, split_place

LMDB_SPAN = 64  # samples


@dataclass(frozen=True)
class Kind:
    """How inputs of one kind are found, listed, and opened.

    Attributes:
        what: the name of the kind in error messages.
        suffixes: suffixes of its files, in lower case; None = the suffixes of pictures.
        list: returns the spans of files, and the column to read.
        open: yields the items of a span, in order; an item that cannot be read has an error as its content.
    """

    what: str
    suffixes: tuple[str, ...] | None
    list: Callable[[Source, Sequence[str]], tuple[list[Span], str]]
    open: Callable[[Source, Span], Iterator[Item]]

    def choose(self, names: Sequence[str], pictures: frozenset[str]) -> list[str]:
        """The names of files of this kind; ``pictures`` are the suffixes of pictures."""
        if self.suffixes is None:
            return [name for name in names if os.path.splitext(name)[1].lower() in pictures]
        skip_hidden = self.what == "Parquet files"
        return [
            name for name in names if name.lower().endswith(self.suffixes) and not (skip_hidden and _is_hidden(name))
        ]


def find_source(
    url: str, column: str = "", kind: str = "", suffixes: frozenset[str] = SUFFIXES
) -> tuple[Source, list[Span]]:
    """Find the input at a path or URL, and list all its spans.

    Args:
        url: a folder, a file, or an LMDB.
        column, suffixes: see ``Source``.
        kind: a key of ``KINDS``; empty = the suffixes of the files decide.

    Raises:
        UserError: there is nothing that can be read, or there are files of several kinds; a Parquet file is damaged,
            lacks the column, or has it in another type than the other files.
    """
    place = Place(url if is_url(url) else os.path.abspath(url))
    if place.local and is_lmdb(place.url):
        source, files = Source(place, "lmdb"), [""]
    else:
        if place.is_file():
            place, name = split_place(place.url)
            names = [name]
        else:
            names = place.list()
        files_by_kind = {each: KINDS[each].choose(names, suffixes) for each in KINDS}
        kinds = [each for each, files in files_by_kind.items() if files and each in (kind or each)]
        if not kinds:
            wanted = KINDS[kind].what if kind else ", ".join(each.what for each in KINDS.values())
            raise UserError(f"{Place(url)}: holds nothing that is read ({wanted}); check the path")
        if len(kinds) > 1:
            both = " and ".join(KINDS[each].what for each in kinds)
            raise UserError(f"{Place(url)}: holds {both}; choose with --kind, such as --kind {kinds[0]}")
        source, files = Source(place, kinds[0], column, suffixes), files_by_kind[kinds[0]]
    spans, column = KINDS[source.kind].list(source, files)
    return replace(source, column=column), spans


def open_span(source: Source, span: Span) -> Iterator[Item]:
    """Yield the items of a span, in order. An item that cannot be read has an error as its content.

    Raises:
        StoreError: a remote store does not answer.
    """
    return KINDS[source.kind].open(source, span)


def _list_files(source: Source, files: Sequence[str]) -> tuple[list[Span], str]:
    return [Span(name, 0, 1, 1) for name in files], ""


def _open_file(source: Source, span: Span) -> Iterator[Item]:
    try:
        content: bytes | UserError = source.place.read(span.name)
    except StoreError:
        raise
    except UserError as error:
        content = error
    yield Item(span.name, 0, None, content)


def _list_lmdb(source: Source, files: Sequence[str]) -> tuple[list[Span], str]:
    """Spans of ``LMDB_SPAN`` samples, the last of which may be shorter. There is no column."""
    with LmdbReader(source.place.url) as reader:
        count = len(reader)
    ends = [min(start + LMDB_SPAN, count) for start in range(0, count, LMDB_SPAN)]
    return [Span("", end - 1 - (end - 1) % LMDB_SPAN, end, 1 + (end - 1) % LMDB_SPAN) for end in ends], ""


def _open_lmdb(source: Source, span: Span) -> Iterator[Item]:
    name = Path(source.place.url).name
    with LmdbReader(source.place.url) as reader:
        for row in range(span.first, span.last):
            try:
                content: bytes | UserError = reader.image_bytes(row)
            except UserError as error:
                content = error
            yield Item(name, row, reader.key(row), content)


def _is_hidden(name: str) -> bool:
    """Whether Parquet readers ignore a file. Spark and similar programs store metadata under such names."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


KINDS: dict[str, Kind] = {
    "files": Kind("pictures", None, _list_files, _open_file),
    "parquet": Kind("Parquet files", (".parquet", ".pq"), list_groups, open_group),
    "tar": Kind("archives", (".tar", ".tar.gz", ".tgz"), list_archives, open_archive),
    "lmdb": Kind("an LMDB", (), _list_lmdb, _open_lmdb),
}
