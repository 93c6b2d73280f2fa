"""Writing of LMDBs in the field's format, which can be resumed; ``dptr.utils.lmdb`` reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dptr.utils.errors import UserError
from dptr.utils.files import remove_folder
from dptr.utils.lmdb import NUM_SAMPLES, LmdbReader, image_key, label_key, lmdb_package, open_pages

if TYPE_CHECKING:
    import lmdb

UNFINISHED = ".unfinished-"  # prefix of the name of an LMDB that is being written, or can be resumed
BATCH_SAMPLES = 1000  # commit after this many samples ...
BATCH_BYTES = 32 << 20  # ... or bytes
FIRST_MAP = 64 << 20  # bytes; doubled whenever a batch does not fit

_FILES = ("data.mdb", "lock.mdb", "import.json")


def write_lmdb(
    path: str | Path,
    samples: Iterable[tuple[bytes, str]],
    resume: bool = False,
    finish: Callable[[Path, int], None] = lambda folder, count: None,
) -> int:
    """Write encoded pictures and labels as an LMDB folder.

    Samples are committed in batches to ``.unfinished-NAME`` beside ``path``, which is renamed after the last batch. An
    interrupted run can be resumed with ``resume=True`` and the same ``samples``: those on disk are compared, the others
    are written.

    Args:
        path: a folder that does not exist yet.
        samples: pairs (encoded picture, label).
        resume: continue an unfinished LMDB; a finished one is compared and not changed.
        finish: called with the unfinished folder and the number of samples after the last one. It may write
            ``import.json`` there, which is deleted together with an LMDB that is restarted.

    Returns:
        The number of samples in the LMDB.

    Raises:
        UserError: ``path`` exists and ``resume`` is off; no samples; an empty picture; samples that differ from those
            on disk; other files than the LMDB's in ``.unfinished-NAME``; or a full disk (committed samples stay, so
            that the run can be resumed).
    """
    path = Path(path)
    final = Path(os.path.realpath(path))
    aside = final.with_name(f"{UNFINISHED}{final.name}")
    stream = iter(samples)
    if path.exists():
        if not resume:
            raise UserError(f"{path}: exists; delete it, pass another path, or resume to check that it is complete")
        with LmdbReader(path) as reader:
            _compare(reader, stream)
            if next(stream, None) is not None:
                raise UserError(f"{path}: finished with {len(reader)} samples, more are given now; delete or rename it")
            return len(reader)
    if not resume:
        remove_folder(aside, _FILES)
    done = _committed(aside)
    if done:
        with LmdbReader(aside) as reader:
            _compare(reader, stream)
    done = _append(aside, stream, done)
    if not done:
        remove_folder(aside, _FILES)
        raise UserError(f"{path}: no samples; an LMDB holds at least one")
    finish(aside, done)
    try:
        os.replace(aside, final)
    except OSError as error:
        raise UserError(f"cannot rename {aside} to {path.name}: {error.strerror}; rename it yourself") from error
    return done


def _committed(aside: Path) -> int:
    """The number of samples in an unfinished LMDB; 0 if it was killed before its first commit."""
    file = aside / "data.mdb"
    if not file.exists() or not file.stat().st_size:
        return 0
    pages = open_pages(aside)
    pages.close()
    if not pages.description.entries:
        return 0
    with LmdbReader(aside) as reader:
        return len(reader)


def _compare(reader: LmdbReader, stream: Iterator[tuple[bytes, str]]) -> None:
    count = 0
    for index, (image, label) in enumerate(islice(stream, len(reader))):
        if reader.label(index) != label or reader.image_bytes(index) != image:
            raise UserError(
                f"{reader.path}: sample {index + 1} is {reader.label(index)!r} there, {label!r} (or another picture) "
                "now; resume with the same samples, or delete it and start anew"
            )
        count += 1
    if count < len(reader):
        raise UserError(f"{reader.path}: holds {len(reader)} samples, only {count} are given now; delete it")


def _append(aside: Path, stream: Iterator[tuple[bytes, str]], done: int) -> int:
    file = aside / "data.mdb"
    map_size = max(FIRST_MAP, 2 * file.stat().st_size if file.exists() else 0)
    with _explained(aside):
        aside.mkdir(parents=True, exist_ok=True)
        environment = lmdb_package().open(str(aside), map_size=map_size, lock=False)
    try:
        for batch in _batches(stream, done):
            with _explained(aside):
                _commit(environment, batch, done)
            done += len(batch)
    finally:
        environment.close()
    return done


def _commit(environment: lmdb.Environment, batch: list[tuple[bytes, bytes]], done: int) -> None:
    """Write a batch and the new count in one transaction; double the map if it is too small."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for index, (image, label) in enumerate(batch, start=done):
                    transaction.put(image_key(index), image)
                    transaction.put(label_key(index), label)
                transaction.put(NUM_SAMPLES, b"%d" % (done + len(batch)))
            return
        except lmdb_package().MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _batches(stream: Iterator[tuple[bytes, str]], done: int) -> Iterator[list[tuple[bytes, bytes]]]:
    batch: list[tuple[bytes, bytes]] = []
    size = 0
    for index, (image, label) in enumerate(stream, start=done):
        if not image:
            raise UserError(f"sample {index + 1} ({label!r}): empty picture; leave it out and count it")
        batch.append((image, label.encode("utf-8")))
        size += len(image)
        if len(batch) == BATCH_SAMPLES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def _explained(aside: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, lmdb_package().Error) as error:
        raise UserError(
            f"cannot write {aside}: {error}; free space or pass another folder; what is written can be resumed"
        ) from error
