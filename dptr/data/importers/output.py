"""Writing of labeled words: a folder with ``labels.tsv``, or an LMDB. A data set appears only when it is complete."""

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
_LMDB_LOCK = "lock.mdb"  # programs that read an LMDB create and delete it

Sample = tuple[bytes, str]  # encoded picture, label
Describe = Callable[[int], dict[str, Any]]  # from the number of words to the content of ``RECORD``


def encode(image: Image.Image, quality: int | None) -> bytes:
    """Encode a picture as JPEG of ``quality``, 1 to 95, or as PNG if ``quality`` is None.

    Raises:
        UserError: the picture is more than 65,500 pixels wide or high, which JPEG cannot store.
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
    """Write a data set with ``RECORD``: an LMDB if ``path`` ends in ``.lmdb``, otherwise a folder.

    Returns the number of samples. See ``write_lmdb`` and ``write_folder`` for arguments and errors.
    """

    def finish(folder: Path, count: int) -> None:
        files = {name: value for name, value in _digests(folder).items() if name in (LABELS, IMAGES, _LMDB)}
        write_json(folder / RECORD, {"dptr": __version__, **describe(count), "files": files})

    return (write_lmdb if path.suffix == ".lmdb" else write_folder)(path, samples, resume, finish)


def replace_dataset(path: Path, samples: Iterable[Sample], describe: Describe, older: Sequence[str]) -> int:
    """Replace a data set by a new one (``write_dataset``). The older one is deleted once the new one is complete.

    Returns the number of samples.

    Args:
        path: the data set.
        samples, describe: see ``write_dataset``.
        older: the files to delete, as ``own_dataset`` returns them.
    """
    with atomic_folder(path, set(older)) as temporary:
        inside = temporary / f"new{path.suffix}"
        count = write_dataset(inside, samples, describe)
        for item in inside.iterdir():
            os.replace(item, temporary / item.name)
        inside.rmdir()
    return count


def own_dataset(path: Path, changed: bool) -> list[str]:
    """The files of a data set that ``write_dataset`` wrote; empty if there is nothing.

    Args:
        path: the data set.
        changed: whether the data set may have changed since, or may be from a version of dptr that recorded no digests.

    Raises:
        UserError: ``path`` is not such a data set, or the data set has changed.
    """
    restore_folder(path)
    if not check_folder(path, "data set", RECORD, ("kind", "source", "words", "dropped")):
        return []
    names = list_files(path)
    if changed:
        return names
    recorded, current = read_json(path / RECORD, "data set").get("files"), _digests(path)
    if recorded is None:
        raise UserError(f"{path}: made before dptr kept track of its files; move it away or delete it yourself")
    if recorded != current:
        differ = sorted(name for name in recorded.keys() | current.keys() if recorded.get(name) != current.get(name))
        raise UserError(
            f"{path}: not as dptr wrote it ({', '.join(differ[:3])}); move it away or delete it yourself, or pass "
            "another path"
        )
    return names


def _digests(folder: Path) -> dict[str, str]:
    """The digest of each file in a data set's folder, but a single one for all pictures and their names.

    ``RECORD`` and the lock file of an LMDB are left out.
    """
    digests: dict[str, str] = {}
    pictures = hashlib.sha256()
    for name in list_files(folder):
        content = digest(folder / name) if (folder / name).is_file() else ""
        if any(fnmatch(name, pattern) for pattern in _PICTURES):
            pictures.update(f"{content} {name}\n".encode())
            digests[IMAGES] = pictures.hexdigest()[:16]
        elif name not in (RECORD, _LMDB_LOCK):
            digests[name] = content
    return digests


def write_folder(
    path: Path,
    samples: Iterable[Sample],
    resume: bool = False,
    finish: Callable[[Path, int], None] = lambda folder, count: None,
) -> int:
    """Write encoded pictures as ``images/000000001.png`` (or ``.jpg``) and so on, and ``labels.tsv``.

    The files are written to the folder ``.unfinished-NAME`` beside ``path``, which is renamed to ``path`` when it is
    complete. To continue an interrupted run, pass ``resume=True`` and the same ``samples``: pictures that exist are
    compared with the samples, the others are written.

    Args:
        path: a folder that does not exist yet.
        samples: pairs (encoded picture, label without tab or line break).
        resume: continue an unfinished folder of that name; a finished one is compared and not changed.
        finish: called with the unfinished folder and the number of samples when all samples are written.

    Returns:
        The number of samples in the folder.

    Raises:
        UserError: ``path`` exists and ``resume`` is off; there are no samples; samples differ from the existing files;
            ``.unfinished-NAME`` has files that are not the data set's; or the disk is full (the files written so far
            stay, so that the run can be resumed).
    """
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f"{UNFINISHED}{final.name}")
    known_files = (*_PICTURES, LABELS, RECORD)
    finished = path.exists()
    if finished and not resume:
        raise UserError(f"{path}: exists; delete it, pass another path, or resume to check that it is complete")
    folder = path if finished else temporary
    with _explain_errors(folder):
        if not resume:
            remove_folder(temporary, known_files)
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
        remove_folder(temporary, known_files)
        raise UserError(f"{path}: no samples; a data set holds at least one")
    with _explain_errors(folder):
        _check_complete(folder, labels)
        if not finished:
            with replace_file(folder / LABELS) as file:
                file.write_bytes("".join(labels).encode("utf-8"))
            finish(folder, len(labels))
            os.replace(temporary, final)
    return len(labels)


def _suffix(image: bytes) -> str:
    return ".png" if image.startswith(b"\x89PNG") else ".jpg"


def _write_or_compare(file: Path, image: bytes, finished: bool) -> None:
    with _explain_errors(file):
        if file.exists() or finished:
            if not file.exists() or file.read_bytes() != image:
                raise UserError(f"{file}: another picture than now; resume with the same source, or overwrite")
            return
        temporary = file.with_name(f"{PARTIAL}00000000-{file.name}")
        temporary.write_bytes(image)
        os.replace(temporary, file)


def _check_complete(folder: Path, labels: list[str]) -> None:
    """Check that the folder has as many pictures as labels, and that an existing ``labels.tsv`` has these labels."""
    pictures = sum(1 for _ in (folder / IMAGES).iterdir())
    if pictures != len(labels):
        raise UserError(f"{folder}: holds {pictures} pictures, {len(labels)} are given now; delete it or overwrite")
    file = folder / LABELS
    if file.exists() and file.read_bytes() != "".join(labels).encode("utf-8"):
        raise UserError(f"{file}: other labels than now; resume with the same source, or overwrite")


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; free space or pass another folder; what is written can "
            "be resumed"
        ) from error
