"""Atomic writing of files and folders: content is written to a temporary path, which is renamed when complete."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from itertools import chain, count
from pathlib import Path
from typing import Any

from dptr.utils.asides import aside_of, holding, try_lock
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.outputs import ASIDE, PARTIAL, REPLACED, check_file, mark, stream_of, writes_through
from dptr.utils.reading import check_depth, read_file

DIGITS = 16  # hexadecimal digits of a digest


@contextmanager
def atomic_file(path: str | Path, replaces: bool = False) -> Iterator[Path]:
    """``replace_file`` for a path that the user chose: it replaces only files that DPTR wrote.

    The new file is marked as written by DPTR, if its format has a mark (``dptr.utils.outputs.mark``).

    Args:
        replaces: whether it is known that DPTR wrote the file that is there, though nothing in it says so.

    Raises:
        UserError: see ``check_file`` and ``replace_file``.
    """
    if not replaces:
        check_file(path)
    with replace_file(path) as aside:
        yield aside
        mark(aside)


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; its file becomes ``path`` on success and is deleted on failure.

    The temporary path may already exist, as an empty file. Temporary files that killed writers of ``path`` left are
    removed.

    It replaces any file, so it is for folders that belong to DPTR. If ``path`` is a link, the link stays and its target
    is replaced. A device, a pipe, or the file that is this process's output is not replaced; the content is written
    into it.

    Raises:
        UserError: the disk is full, or the folder cannot be created or written to.
    """
    path = Path(path)
    with _explain_errors(path):
        if writes_through(path):
            with tempfile.TemporaryDirectory() as scratch:
                aside = Path(scratch) / path.name
                yield aside
                _write_through(aside, path)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with aside_of(target.with_name(path.name)) as aside:
            try:
                yield aside
                if target.exists():
                    shutil.copymode(target, aside)
                _sync(aside)
                os.replace(aside, target)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise


@contextmanager
def atomic_folder(path: str | Path, goes: Collection[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success, delete it on failure.

    An older folder is first renamed to a hidden name and deleted last, so a crash leaves one complete folder. After a
    crash between the two renames, only the hidden name exists; ``remove_partial`` and the next writer rename it back.

    Files of the older folder stay, except those that the new folder has, too, and those in ``goes``.

    Args:
        path: a folder; a link to a folder stays.
        goes: files of the older folder to delete, by their path in it, with slashes.

    Raises:
        UserError: ``path`` is a file, the disk is full, or the parent folder cannot be written to.
    """
    if Path(path).exists() and not Path(path).is_dir():
        raise UserError(f"cannot write the folder {path}: a file of that name is there; pass another path")
    path = Path(os.path.realpath(path))
    with _explain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside_of(path, folder=True) as aside:
            old = _name_older(aside, path, goes)
            try:
                yield aside
                for file in aside.rglob("*"):
                    if file.is_file():
                        _sync(file)
                if path.exists():
                    _link_missing(path, [name for name in list_files(path) if name not in goes], aside)
                    os.replace(path, old)
                os.replace(aside, path)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                if old.exists() and not path.exists():
                    os.replace(old, path)
                raise
            _remove_replaced(old, path, goes)


def restore_folder(path: str | Path) -> None:
    """Rename a folder back that a killed writer had moved away (``atomic_folder``). Call it before you read the folder.

    Raises:
        UserError: the parent folder cannot be written to.
    """
    path = Path(os.path.realpath(path))
    if not path.exists() and any(path.parent.glob(f"{REPLACED}*-{glob.escape(path.name)}")):
        with _explain_errors(path), aside_of(path, folder=True) as aside:
            _name_older(aside, path, ())


def _name_older(aside: Path, path: Path, goes: Collection[str]) -> Path:
    """An unused hidden name for the older folder; what a killed writer left there is renamed back or removed."""
    old = aside.with_name(aside.name.replace(PARTIAL, REPLACED, 1))
    if old.exists() and not path.exists():
        os.replace(old, path)
    _remove_replaced(old, path, goes)
    return old if not old.exists() else old.with_name(f"{REPLACED}{uuid.uuid4().hex[:8]}-{path.name}")


def list_files(folder: str | Path) -> list[str]:
    """The files, links and empty folders below a folder, by their path in it, with slashes; links are not followed."""
    names = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        entries = [*files, *links] if files or folders else [""]
        names += [os.path.normpath(os.path.relpath(os.path.join(place, name), folder)) for name in entries]
    return sorted(name.replace(os.sep, "/") for name in names if name != ".")


def remove_folder(folder: str | Path, patterns: Sequence[str]) -> None:
    """Delete a folder, if it exists and all its files match ``patterns``.

    Files that match the first pattern are deleted last, because the folder is recognized by them.

    Args:
        patterns: for ``fnmatch``, matched with paths in the folder, with slashes.

    Raises:
        UserError: the folder holds another file; then nothing is deleted.
    """
    folder = Path(folder)
    names = list_files(folder) if folder.is_dir() else []
    others = [
        name
        for name in names
        if not ASIDE.match(name.rpartition("/")[2])
        and not any(fnmatch(name, each) or each.startswith(f"{name}/") for each in patterns)
    ]
    if others:
        raise UserError(f"{folder}: not only what dptr wrote ({', '.join(others[:3])}); move it away yourself")
    remove_files(folder, sorted(names, key=lambda name: fnmatch(name, patterns[0])))


def remove_files(folder: str | Path, names: Iterable[str]) -> None:
    """Delete files of a folder, then its empty sub-folders, then the folder itself if it is empty.

    A file that is missing or cannot be deleted is no error.
    """
    folder = Path(folder)
    for name in names:
        with suppress(OSError):
            (folder / name).unlink()
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)


def remove_partial(folder: str | Path) -> None:
    """Delete what interrupted writers left in ``folder``, and rename folders back that they had moved away.

    Call it before you read the folder, and only if no other process writes in it.
    """
    for item in Path(folder).glob(f"{REPLACED}*"):
        if not ASIDE.match(item.name):
            continue
        final = item.with_name(ASIDE.sub("", item.name))
        if final.exists():
            _remove_replaced(item, final)
        else:
            os.replace(item, final)
    for item in Path(folder).glob(f"{PARTIAL}*"):
        if not ASIDE.match(item.name):
            continue
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def unused_name(path: Path) -> Path:
    """``path`` if nothing has that name, else the first unused of ``NAME-2.SUFFIX``, ``NAME-3.SUFFIX``, ..."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(name for name in chain([path], names) if not os.path.lexists(name))


@contextmanager
def lock_folder(out: Path, alone: bool = True) -> Iterator[None]:
    """Lock the folder ``out`` while the block runs, so that no other run writes in it.

    The system releases the lock when the process ends, however it ends, even if processes that it forked live on. On
    systems and file systems without such locks, the function does nothing.

    Args:
        alone: whether the lock is exclusive; off = shared with other callers that pass off, too.

    Raises:
        UserError: another run, in this process or in another, holds the lock.
    """
    if os.name == "nt":
        yield
        return
    with holding(os.open(out, os.O_RDONLY)) as folder:
        if try_lock(folder, alone) is False:
            raise UserError(f"{out}: another run writes in it; wait for its end, or pass another --out")
        yield


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as UTF-8 JSON with ``replace_file``: completely or not at all."""
    with replace_file(path) as aside:
        aside.write_text(dump_json(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: str | Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        what: the role of the file, for errors.

    Raises:
        UserError: the file is missing, unreadable, not JSON (which has no NaN and no infinity), or nested too deeply.
    """
    try:
        value = json.loads(read_file(path).decode("utf-8"), parse_constant=_refuse_constant)
        check_depth(value)
        return value
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} {path}: not valid JSON ({error}); the file is damaged, make it anew") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def digest(path: str | Path) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _link_missing(folder: Path, names: Iterable[str], new: Path) -> None:
    """Add files of ``folder`` to the folder ``new`` if it lacks them, as hard links if possible, else as copies."""
    for name in names:
        file, link = folder / name, new / name
        if os.path.lexists(link):
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir() and not file.is_symlink():
            link.mkdir()
            continue
        try:
            os.link(file, link, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(file, link, follow_symlinks=False)


def _remove_replaced(old: Path, new: Path, goes: Collection[str] = ()) -> None:
    """Delete files of the older folder that the new folder has, too, and those in ``goes``."""
    if old.exists():
        remove_files(old, [name for name in list_files(old) if name in goes or os.path.lexists(new / name)])


def _write_through(file: Path, path: Path) -> None:
    """Write the content of ``file`` into ``path``, which is a device, a pipe, or the output of this process."""
    sys.stdout.flush()
    stream = stream_of(path)
    descriptor = os.dup(stream) if stream is not None else os.open(path, os.O_WRONLY | os.O_APPEND)
    with open(descriptor, "wb", buffering=0) as out, open(file, "rb") as content:
        while data := content.read(1 << 20):
            while data:
                data = data[out.write(data) :]


def _sync(path: Path) -> None:
    with open(path, "r+b") as file:  # Windows can sync only files that are open for writing
        os.fsync(file.fileno())


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system into ``UserError``."""
    try:
        yield
    except OSError as error:
        final = ASIDE.sub("", str(path))  # the path may lie in a temporary folder
        raise UserError(f"cannot write {final}: {error.strerror or error}; free space or pass another path") from error
