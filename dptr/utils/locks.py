"""Locks on folders, for files that one process makes and all read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dptr.utils.errors import UserError


@contextmanager
def alone_in(folder: Path, setting: str) -> Iterator[None]:
    """Wait until no other process is in this block for the same folder, then run the block.

    The folder is created if it is missing.

    Args:
        setting: the setting that names the folder, for errors.

    Raises:
        UserError: the folder cannot be written to, or the system has no file locks.
    """
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise UserError(f"{setting} = '{folder}': this system has no locks for it; leave {setting} empty") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a")  # noqa: SIM115
        fcntl.flock(lock, fcntl.LOCK_EX)  # the lock ends when the file is closed, however the process ends
    except OSError as error:
        raise UserError(f"cache {folder}: {error.strerror}; pass a folder that can be written as {setting}") from error
    with lock:
        yield
