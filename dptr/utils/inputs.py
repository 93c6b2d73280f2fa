"""The pictures that the arguments of a command stand for: files, folders, patterns, and standard input."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.images import REFUSED_SUFFIXES, SUFFIXES

STANDARD_INPUT = "-"


def expand(source: str, recursive: bool, suffixes: Collection[str] = SUFFIXES) -> list[str]:
    """The files that an argument of the command line stands for, in natural order.

    Photographs in a folder that cannot be opened (``REFUSED_SUFFIXES``) are among them, to be refused one by one.

    Args:
        source: a file, a folder of pictures, a pattern for ``glob``, or ``-``, which stays as it is.
        recursive: whether to include the pictures in sub-folders.
        suffixes: of the files to take from a folder, in lower case.

    Raises:
        UserError: a folder holds no picture, or a pattern matches no file.
    """
    if source == STANDARD_INPUT:
        return [source]
    if os.path.isdir(source):
        return list_images(source, recursive, suffixes, REFUSED_SUFFIXES)
    if os.path.lexists(source) or not glob.has_magic(source):
        return [source]
    found = [path for path in glob.glob(source, recursive=True) if not os.path.isdir(path)]
    if not found:
        raise UserError(f"{source}: no file matches this pattern; check it, and keep it in quotes")
    return sorted(found, key=natural_key)


def list_images(
    folder: str | Path, recursive: bool = False, suffixes: Collection[str] = SUFFIXES, others: Collection[str] = ()
) -> list[str]:
    """The paths of the pictures in a folder, recognized by suffix, in natural order (2 before 10).

    Args:
        recursive: whether to include sub-folders; links to folders are not followed.
        suffixes: of pictures, in lower case.
        others: suffixes of files to list too, which the message for a folder without pictures does not name.

    Raises:
        UserError: it is no folder, cannot be read, or holds no picture.
    """
    try:
        listed = os.listdir(folder)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; pass a folder of pictures") from error
    if recursive:
        walk = os.walk(folder, onerror=_refuse_folder)
        parents = ((os.path.relpath(parent, folder), files) for parent, _, files in walk)
        listed = [os.path.normpath(os.path.join(parent, name)) for parent, files in parents for name in files]
    names = [name for name in listed if os.path.splitext(name)[1].lower() in {*suffixes, *others}]
    if not names:
        where = "in it or in its sub-folders" if recursive else "directly in it"
        inner = "" if recursive else _find_inner(folder, listed, suffixes)
        like = f", such as {inner}" if inner else ""
        raise UserError(
            f"{folder}: no picture {where}; pass a folder that holds some{like} ({' '.join(sorted(suffixes))})"
        )
    return [os.path.join(folder, name) for name in sorted(names, key=natural_key)]


def _find_inner(folder: str | Path, names: Iterable[str], suffixes: Collection[str]) -> str:
    """The first sub-folder that holds a picture; "" if none does."""
    for name in sorted(names, key=natural_key):
        with suppress(OSError):  # a file, or unreadable
            if any(os.path.splitext(each)[1].lower() in suffixes for each in os.listdir(os.path.join(folder, name))):
                return os.path.join(folder, name)
    return ""


def _refuse_folder(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; make it readable, or pass the other folders") from error


def natural_key(name: str) -> tuple[list[str | int], str]:
    """A key that sorts names in natural order: numbers by value, letters regardless of case."""
    parts: list[str | int] = [part.casefold() for part in re.split(r"(\d+)", name)]
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name
