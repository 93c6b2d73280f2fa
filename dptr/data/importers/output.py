"""Labeled words out: a folder with ``labels.tsv``, or an LMDB, whole or not there."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from dptr.data.labeled import LABELS
from dptr.data.lmdb import UNFINISHED, write_lmdb
from dptr.utils.errors import UserError
from dptr.utils.files import PARTIAL, atomic_file, atomic_folder, remove_partial

RECORD = "import.json"  # where the words came from, and what was left out
IMAGES = "images"

_OURS = frozenset({LABELS, IMAGES, RECORD, "data.mdb", "lock.mdb"})

Sample = tuple[bytes, str]  # encoded picture, label


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


def write_dataset(path: Path, samples: Iterable[Sample], resume: bool = False) -> int:
    """An LMDB where ``path`` ends in ``.lmdb`` (``write_lmdb``), else a folder (``write_folder``)."""
    writer = write_lmdb if path.suffix == ".lmdb" else write_folder
    return writer(path, samples, resume)


def replace_dataset(path: Path, samples: Iterable[Sample]) -> int:
    """Like ``write_dataset`` in place of a data set that is there, which goes when the new one is whole.

    Raises:
        UserError: ``path`` holds anything but a data set.
    """
    if path.exists():
        others = (
            sorted(item.name for item in path.iterdir() if item.name not in _OURS) if path.is_dir() else [path.name]
        )
        if others:
            raise UserError(f"{path}: not only a data set ({', '.join(others[:3])}); move it away yourself")
    with atomic_folder(path) as aside:
        inside = aside / f"new{path.suffix}"
        count = write_dataset(inside, samples)
        for item in inside.iterdir():
            os.replace(item, aside / item.name)
        inside.rmdir()
    return count


def write_folder(path: Path, samples: Iterable[Sample], resume: bool = False) -> int:
    """Write encoded pictures as ``images/000000001.png`` and on, and ``labels.tsv``.

    Files go to ``.unfinished-NAME`` beside ``path``, which gets its final name when all of them are there. A run that
    was interrupted goes on with ``resume=True`` and the same ``samples``: pictures that are there are compared with
    those given, the rest is written.

    Args:
        path: a folder that does not exist yet.
        samples: pairs (encoded picture, label without tab or line break).
        resume: go on with an unfinished folder of that name; a finished one is compared and left as it is.

    Returns:
        The number of samples in the folder.

    Raises:
        UserError: ``path`` exists and ``resume`` is off, no samples, samples that differ from what is there, or a
            full disk (what is written stays, to be resumed).
    """
    aside = path.with_name(f"{UNFINISHED}{path.name}")
    finished = path.exists()
    if finished and not resume:
        raise UserError(f"{path}: exists; delete it, pass another path, or resume to check that it is complete")
    folder = path if finished else aside
    with _explained(folder):
        if not resume:
            shutil.rmtree(aside, ignore_errors=True)
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
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(f"{path}: no samples; a data set holds at least one")
    with _explained(folder):
        _check_all(folder, labels)
        if not finished:
            with atomic_file(folder / LABELS) as file:
                file.write_bytes("".join(labels).encode("utf-8"))
            os.replace(aside, path)
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
