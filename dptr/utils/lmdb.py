"""A reader of the usual LMDB format of text recognition: keys ``num-samples``, ``image-%09d``, ``label-%09d``, from 1.

``create_lmdb_dataset.py`` of clovaai/deep-text-recognition-benchmark writes this format; PARSeq and related projects
read it. ``dptr.data.lmdb`` writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dptr.utils.errors import UserError
from dptr.utils.extras import import_package
from dptr.utils.lmdb_pages import Damaged, Pages

NUM_SAMPLES = b"num-samples"


class LmdbReader:
    """Reads samples of an LMDB by index, from 0.

    A file may have several readers. Readers may be shared by threads, forked, and pickled.

    Raises:
        UserError: the file is missing, no LMDB, truncated, or damaged; or ``num-samples`` or a key of a sample is
            missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._pages = open_pages(self.path)
        try:
            text, name = self._get(NUM_SAMPLES), NUM_SAMPLES.decode()
            if not text.isdigit():
                raise UserError(f"{self.path}: {name} is {text[:20]!r}, not a number; make the LMDB anew")
            entries = self._pages.description.entries
            if len(text) > 18 or int(text) > entries:
                raise UserError(
                    f"{self.path}: {name} is {text[:20].decode()}, but there are {entries} entries in all; "
                    "copy the LMDB again or make it anew"
                )
        except UserError:
            self.close()
            raise
        self._length = int(text)

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        self._pages.close()

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
        self._pages = open_pages(self.path)

    def _get(self, key: bytes) -> bytes:
        try:
            value = self._pages.get(key)
        except (Damaged, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"{self.path}: damaged at key {key.decode()} ({reason}); copy or make it again") from error
        if value is None:
            raise UserError(f"{self.path}: key {key.decode()} is missing; copy the LMDB again or make it anew")
        return value


def image_key(index: int) -> bytes:
    """Key of the picture of sample ``index``, which counts from 0; keys count from 1."""
    return b"image-%09d" % (index + 1)


def label_key(index: int) -> bytes:
    """Key of the label of sample ``index``, which counts from 0; keys count from 1."""
    return b"label-%09d" % (index + 1)


def is_lmdb(path: str | Path) -> bool:
    """Whether ``path`` is a folder with a ``data.mdb``."""
    return (Path(path) / "data.mdb").is_file()


def open_pages(path: Path) -> Pages:
    """Open an LMDB folder for reading.

    Raises:
        UserError: there is no LMDB, or it is damaged or truncated.
    """
    file = path / "data.mdb"
    if not file.is_file():
        raise UserError(f"{path}: no LMDB (a folder with data.mdb) there; check the path")
    try:
        return Pages(file)
    except Damaged as error:
        raise UserError(f"{file}: no whole LMDB ({error}); copy it again or make it anew") from error
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; check the path") from error


def lmdb_package() -> Any:
    """The package ``lmdb``, which DPTR needs only to write.

    Raises:
        UserError: it is not installed.
    """
    return import_package("lmdb", "an LMDB", "train")
