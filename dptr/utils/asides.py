"""Temporary files and folders, beside a target, that hold its content until it is complete.

A writer locks its temporary file. The system releases the lock when the process ends, however it ends. So the next
writer of the same target can tell which temporary file is abandoned, and removes it.
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

USUAL = "0" * 8  # in the name of the temporary file; writers at the same time get random digits
_descriptors: set[int] = set()  # descriptors of locked files of this process


@contextmanager
def aside_of(target: Path, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` to which no other process writes.

    Args:
        folder: whether to create an empty folder at that path.

    Raises:
        OSError: the folder cannot be created.
    """
    usual = target.with_name(f"{PARTIAL}{USUAL}-{target.name}")
    locks: list[int] = []
    try:
        if _try_create(usual, folder, locks):
            yield usual
            return
    finally:
        _release(locks)
        _remove_abandoned(usual)  # an interrupt may have come between creating and using the file
    other = target.with_name(f"{PARTIAL}{uuid.uuid4().hex[:8]}-{target.name}")
    if folder:
        other.mkdir()
    yield other


@contextmanager
def holding(descriptor: int) -> Iterator[int]:
    """Yield a descriptor and close it at the end; processes that are forked meanwhile close their copy.

    A lock would otherwise outlive this process in the copy of a forked process.
    """
    _descriptors.add(descriptor)
    try:
        yield descriptor
    finally:
        _release([descriptor])


def try_lock(descriptor: int, alone: bool = True) -> bool | None:
    """Lock an open file or folder without waiting.

    Args:
        alone: whether the lock is exclusive; off = shared.

    Returns:
        True if it is locked, False if another process has locked it, None if the system has no such locks.
    """
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno == errno.EWOULDBLOCK else None
    return True


def _try_create(path: Path, folder: bool, locks: list[int]) -> bool:
    """Remove what a killed writer left at ``path``, then create and lock ``path``.

    Args:
        locks: the descriptor of the lock is appended to it.

    Returns:
        Whether this process may write to ``path``.
    """
    if not _remove_abandoned(path):
        return False
    try:
        if folder:
            path.mkdir()
        locks.append(os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError:
        return False
    _descriptors.update(locks)
    locked = try_lock(locks[0])
    if locked and _is_same_file(path, locks[0]):
        return True
    _release(locks)
    if locked is None:
        path.rmdir() if folder else path.unlink()
    return False


def _release(descriptors: list[int]) -> None:
    """Close those of the descriptors that this process still has open."""
    for descriptor in descriptors:
        if descriptor in _descriptors:
            _descriptors.remove(descriptor)
            os.close(descriptor)


def _remove_abandoned(path: Path) -> bool:
    """Remove ``path`` if it is abandoned; return whether the path is then free."""
    with suppress(OSError):  # usually the path does not exist
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if not try_lock(descriptor) or not _is_same_file(path, descriptor):
                return False
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            os.close(descriptor)
    return True


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Whether ``path`` still leads to the file that was opened as ``descriptor``."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _close_inherited() -> None:
    """Close the copies of descriptors that a forked process has inherited."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
