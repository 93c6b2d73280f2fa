"""Folders that pictures are read from and results are written to: on a disk, or behind a URL.

``s3://``, ``gs://``, ``abfs://`` and ``hdfs://`` are Arrow's own file systems. Whatever else fsspec knows (``http://``,
``sftp://``, ...) works where the package that fsspec asks for is installed.
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

STORES = "s3", "gcs", "abfs"  # Arrow's names of object stores, whose objects are whole or not there
WAITS = 0.5, 2.0, 8.0  # seconds before a request to a store is sent again
_ABSENT = FileNotFoundError, NotADirectoryError, IsADirectoryError

Result = TypeVar("Result")


class StoreError(UserError):
    """A store that does not answer, or refuses: what was asked of it is to be asked again another time."""


def is_url(place: str) -> bool:
    """Whether it is the address of a file system, and not a path."""
    return "://" in place


@dataclass(frozen=True)
class Place:
    """A folder, or a file: ``url`` is a path or an address. It travels as that; each process connects by itself.

    Names in it are relative, with slashes. Methods raise ``UserError`` for what is missing or may not be read, and
    ``StoreError`` for a store that does not answer after ``WAITS``.
    """

    url: str

    @property
    def local(self) -> bool:
        return not is_url(self.url)

    def __str__(self) -> str:
        return self.url.partition("?")[0]  # behind the question mark may be secrets

    def is_file(self) -> bool:
        """Whether it is one file.

        Raises:
            UserError: nothing is there.
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
        """The names of all files in the folder and in those below it, in natural order.

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
        """The bytes of a file, at most ``dptr.utils.reading.LARGEST``."""
        if self.local:
            return read_encoded(self._path(name))
        files, path = self._inside(name)

        def read() -> bytes:
            with files.open_input_file(path) as file:
                if file.size() > LARGEST:
                    raise UserError(f"{self._shown(name)}: larger than {LARGEST >> 20} MiB")
                return file.read()

        return self.ask(name, read)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A file to read from and to seek in."""
        if self.local:
            try:
                descriptor = open_plain(self._path(name))
            except (OSError, ValueError) as error:
                raise UserError(f"{self._path(name)}: {getattr(error, 'strerror', error)}; check the path") from error
            with open(descriptor, "rb") as file:
                yield file
            return
        files, path = self._inside(name)
        with self.ask(name, lambda: files.open_input_file(path)) as file:
            yield file

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        if self.local:
            return os.path.isfile(self._path(name))
        from pyarrow.fs import FileType

        files, path = self._inside(name)
        return self.ask(name, lambda: files.get_file_info(path).type) == FileType.File

    def stamp(self, name: str) -> str:
        """What tells of a change of a file without reading it: size and time.

        Raises:
            UserError: it is missing.
        """
        if self.local:
            try:
                found = os.stat(self._path(name))
            except (OSError, ValueError) as error:
                raise UserError(f"{self._path(name)}: {getattr(error, 'strerror', error)}; check the path") from error
            return f"{found.st_size} {found.st_mtime_ns}"
        files, path = self._inside(name)
        info = self.ask(name, lambda: files.get_file_info(path))
        return f"{info.size} {info.mtime_ns}"

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all; one of that name is replaced.

        Raises:
            UserError: it cannot be written.
        """
        if self.local:
            with replace_file(self._path(name)) as aside:
                aside.write_bytes(data)
            return
        files, path = self._inside(name)

        def write() -> None:
            if files.type_name in STORES:
                _send(files, path, data)
                return
            folder, _, last = path.rpartition("/")
            aside = f"{folder}/{PARTIAL}{uuid.uuid4().hex[:8]}-{last}"
            files.create_dir(folder, recursive=True)
            _send(files, aside, data)
            files.move(aside, path)

        self.ask(name, write)

    def remove(self, name: str) -> None:
        """Delete a file; none of that name is no error."""
        if self.local:
            Path(self._path(name)).unlink(missing_ok=True)
        elif self.exists(name):
            files, path = self._inside(name)
            self.ask(name, lambda: files.delete_file(path))

    def _path(self, name: str) -> str:
        return os.path.join(self.url, name)

    def _inside(self, name: str) -> tuple[Any, str]:
        files, path = connect(self.url)
        return files, f"{path.rstrip('/')}/{name}"

    def _shown(self, name: str) -> str:
        return f"{str(self).rstrip('/')}/{name}" if name else str(self)

    def ask(self, name: str, ask: Callable[[], Result]) -> Result:
        """Ask a store, and ask again where it does not answer.

        Args:
            name: of the file that it is about.

        Raises:
            UserError: there is no such file.
            StoreError: the store refuses, or has not answered after ``WAITS``.
        """
        for wait in (*WAITS, None):
            try:
                return ask()
            except _ABSENT as error:
                raise UserError(f"{self._shown(name)}: no such file; check the address") from error
            except PermissionError as error:
                raise StoreError(f"{self._shown(name)}: {_reason(error)}; check the credentials") from error
            except OSError as error:
                if wait is None or "ACCESS_DENIED" in str(error) or "credentials" in str(error).lower():
                    raise StoreError(
                        f"{self._shown(name)}: {_reason(error)}; check the address, the network, and the credentials"
                    ) from error
                time.sleep(wait)
        raise AssertionError("the last round returns or raises")


def split_place(url: str) -> tuple[Place, str]:
    """The folder of a file, and the file's name in it."""
    if not is_url(url):
        folder, name = os.path.split(os.path.abspath(url))
        return Place(folder), name
    path, mark, settings = url.partition("?")
    folder, _, name = path.rpartition("/")
    return Place(folder + mark + settings), name


def check_apart(source: str, out: str) -> None:
    """An output is neither the input nor in it, where the next run would read it; nor is it around it.

    Raises:
        UserError: it is; or one of them is an empty name.
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
    """The file system of a URL, and the path in it; a process that was forked connects anew.

    Raises:
        UserError: nobody knows such URLs, or a package for them is missing.
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


def _send(files: Any, path: str, data: bytes) -> None:
    with files.open_output_stream(path) as file:
        file.write(data)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
