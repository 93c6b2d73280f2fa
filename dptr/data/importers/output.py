"""Labeled words out: a folder with ``labels.tsv``, or an LMDB, whole or not there."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from PIL import Image

from dptr.data.labeled import LABELS
from dptr.data.lmdb import UNFINISHED, write_lmdb
from dptr.utils.errors import UserError
from dptr.utils.files import (
    atomic_folder,
    digest,
    list_files,
    read_json,
    remove_folder,
    remove_partial,
    replace_file,
    restore_folder,
    write_json,
)
from dptr.utils.outputs import PARTIAL, check_folder
from dptr.version import __version__

RECORD = "import.json"  # the manifest: where the words came from, what was left out, and digests of the files
IMAGES = "images"

_PICTURES = tuple(f"{IMAGES}/{'[0-9]' * 9}{suffix}" for suffix in (".png", ".jpg"))
_LMDB = "data.mdb"
_LOCK = "lock.mdb"  # comes and goes as programs read an LMDB

Sample = tuple[bytes, str]  # encoded picture, label
Describe = Callable[[int], dict[str, Any]]  # what ``RECORD`` tells, from the number of words


def encode(image: Image.Image, quality: int | None) -> bytes:
    """PNG, or JPEG of ``quality``.

    Raises:
        UserError: a picture that JPEG cannot hold, more than 65,500 pixels wide or high.
    """
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "PNG")
        return buffer.getvalue()
    try:
        image.save(buffer, "JPEG", quality=quality)
    except OSError as error:
        raise UserError(f"picture of {image.width}x{image.height}: {error}; leave quality out for PNG") from error
    return buffer.getvalue()


def write_dataset(path: Path, samples: Iterable[Sample], describe: Describe, resume: bool = False) -> int:
    """An LMDB where ``path`` ends in ``.lmdb`` (``write_lmdb``), else a folder (``write_folder``), with ``RECORD``."""

    def finish(folder: Path, count: int) -> None:
        files = {name: value for name, value in _digests(folder).items() if name in (LABELS, IMAGES, _LMDB)}
        write_json(folder / RECORD, {"dptr": __version__, **describe(count), "files": files})

    return (write_lmdb if path.suffix == ".lmdb" else write_folder)(path, samples, resume, finish)


def replace_dataset(path: Path, samples: Iterable[Sample], describe: Describe, older: Sequence[str]) -> int:
    """Like ``write_dataset`` in place of a data set that is there, which goes when the new one is whole.

    Args:
        older: the files that go, from ``own_dataset``.
    """
    with atomic_folder(path, set(older)) as aside:
        inside = aside / f"new{path.suffix}"
        count = write_dataset(inside, samples, describe)
        for item in inside.iterdir():
            os.replace(item, aside / item.name)
        inside.rmdir()
    return count


def own_dataset(path: Path, changed: bool) -> list[str]:
    """The files of a data set that ``write_dataset`` made; none where there is nothing.

    Args:
        changed: whether it may have been changed, or be of a version that kept no digests.

    Raises:
        UserError: something else, or a data set that was changed.
    """
    restore_folder(path)
    if not check_folder(path, "data set", RECORD, ("kind", "source", "words", "dropped")):
        return []
    names = list_files(path)
    if changed:
        return names
    held, found = read_json(path / RECORD, "data set").get("files"), _digests(path)
    if held is None:
        raise UserError(f"{path}: made before dptr kept track of its files; move it away or delete it yourself")
    if held != found:
        differ = sorted(name for name in held.keys() | found.keys() if held.get(name) != found.get(name))
        raise UserError(
            f"{path}: not as dptr wrote it ({', '.join(differ[:3])}); move it away or delete it yourself, or pass "
            "another path"
        )
    return names


def _digests(folder: Path) -> dict[str, str]:
    """Of each file in a data set's folder, and one of all its pictures, names included."""
    found: dict[str, str] = {}
    pictures = hashlib.sha256()
    for name in list_files(folder):
        content = digest(folder / name) if (folder / name).is_file() else ""
        if any(fnmatch(name, pattern) for pattern in _PICTURES):
            pictures.update(f"{content} {name}\n".encode())
            found[IMAGES] = pictures.hexdigest()[:16]
        elif name not in (RECORD, _LOCK):
            found[name] = content
    return found


def write_folder(
    path: Path,
    samples: Iterable[Sample],
    resume: bool = False,
    finish: Callable[[Path, int], None] = lambda folder, count: None,
) -> int:
    """Write encoded pictures as ``images/000000001.png`` and on, and ``labels.tsv``.

    Files go to ``.unfinished-NAME`` beside ``path``, which gets its final name when all of them are there. A run that
    was interrupted goes on with ``resume=True`` and the same ``samples``: pictures that are there are compared with
    those given, the rest is written.

    Args:
        path: a folder that does not exist yet.
        samples: pairs (encoded picture, label without tab or line break).
        resume: go on with an unfinished folder of that name; a finished one is compared and left as it is.
        finish: called with the unfinished folder and the number of samples once all are in it.

    Returns:
        The number of samples in the folder.

    Raises:
        UserError: ``path`` exists and ``resume`` is off, no samples, samples that differ from what is there, files in
            ``.unfinished-NAME`` that are not the data set's, or a full disk (what is written stays, to be resumed).
    """
    final = Path(os.path.realpath(path))
    aside = final.with_name(f"{UNFINISHED}{final.name}")
    known = (*_PICTURES, LABELS, RECORD)
    finished = path.exists()
    if finished and not resume:
        raise UserError(f"{path}: exists; delete it, pass another path, or resume to check that it is complete")
    folder = path if finished else aside
    with _explained(folder):
        if not resume:
            remove_folder(aside, known)
        if finished and not (folder / IMAGES).is_dir():
            raise UserError(f"{path}: exists and is no folder of labeled pictures; pass another path")
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        remove_partial(folder / IMAGES)
    labels = []
    for number, (image, label) in enumerate(samples, start=1):
        name = f"{IMAGES}/{number:09d}{_suffix(image)}"
        _write_or_compare(folder / name, image, finished)
        labels.append(f"{name}\t{label}\n")
    if not labels:
        remove_folder(aside, known)
        raise UserError(f"{path}: no samples; a data set holds at least one")
    with _explained(folder):
        _check_all(folder, labels)
        if not finished:
            with replace_file(folder / LABELS) as file:
                file.write_bytes("".join(labels).encode("utf-8"))
            finish(folder, len(labels))
            os.replace(aside, final)
    return len(labels)


def _suffix(image: bytes) -> str:
    return ".png" if image.startswith(b"\x89PNG") else ".jpg"


def _write_or_compare(file: Path, image: bytes, finished: bool) -> None:
    with _explained(file):
        if file.exists() or finished:
            if not file.exists() or file.read_bytes() != image:
                raise UserError(f"{file}: another picture than now; resume with the same source, or overwrite")
            return
        aside = file.with_name(f"{PARTIAL}00000000-{file.name}")
        aside.write_bytes(image)
        os.replace(aside, file)


def _check_all(folder: Path, labels: list[str]) -> None:
    """The folder holds as many pictures as there are labels, and no other ``labels.tsv`` than these."""
    found = sum(1 for _ in (folder / IMAGES).iterdir())
    if found != len(labels):
        raise UserError(f"{folder}: holds {found} pictures, {len(labels)} are given now; delete it or overwrite")
    file = folder / LABELS
    if file.exists() and file.read_bytes() != "".join(labels).encode("utf-8"):
        raise UserError(f"{file}: other labels than now; resume with the same source, or overwrite")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; free space or pass another folder; what is written can "
            "be resumed"
        ) from error
