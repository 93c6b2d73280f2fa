"""Files that are either whole or not there: everything is written aside and renamed when complete."""

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

DIGITS = 16  # of a digest, hexadecimal


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """As ``replace_file``, for a file that the user names: it is replaced only if DPTR wrote it, and says so then.

    Raises:
        UserError: as ``check_file`` and ``replace_file``.
    """
    check_file(path)
    with replace_file(path) as aside:
        yield aside
        mark(aside)


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there becomes ``path`` on success, and is deleted on failure.

    What a killed writer of ``path`` left is removed. The temporary path may be there already, as an empty file.

    For a file in a folder of DPTR's own; whose file is replaced is not asked. A link stays, and the file that it names
    is replaced. A device, a pipe, or what this process's output goes to gets the content.

    Raises:
        UserError: the disk is full, the folder cannot be written or is missing.
    """
    path = Path(path)
    with _explain_errors(path):
        if writes_through(path):
            with tempfile.TemporaryDirectory() as scratch:
                aside = Path(scratch) / path.name
                yield aside
                _send(aside, path)
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

    An older ``path`` is moved away first and deleted last: a crash leaves one of the two whole, though between the
    two renames only under a hidden name, from which ``remove_partial`` and the next writer put it back. Files of the
    older one that the new one has too are replaced. The others stay, but for ``goes``.

    Args:
        path: a folder; a link to one stays.
        goes: files that go with the older folder, by their path in it, with slashes.

    Raises:
        UserError: ``path`` is a file, the disk is full, the parent folder cannot be written.
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
                    _keep(path, [name for name in list_files(path) if name not in goes], aside)
                    os.replace(path, old)
                os.replace(aside, path)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                if old.exists() and not path.exists():
                    os.replace(old, path)
                raise
            _remove_replaced(old, path, goes)


def restore_folder(path: str | Path) -> None:
    """Put a folder back that a killed writer had moved away (``atomic_folder``); to be called before it is looked at.

    Raises:
        UserError: the folder that it is in cannot be written.
    """
    path = Path(os.path.realpath(path))
    if not path.exists() and any(path.parent.glob(f"{REPLACED}*-{glob.escape(path.name)}")):
        with _explain_errors(path), aside_of(path, folder=True) as aside:
            _name_older(aside, path, ())


def _name_older(aside: Path, path: Path, goes: Collection[str]) -> Path:
    """A name for the older folder that nothing has; what a killed writer left under it is put back, or goes."""
    old = aside.with_name(aside.name.replace(PARTIAL, REPLACED, 1))
    if old.exists() and not path.exists():
        os.replace(old, path)
    _remove_replaced(old, path, goes)
    return old if not old.exists() else old.with_name(f"{REPLACED}{uuid.uuid4().hex[:8]}-{path.name}")


def list_files(folder: str | Path) -> list[str]:
    """All in a folder, by the path in it, with slashes: files, links (not followed), and folders that hold nothing."""
    found = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        inside = [*files, *links] if files or folders else [""]
        found += [os.path.normpath(os.path.relpath(os.path.join(place, name), folder)) for name in inside]
    return sorted(name.replace(os.sep, "/") for name in found if name != ".")


def remove_folder(folder: str | Path, patterns: Sequence[str]) -> None:
    """Delete a folder that holds only what fits ``patterns`` (as ``fnmatch``, of paths with slashes), if it is there.

    What fits the first pattern goes last: the folder can be known by it until then.

    Raises:
        UserError: something else is in it; nothing is deleted then.
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
    """Delete files of a folder, and it and those in it that are empty then; what is not there or stays is no error."""
    folder = Path(folder)
    for name in names:
        with suppress(OSError):
            (folder / name).unlink()
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(place)


def remove_partial(folder: str | Path) -> None:
    """Delete what interrupted writers left in ``folder``; put back a folder that one of them had moved away.

    To be called before reading, by the only process that writes there.
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
    """``path``, or where that is taken the first of ``NAME-2.SUFFIX``, ``NAME-3.SUFFIX``, ... that is not."""
    names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(name for name in chain([path], names) if not os.path.lexists(name))


@contextmanager
def lock_folder(out: Path, alone: bool = True) -> Iterator[None]:
    """Lock the folder ``out`` while the block runs, so that no other process writes there.

    The system lifts the lock when the process ends, however it ends, and whatever processes it forked live on. Systems
    and file systems without such locks keep nobody out.

    Args:
        alone: whether nobody else may hold the lock; off = others may that also pass off.

    Raises:
        UserError: somebody else holds ``out``, in this process or another.
    """
    if os.name == "nt":
        yield
        return
    with holding(os.open(out, os.O_RDONLY)) as folder:
        if try_lock(folder, alone) is False:
            raise UserError(f"{out}: another run writes in it; wait for its end, or pass another --out")
        yield


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as UTF-8 JSON into a folder of DPTR's own, whole or not at all."""
    with replace_file(path) as aside:
        aside.write_text(dump_json(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: str | Path, what: str) -> Any:
    """Read JSON; ``what`` names the file's role in the error.

    Raises:
        UserError: missing, unreadable or not JSON; NaN and infinity are none.
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
    """SHA-256 of a file, the first 16 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _keep(folder: Path, names: Iterable[str], new: Path) -> None:
    """Give ``new`` those files of ``folder`` that it has none of, as hard links where that can be."""
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
    """Delete of the older folder what the new one has too, and what ``goes``."""
    if old.exists():
        remove_files(old, [name for name in list_files(old) if name in goes or os.path.lexists(new / name)])


def _send(file: Path, path: Path) -> None:
    """Write the content of ``file`` into something that is no plain file."""
    sys.stdout.flush()
    stream = stream_of(path)
    descriptor = os.dup(stream) if stream is not None else os.open(path, os.O_WRONLY | os.O_APPEND)
    with open(descriptor, "wb", buffering=0) as out, open(file, "rb") as content:
        while data := content.read(1 << 20):
            while data:
                data = data[out.write(data) :]


def _sync(path: Path) -> None:
    with open(path, "r+b") as file:  # Windows syncs what can be written
        os.fsync(file.fileno())


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        final = ASIDE.sub("", str(path))  # a file inside a folder that is being written
        raise UserError(f"cannot write {final}: {error.strerror or error}; free space or pass another path") from error
