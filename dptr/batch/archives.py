"""Pictures in tar archives, as WebDataset writes them. A span is a whole archive, which is read sequentially."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence

from dptr.batch.items import Item, Source, Span
from dptr.shards.tars import StrictMember
from dptr.utils.errors import UserError, one_line
from dptr.utils.places import StoreError
from dptr.utils.reading import LARGEST


def list_archives(source: Source, files: Sequence[str]) -> tuple[list[Span], str]:
    """A span for each archive, of unknown size (0), and the column of ``source`` unchanged."""
    return [Span(name, 0, 1, 0) for name in files], source.column


def open_archive(source: Source, span: Span) -> Iterator[Item]:
    """Yield the pictures of an archive. If the archive is damaged, the last item has the error.

    Raises:
        StoreError: a remote store does not answer.
    """
    name, row = span.name, 0
    try:
        with (
            source.place.open(name) as stream,
            tarfile.open(fileobj=stream, mode="r|*", tarinfo=StrictMember) as archive,
        ):
            for member in archive:
                if _is_wanted(member.name, source):
                    yield Item(name, row, member.name, _extract(archive, member))
                    row += 1
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        if isinstance(error, OSError) and not source.place.local:
            raise StoreError(f"{source.place}/{name}: {one_line(error)}; try again later") from error
        damage = UserError(f"{name}: damaged after {row} pictures ({one_line(error)}); copy it again")
        yield Item(name, row, None, damage)


def _is_wanted(member: str, source: Source) -> bool:
    base = member.rpartition("/")[2].lower()
    if source.column:  # WebDataset's suffix is whatever follows the first dot
        return base.partition(".")[2] == source.column.lower().lstrip(".")
    return os.path.splitext(base)[1] in source.suffixes


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | UserError:
    file = archive.extractfile(member) if member.isfile() else None
    if file is None:
        return UserError(f"{member.name}: a link or a folder, not a file")
    if member.size > LARGEST:
        return UserError(f"{member.name}: larger than {LARGEST >> 20} MiB")
    return file.read()
