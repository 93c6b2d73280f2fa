"""The names under which something is written until it is whole, and what killed writers left under them.

A writer holds a lock on what it writes; the system lifts it when the process ends, however it ends. So the next writer
of the same file knows what nobody writes any more, and removes it.
"""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dptr.utils.outputs import PARTIAL

USUAL = "0" * 8  # the token of the first writer of a file; others, beside it, get a random one
_held: set[int] = set()  # descriptors of the locks of this process


@contextmanager
def aside_of(target: Path, folder: bool = False) -> Iterator[Path]:
    """A name beside ``target`` that nobody else writes to; for a folder, one that is there and empty.

    Raises:
        OSError: the folder cannot be made.
    """
    usual = target.with_name(f"{PARTIAL}{USUAL}-{target.name}")
    made: list[int] = []
    try:
        if _take(usual, folder, made):
            yield usual
            return
    finally:
        _release(made)
        _remove_left(usual)  # an interrupt can come between the making and the writing
    other = target.with_name(f"{PARTIAL}{uuid.uuid4().hex[:8]}-{target.name}")
    if folder:
        other.mkdir()
    yield other


@contextmanager
def holding(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end, and in each process that is forked meanwhile.

    With its copy, a lock would outlive the process that holds it.
    """
    _held.add(descriptor)
    try:
        yield descriptor
    finally:
        _release([descriptor])


def try_lock(descriptor: int, alone: bool = True) -> bool | None:
    """Lock an open file or folder; False where another process holds it, None where the system has no such locks."""
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno == errno.EWOULDBLOCK else None
    return True


def _take(path: Path, folder: bool, made: list[int]) -> bool:
    """Make ``path``, after what is left of a killed writer was removed; whether it is ours.

    Args:
        made: gets the descriptor of its lock.
    """
    if not _remove_left(path):
        return False
    try:
        if folder:
            path.mkdir()
        made.append(os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError:
        return False
    _held.update(made)
    locked = try_lock(made[0])
    if locked and _names(path, made[0]):
        return True
    _release(made)
    if locked is None:
        path.rmdir() if folder else path.unlink()
    return False


def _release(descriptors: list[int]) -> None:
    """Close those of this process that are open."""
    for descriptor in descriptors:
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)


def _remove_left(path: Path) -> bool:
    """Remove what nobody writes any more; whether nothing stands in the way."""
    with suppress(OSError):  # nothing is there, as a rule
        left = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if not try_lock(left) or not _names(path, left):
                return False
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            os.close(left)
    return True


def _names(path: Path, descriptor: int) -> bool:
    """Whether ``path`` is still what was opened."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _let_go() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
