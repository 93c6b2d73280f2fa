"""The LMDB format of the field: ``num-samples``, ``image-%09d``, ``label-%09d``, counted from 1.

As written by ``create_lmdb_dataset.py`` of clovaai/deep-text-recognition-benchmark and read by PARSeq and its kin.
Reading is here, below everything that reads labels or pictures; ``dptr.data.lmdb`` writes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package

if TYPE_CHECKING:
    import lmdb

NUM_SAMPLES = b"num-samples"
_open: WeakValueDictionary[str, lmdb.Environment] = WeakValueDictionary()  # one handle a file, as LMDB demands


class LmdbReader:
    """Samples of an LMDB, by index from 0. Several readers of one file, forks and pickling are all fine.

    Raises:
        UserError: missing, no LMDB, truncated, without ``num-samples``, or a key that a sample needs is not there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._environment = open_readonly(self.path)
        try:
            text, name = self._get(NUM_SAMPLES), NUM_SAMPLES.decode()
            if not text.isdigit():
                raise UserError(f"{self.path}: {name} is {text[:20]!r}, not a number; make the LMDB anew")
            held = self._environment.stat()["entries"]
            if len(text) > 18 or int(text) > held:
                raise UserError(
                    f"{self.path}: {name} is {text[:20].decode()}, but there are {held} entries in all; "
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
        self._environment = open_readonly(self.path)

    def _get(self, key: bytes) -> bytes:
        value = self._find(key)  # apart, so that the traceback of an error does not keep the file open
        if value is None:
            raise UserError(f"{self.path}: key {key.decode()} is missing; copy the LMDB again or make it anew")
        return value

    def _find(self, key: bytes) -> bytes | None:
        try:
            with self._environment.begin() as transaction:
                return transaction.get(key)
        except lmdb_package().Error as error:
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


def open_readonly(path: Path) -> lmdb.Environment:
    """The one handle of an LMDB folder in this process.

    Raises:
        UserError: no LMDB there, or a damaged or truncated one.
    """
    lmdb = lmdb_package()
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


def lmdb_package() -> Any:
    """``lmdb``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise missing_package(error, "an LMDB", "train") from error
    return lmdb
