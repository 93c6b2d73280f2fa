"""The LMDB format of the field: ``num-samples``, ``image-%09d``, ``label-%09d``, counted from 1.

As written by ``create_lmdb_dataset.py`` of clovaai/deep-text-recognition-benchmark and read by PARSeq and its kin.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package
from dptr.utils.files import remove_folder

if TYPE_CHECKING:
    import lmdb

UNFINISHED = ".unfinished-"  # in the name of an LMDB that is being written, or waits to be resumed
BATCH_SAMPLES = 1000  # a commit after so many samples ...
BATCH_BYTES = 32 << 20  # ... or so many bytes
FIRST_MAP = 64 << 20  # bytes; doubled whenever a batch does not fit

_FILES = ("data.mdb", "lock.mdb", "import.json")
_LENGTH = b"num-samples"
_open: WeakValueDictionary[str, lmdb.Environment] = WeakValueDictionary()  # one handle a file, as LMDB demands


class LmdbReader:
    """Samples of an LMDB, by index from 0. Several readers of one file, forks and pickling are all fine.

    Raises:
        UserError: missing, no LMDB, truncated, without ``num-samples``, or a key that a sample needs is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._environment = _open_readonly(self.path)
        try:
            text = self._get(_LENGTH)
            if not text.isdigit():
                raise UserError(f"{self.path}: {_LENGTH.decode()} is {text[:20]!r}, not a number; make the LMDB anew")
            held = self._environment.stat()["entries"]
            if len(text) > 18 or int(text) > held:
                raise UserError(
                    f"{self.path}: {_LENGTH.decode()} is {text[:20].decode()}, but there are {held} entries in all; "
                    "copy the LMDB again or make it anew"
                )
        except UserError:
            self.close()
            raise
        self._length = int(text)

    def close(self) -> None:
        """Let go of the file, which LMDB opens only once in a process; nothing can be read afterwards."""
        del self._environment

    def __enter__(self) -> LmdbReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._length

    def key(self, index: int) -> str:
        return image_key(index).decode()

    def label(self, index: int) -> str:
        value = self._get(label_key(index))
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.path}: {label_key(index).decode()} is not UTF-8 ({error.reason}); write labels as UTF-8"
            ) from error

    def image_bytes(self, index: int) -> bytes:
        """The encoded picture (PNG, JPEG, ...), not decoded."""
        return self._get(image_key(index))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_length": self._length}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._environment = _open_readonly(self.path)

    def _get(self, key: bytes) -> bytes:
        value = self._find(key)  # apart, so that the traceback of an error does not keep the file open
        if value is None:
            raise UserError(f"{self.path}: key {key.decode()} is missing; copy the LMDB again or make it anew")
        return value

    def _find(self, key: bytes) -> bytes | None:
        try:
            with self._environment.begin() as transaction:
                return transaction.get(key)
        except _lmdb().Error as error:
            raise UserError(f"{self.path}: damaged at key {key.decode()} ({error}); copy or make it again") from error


def image_key(index: int) -> bytes:
    """Key of the picture of sample ``index``, which counts from 0; keys count from 1."""
    return b"image-%09d" % (index + 1)


def label_key(index: int) -> bytes:
    """Key of the label of sample ``index``, which counts from 0; keys count from 1."""
    return b"label-%09d" % (index + 1)


def is_lmdb(path: str | Path) -> bool:
    """Whether ``path`` is a folder with a ``data.mdb``."""
    return (Path(path) / "data.mdb").is_file()


def write_lmdb(
    path: str | Path,
    samples: Iterable[tuple[bytes, str]],
    resume: bool = False,
    finish: Callable[[Path, int], None] = lambda folder, count: None,
) -> int:
    """Write encoded pictures and labels as an LMDB folder.

    Samples are committed in batches to ``.unfinished-NAME`` beside ``path``, which gets its final name when the
    last batch is on disk. A run that was interrupted, at whatever moment, goes on with ``resume=True`` and the same
    ``samples``: those already on disk are compared with what is there, the rest is written.

    Args:
        path: a folder that does not exist yet.
        samples: pairs (encoded picture, label).
        resume: go on with an unfinished LMDB of that name; a finished one is compared and left as it is.
        finish: called with the unfinished folder and the number of samples once all are in it; what it writes to
            ``import.json`` there is deleted with an LMDB that is begun anew.

    Returns:
        The number of samples in the LMDB.

    Raises:
        UserError: ``path`` exists and ``resume`` is off, no samples, an empty picture, samples that differ from
            those on disk, files in ``.unfinished-NAME`` that are not the LMDB's, or a full disk (what is committed
            stays, to be resumed).
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


def _open_readonly(path: Path) -> lmdb.Environment:
    lmdb = _lmdb()
    name = os.path.realpath(path)
    environment = _open.get(name)
    if environment is not None:
        return environment
    file = path / "data.mdb"
    if not file.is_file():
        raise UserError(f"{path}: no LMDB (a folder with data.mdb) there; check the path")
    try:
        environment = lmdb.open(name, readonly=True, lock=False, readahead=False, create=False)
    except lmdb.Error as error:
        raise UserError(f"{file}: no whole LMDB ({error}); copy it again or make it anew") from error
    # A page beyond the end of the file would kill the process (SIGBUS), so look before the first read.
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if file.stat().st_size < needed:
        environment.close()
        raise UserError(f"{file}: truncated, {file.stat().st_size} of {needed} bytes; copy it again or make it anew")
    _open[name] = environment
    return environment


def _committed(aside: Path) -> int:
    """Samples in an unfinished LMDB; one that was killed before its first commit has none."""
    file = aside / "data.mdb"
    if not file.exists() or not file.stat().st_size or not _open_readonly(aside).stat()["entries"]:
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
        environment = _lmdb().open(str(aside), map_size=map_size, lock=False)
    try:
        for batch in _batches(stream, done):
            with _explained(aside):
                _commit(environment, batch, done)
            done += len(batch)
    finally:
        environment.close()
    return done


def _commit(environment: lmdb.Environment, batch: list[tuple[bytes, bytes]], done: int) -> None:
    """Write a batch and the new count, all or nothing; a map that is too small is doubled."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for index, (image, label) in enumerate(batch, start=done):
                    transaction.put(image_key(index), image)
                    transaction.put(label_key(index), label)
                transaction.put(_LENGTH, b"%d" % (done + len(batch)))
            return
        except _lmdb().MapFullError:
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
    except (OSError, _lmdb().Error) as error:
        raise UserError(
            f"cannot write {aside}: {error}; free space or pass another folder; what is written can be resumed"
        ) from error


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise missing_package(error, "an LMDB", "train") from error
    return lmdb
