"""What the arguments of a command that reads pictures stand for: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection

from dptr.utils.errors import UserError
from dptr.utils.images import SUFFIXES, list_images, natural_key

STANDARD_INPUT = "-"


def expand(source: str, recursive: bool, suffixes: Collection[str] = SUFFIXES) -> list[str]:
    """The files that an argument of the command line stands for, in natural order.

    Args:
        source: a file, a folder of pictures, a pattern as ``glob`` takes it, or ``-``, which stays.
        recursive: take the pictures in sub-folders too.
        suffixes: of what is taken from a folder, in lower case.

    Raises:
        UserError: a folder without pictures, or a pattern that matches no file.
    """
    if source == STANDARD_INPUT:
        return [source]
    if os.path.isdir(source):
        return list_images(source, recursive, suffixes)
    if os.path.lexists(source) or not glob.has_magic(source):
        return [source]
    found = [path for path in glob.glob(source, recursive=True) if not os.path.isdir(path)]
    if not found:
        raise UserError(f"{source}: no file matches this pattern; check it, and keep it in quotes")
    return sorted(found, key=natural_key)
