"""Folders from which pictures are read and to which results are written: on a disk or at a URL.

Arrow has file systems for ``s3://``, ``gs://``, ``abfs://`` and ``hdfs://``. Other URLs that fsspec knows (``http://``,
``sftp://``, ...) work if the package that fsspec needs for them is installed.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar

from dptr.utils.errors import UserError
from dptr.utils.extras import missing_package
from dptr.utils.files import replace_file
from dptr.utils.images import read_encoded
from dptr.utils.inputs import natural_key
from dptr.utils.outputs import PARTIAL
from dptr.utils.reading import LARGEST, open_plain

STORES = "s3", "gcs", "abfs"  # Arrow's names of object stores, which write objects completely or not at all
WAITS = 0.5, 2.0, 8.0  # seconds to wait before each repetition of a request
_ABSENT = FileNotFoundError, NotADirectoryError, IsADirectoryError

Result = TypeVar("Result")


class StoreError(UserError):
    """A store does not answer or refuses a request; the request may succeed at another time."""


def is_url(place: str) -> bool:
    """Whether ``place`` is the URL of a file system, not a path."""
    return "://" in place


@dataclass(frozen=True)
class Place:
    """A folder or a file; ``url`` is a path or a URL. It can be pickled: each process makes its own connection.

    Names in the folder are relative paths with slashes. Methods raise ``UserError`` for files that are missing or
    cannot be read, and ``StoreError`` for a store that refuses or does not answer after ``WAITS``.
    """

    url: str

    @property
    def local(self) -> bool:
        return not is_url(self.url)

    def __str__(self) -> str:
        return self.url.partition("?")[0]  # the query may hold secrets

    def is_file(self) -> bool:
        """Whether it is a file, not a folder.

        Raises:
            UserError: it does not exist.
        """
        if self.local:
            if not os.path.lexists(self.url):
                raise UserError(f"{self.url}: nothing is there; check the path")
            return not os.path.isdir(self.url)
        from pyarrow.fs import FileType

        files, path = connect(self.url)
        kind = self.ask("", lambda: files.get_file_info(path).type)
        if kind == FileType.NotFound:
            raise UserError(f"{self}: nothing is there; check the address")
        return kind != FileType.Directory

    def list(self) -> list[str]:
        """The names of all files in the folder and its sub-folders, in natural order.

        Raises:
            UserError: a folder cannot be read.
        """
        if self.local:
            return sorted(_walk(self.url), key=natural_key)
        from pyarrow.fs import FileSelector, FileType

        files, path = connect(self.url)
        found = self.ask("", lambda: files.get_file_info(FileSelector(path, allow_not_found=True, recursive=True)))
        cut = len(path.rstrip("/")) + 1
        return sorted((each.path[cut:] for each in found if each.type == FileType.File), key=natural_key)

    def read(self, name: str) -> bytes:
        """The bytes of a file; raises ``UserError`` for more than ``dptr.utils.reading.LARGEST`` bytes."""
        if self.local:
            return read_encoded(self._path(name))
        files, path = self._locate(name)

        def read() -> bytes:
            with files.open_input_file(path) as file:
                if file.size() > LARGEST:
                    raise UserError(f"{self._describe(name)}: larger than {LARGEST >> 20} MiB")
                return file.read()

        return self.ask(name, read)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for reading and seeking."""
        if self.local:
            try:
                descriptor = open_plain(self._path(name))
            except (OSError, ValueError) as error:
                raise UserError(f"{self._path(name)}: {getattr(error, 'strerror', error)}; check the path") from error
            with open(descriptor, "rb") as file:
                yield file
            return
        files, path = self._locate(name)
        with self.ask(name, lambda: files.open_input_file(path)) as file:
            yield file

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        if self.local:
            return os.path.isfile(self._path(name))
        from pyarrow.fs import FileType

        files, path = self._locate(name)
        return self.ask(name, lambda: files.get_file_info(path).type) == FileType.File

    def stamp(self, name: str) -> str:
        """The size and the modification time of a file, to detect changes without reading it.

        Raises:
            UserError: a local file is missing.
        """
        if self.local:
            try:
                found = os.stat(self._path(name))
            except (OSError, ValueError) as error:
                raise UserError(f"{self._path(name)}: {getattr(error, 'strerror', error)}; check the path") from error
            return f"{found.st_size} {found.st_mtime_ns}"
        files, path = self._locate(name)
        info = self.ask(name, lambda: files.get_file_info(path))
        return f"{info.size} {info.mtime_ns}"

    def write(self, name: str, data: bytes) -> None:
        """Write a file completely or not at all; an existing file is replaced.

        Raises:
            UserError: the file cannot be written.
        """
        if self.local:
            with replace_file(self._path(name)) as aside:
                aside.write_bytes(data)
            return
        files, path = self._locate(name)

        def write() -> None:
            if files.type_name in STORES:
                _write_stream(files, path, data)
                return
            folder, _, last = path.rpartition("/")
            aside = f"{folder}/{PARTIAL}{uuid.uuid4().hex[:8]}-{last}"
            files.create_dir(folder, recursive=True)
            _write_stream(files, aside, data)
            files.move(aside, path)

        self.ask(name, write)

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        if self.local:
            Path(self._path(name)).unlink(missing_ok=True)
        elif self.exists(name):
            files, path = self._locate(name)
            self.ask(name, lambda: files.delete_file(path))

    def _path(self, name: str) -> str:
        return os.path.join(self.url, name)

    def _locate(self, name: str) -> tuple[Any, str]:
        files, path = connect(self.url)
        return files, f"{path.rstrip('/')}/{name}"

    def _describe(self, name: str) -> str:
        return f"{str(self).rstrip('/')}/{name}" if name else str(self)

    def ask(self, name: str, ask: Callable[[], Result]) -> Result:
        """Send a request to a store, and repeat it if the store does not answer.

        Args:
            name: of the file that the request is about, for errors.
            ask: sends the request.

        Raises:
            UserError: the file does not exist.
            StoreError: the store refuses, or does not answer after ``WAITS``.
        """
        for wait in (*WAITS, None):
            try:
                return ask()
            except _ABSENT as error:
                raise UserError(f"{self._describe(name)}: no such file; check the address") from error
            except PermissionError as error:
                raise StoreError(f"{self._describe(name)}: {_reason(error)}; check the credentials") from error
            except OSError as error:
                if wait is None or "ACCESS_DENIED" in str(error) or "credentials" in str(error).lower():
                    raise StoreError(
                        f"{self._describe(name)}: {_reason(error)}; check the address, the network, and the credentials"
                    ) from error
                time.sleep(wait)
        raise AssertionError("the last round returns or raises")


def split_place(url: str) -> tuple[Place, str]:
    """Split the path or URL of a file into its folder and its name; a query stays with the folder."""
    if not is_url(url):
        folder, name = os.path.split(os.path.abspath(url))
        return Place(folder), name
    path, mark, settings = url.partition("?")
    folder, _, name = path.rpartition("/")
    return Place(folder + mark + settings), name


def check_apart(source: str, out: str) -> None:
    """Check that the output is not the input, not in it (the next run would read it), and does not contain it.

    Raises:
        UserError: it is or does; or ``out`` is empty.
    """
    if not out:
        raise UserError("OUTPUT is an empty name; pass a folder")
    if not source:
        return
    one, other = (
        (each if is_url(each) else os.path.realpath(each)).partition("?")[0].rstrip("/") + "/" for each in (source, out)
    )
    if one.startswith(other) or other.startswith(one):
        raise UserError(f"{out}: lies in {source} or around it; pass a folder beside it")


def connect(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it; a forked process connects anew.

    Raises:
        UserError: the URL has an unknown scheme or is invalid, or a package for it is missing.
        StoreError: the connection fails.
    """
    return _connect(url, os.getpid())


@lru_cache(maxsize=32)
def _connect(url: str, process: int) -> tuple[Any, str]:
    try:
        import fsspec
        import pyarrow
        from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem
    except ImportError as error:
        raise missing_package(error, f"reading from {url.partition('?')[0]}", "shards") from error

    name = url.partition("?")[0]
    try:
        return FileSystem.from_uri(url)
    except pyarrow.ArrowInvalid as error:
        if "nrecognized" not in str(error):
            raise UserError(f"{name}: {_reason(error)}; check the address") from error
    except OSError as error:
        raise StoreError(f"{name}: {_reason(error)}; check the address and the credentials") from error
    try:
        files, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(f"{name}: {_reason(error)}; pass another address, or install what it needs") from error
    return PyFileSystem(FSSpecHandler(files)), path


def _walk(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}; make it readable, or pass other folders") from error

    for parent, _, files in os.walk(folder, onerror=refuse):
        below = os.path.relpath(parent, folder)
        yield from (name if below == "." else f"{below}/{name}".replace(os.sep, "/") for name in files)


def _write_stream(files: Any, path: str, data: bytes) -> None:
    with files.open_output_stream(path) as file:
        file.write(data)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
