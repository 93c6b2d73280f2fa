"""Reading of files that a user, a label, or an archive names: opening never waits, and only regular files are read."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from dptr.utils.errors import UserError

LARGEST = 1 << 30  # bytes of a file that is read whole
LARGEST_SETTINGS = 16 << 20  # bytes of a recipe, or of a charset
DEEPEST = 64  # levels of dicts and lists in settings

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_SHELL_PIPES = "/dev/fd/", "/proc/self/fd/", "/dev/stdin"  # pipes that have a writer, such as <(command)


def read_file(path: str | os.PathLike[str], largest: int = LARGEST) -> bytes:
    """The bytes of a file.

    Pipes of the shell (``<(command)``) are read, too. Other pipes are refused, because they may never get a writer.

    Args:
        largest: the largest size to accept, in bytes.

    Raises:
        OSError: the file cannot be opened; it is a device, a pipe, a socket, or larger than ``largest`` (``strerror``
            then says so).
        ValueError: the name contains a NUL.
    """
    with open(open_plain(path), "rb", buffering=0) as file:
        kind = os.fstat(file.fileno())
        if stat.S_ISREG(kind.st_mode) and kind.st_size <= largest:
            return file.readall()
        data = bytearray()
        while len(data) <= largest and (piece := file.read(1 << 20)):
            data += piece
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"larger than {largest >> 20} MiB", str(path))
    return bytes(data)


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        UserError: the file is missing, unreadable, or not UTF-8 (the error names the line).
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def read_named_text(path: str | Path, what: str, largest: int = LARGEST) -> str:
    """Read a UTF-8 file that a setting names, with or without a byte order mark.

    Args:
        what: the setting, such as ``charset``; errors begin with it.
        largest: as in ``read_file``.

    Raises:
        UserError: the file is missing, unreadable, or not UTF-8 (the error names the byte).
    """
    try:
        return read_file(path, largest).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{what} {path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error


def open_plain(path: str | os.PathLike[str]) -> int:
    """Open a file for reading without waiting; the caller closes the descriptor.

    Raises:
        OSError, ValueError: as ``read_file``.
    """
    descriptor = os.open(path, os.O_RDONLY | _NO_WAIT)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISFIFO(kind) and str(path).startswith(_SHELL_PIPES):
            os.set_blocking(descriptor, True)
        else:
            _check_kind(kind, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_plain(path: str | os.PathLike[str]) -> None:
    """Refuse folders, devices and pipes before a library opens the file.

    Raises:
        OSError, ValueError: as ``read_file``.
    """
    _check_kind(os.stat(path).st_mode, path)


def _check_kind(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a device or a pipe, not a file", str(path))


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: the text is not TOML, has a number of thousands of digits, or is nested too deeply
            (``check_depth``).
    """
    try:
        parsed = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    check_depth(parsed)
    return parsed


def check_depth(value: Any) -> None:
    """Check that dicts and lists are not nested so deeply that recursive functions fail.

    Raises:
        ValueError: they are nested in more than ``DEEPEST`` levels.
    """
    level = [value]
    for _ in range(DEEPEST):
        parts = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [each for part in parts for each in part if isinstance(each, dict | list)]
    if level:
        raise ValueError(f"nested in more than {DEEPEST} levels")


def resolve_inside(folder: str | os.PathLike[str], name: str) -> Path:
    """The path of a file that a label or an annotation in ``folder`` names; links are not resolved.

    Raises:
        UserError: the path leads out of the folder.
    """
    if os.path.isabs(name) or ".." in name:
        whole = os.path.abspath(folder)
        if not os.path.abspath(os.path.join(whole, name)).startswith(os.path.join(whole, "")):
            raise UserError(f"{name}: leads out of {folder}; name files in that folder")
    return Path(folder) / name
