"""Checks of output paths, so that DPTR never deletes, overwrites, or moves files of the user.

- A file may be replaced if it is empty or if DPTR wrote it. Files of DPTR have a mark (``is_marked``): a ``"dptr"`` key
  at the start of JSON, a generator in HTML, a comment in XML and at the end of a PDF, a ``Software`` text in PNG, the
  producer of ONNX, the metadata of safetensors.
- A device, a pipe, or the file that is the command's output is written into, never replaced.
- A folder may be written to if it is new, empty, or has a manifest of DPTR (``check_folder``).
"""

from __future__ import annotations

import json
import os
import re
import stat
import struct
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path

from dptr.utils.errors import UserError
from dptr.utils.reading import read_file
from dptr.version import __version__

PARTIAL = ".partial-"  # prefix of the names of incomplete files and folders
REPLACED = ".replaced-"  # prefix of the names of folders that are being replaced
ASIDE = re.compile(f"(?:{re.escape(PARTIAL)}|{re.escape(REPLACED)})[0-9a-f]{{8}}-")

_PNG, _PNG_HEADER = b"\x89PNG\r\n\x1a\n", 33  # signature; offset of the end of IHDR, the first chunk
_SOFTWARE = b"tEXtSoftware\x00dptr "
_GENERATOR = b'<meta name="generator" content="dptr '
PDF_MARK = b"%dptr "  # a comment after the end of a PDF, where it does not change the byte offsets in the file
_PDF_TAIL = 64  # bytes at the end of a PDF that hold the mark
_MARKS = {
    "json": re.compile(rb'\s*\{\s*"dptr"\s*:'),
    "html": re.compile(rb"<!doctype html>.{0,200}" + re.escape(_GENERATOR), re.DOTALL),
    "png": re.compile(re.escape(_PNG) + rb".{29}" + re.escape(_SOFTWARE), re.DOTALL),
    "xml": re.compile(rb"<\?xml[^>]{0,100}\?>\s*<!-- dptr "),
    "onnx": re.compile(rb"\x08.\x12\x04dptr", re.DOTALL),  # the version of the format, then producer_name
    "safetensors": re.compile(rb'.{8}\{"__metadata__":\{"dptr', re.DOTALL),
}


def check_file(path: str | Path, inputs: Iterable[str | Path] = (), kind: str | None = None) -> None:
    """Check that a file may be written, before the work for it begins.

    Args:
        path: as the user named it.
        inputs: files and folders that the command reads.
        kind: the format that will be written, a key of ``_MARKS``; only a file of DPTR in this format is replaced.
            Empty = a format without a mark, whose files are not replaced; None = any format.

    Raises:
        UserError: the path is a folder, a disk, one of the inputs, or a file that may not be replaced; or no file can
            be created there.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        _check_writable(Path(os.path.realpath(path)))
        return
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; pass another name") from error
    if stat.S_ISDIR(mode):
        raise UserError(f"{path}: a folder; pass the name of a file to write")
    if stat.S_ISBLK(mode):
        raise UserError(f"{path}: a disk; pass the name of a file to write")
    if writes_through(path):
        return
    for each in inputs:
        if os.path.exists(each) and os.path.samefile(path, each):
            raise UserError(f"{path}: also what is read; pass another name")
    existing = mark_of(path)
    if path.stat().st_size and not existing:
        raise UserError(
            f"{path}: exists, and nothing in it says that dptr wrote it; pass another name, or remove it yourself"
        )
    if existing and kind is not None and existing != kind:
        raise UserError(
            f"{path}: exists, a {existing} file of dptr, not replaced by another kind; pass another name, or remove it"
        )
    _check_writable(Path(os.path.realpath(path)))


def writes_through(path: str | Path) -> bool:
    """Whether to write into ``path`` and not replace it: it is a device, a pipe, or the output of this process."""
    try:
        info = os.stat(path)
    except OSError:
        return False
    return not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)) or stream_of(path) is not None


def stream_of(path: str | Path) -> int | None:
    """Whether standard output (1) or standard error (2) of this process goes to ``path``, such as ``/dev/stdout``.

    None = neither does.
    """
    for descriptor in (1, 2):
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except OSError:
            continue
    return None


def is_marked(path: str | Path) -> bool:
    """Whether a file has a mark of DPTR; False if it cannot be read."""
    return bool(mark_of(path))


def mark_of(path: str | Path) -> str:
    """The format of a file that has a mark of DPTR: a key of ``_MARKS``, or ``pdf``; "" for other files."""
    try:
        with open(path, "rb") as file:
            head = file.read(512)
            if head.startswith(b"%PDF-"):
                file.seek(max(0, os.path.getsize(path) - _PDF_TAIL))
                return "pdf" if PDF_MARK in file.read() else ""
            return _find_mark(head)
    except OSError:
        return ""


def mark(path: str | Path) -> None:
    """Add the mark of DPTR to a JSON object, an HTML page, or a PNG; files of other formats stay as they are."""
    with open(path, "rb") as file:
        head = file.read(512)
    insert: tuple[int, bytes] | None = None
    if _find_mark(head):
        return
    if head.startswith(_PNG):
        chunk = _SOFTWARE + __version__.encode()
        insert = _PNG_HEADER, struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    elif head.startswith(b"<!doctype html>") and (start := head.find(b"<head>") + 6) > 6:
        insert = start, b"\n" + _GENERATOR + __version__.encode() + b'">'
    elif found := re.match(rb"\s*\{(\s*)(.?)", head, re.DOTALL):
        comma = b"" if found[2] == b"}" else b","
        insert = found.end(1), f'"dptr": {json.dumps(__version__)}'.encode() + comma + (found[1] or b" ") * bool(comma)
    if insert is not None:
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: insert[0]] + insert[1] + data[insert[0] :])


def check_folder(folder: str | Path, what: str, manifest: str, keys: Collection[str]) -> bool:
    """Check that a folder may be written to: it is new, empty, or an earlier output of the same kind.

    Args:
        folder: as the user named it.
        what: the kind of output, for the error.
        manifest: name of the JSON file that DPTR writes first in such a folder.
        keys: that the object in ``manifest`` must have.

    Returns:
        Whether the folder is an earlier output.

    Raises:
        UserError: it is a file, a folder with other files, or a folder that cannot be read or created.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot write {folder}: a file; pass the name of a folder")
    try:
        names = sorted(name for name in os.listdir(folder) if not ASIDE.match(name)) if folder.exists() else []
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; pass another folder") from error
    if not names:
        _check_writable(Path(os.path.realpath(folder)))
        return False
    if has_manifest(folder, manifest, keys):
        return True
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    raise UserError(
        f"{folder}: not empty ({listed}) and no {what} that dptr made; pass another folder, or move those away"
    )


def has_manifest(folder: str | Path, manifest: str, keys: Collection[str]) -> bool:
    """Whether the file ``manifest`` in ``folder`` is a JSON object with ``keys``."""
    try:
        content = json.loads(read_file(Path(folder) / manifest))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and set(keys) <= content.keys()


def lies_in(path: str | Path, folder: str | Path) -> bool:
    """Whether ``path`` is ``folder`` or lies in it, even by links, by ``..``, or by names in another case."""
    try:
        target = os.stat(folder)
    except OSError:
        return False
    place = Path(os.path.realpath(path))
    return any(each.exists() and os.path.samestat(os.stat(each), target) for each in (place, *place.parents))


def _find_mark(head: bytes) -> str:
    return next((kind for kind, pattern in _MARKS.items() if pattern.match(head)), "")


def _check_writable(path: Path) -> None:
    """Check that the nearest existing folder above ``path`` can be written to.

    Raises:
        UserError: it is a file, or cannot be written to.
    """
    above = next(parent for parent in path.parents if parent.exists() or parent == parent.parent)
    if not above.is_dir():
        raise UserError(f"cannot write {path}: {above} is a file; pass another path")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {above} cannot be written to; pass another path")
