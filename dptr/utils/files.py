"""Files that are either whole or not there: everything is written aside and renamed when complete."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dptr.utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".partial-"  # begins the name of everything that is still being written
REPLACED = ".replaced-"  # begins the name of a folder on its way out
_DIGITS = 16  # of a digest, hexadecimal
_TOKEN = re.compile(f"(?:{re.escape(PARTIAL)}|{re.escape(REPLACED)})[0-9a-f]{{8}}-")


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, delete it on failure.

    Raises:
        UserError: the disk is full, the folder cannot be written or is missing.
    """
    path = Path(path)
    aside = path.with_name(f"{PARTIAL}{uuid.uuid4().hex[:8]}-{path.name}")
    with _explain_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield aside
            _sync(aside)
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; rename it to ``path`` on success, delete it on failure.

    An older ``path`` is moved away first and deleted last: a crash leaves one of the two whole, though between the
    two renames only under a hidden name, from which ``remove_partial`` puts it back.

    Raises:
        UserError: ``path`` is a file, the disk is full, the parent folder cannot be written.
    """
    path = Path(path)
    token = uuid.uuid4().hex[:8]
    aside = path.with_name(f"{PARTIAL}{token}-{path.name}")
    old = path.with_name(f"{REPLACED}{token}-{path.name}")
    if path.is_file():
        raise UserError(f"cannot write the folder {path}: a file of that name is there; pass another path")
    with _explain_errors(path):
        try:
            aside.mkdir(parents=True)
            yield aside
            for file in aside.rglob("*"):
                if file.is_file():
                    _sync(file)
            if path.exists():
                os.replace(path, old)
            os.replace(aside, path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            if old.exists() and not path.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def remove_partial(folder: str | Path) -> None:
    """Delete what interrupted writers left in ``folder``; put back a folder that one of them had moved away.

    To be called before reading, by the only process that writes there.
    """
    for item in Path(folder).glob(f"{REPLACED}*"):
        final = item.with_name(_TOKEN.sub("", item.name))
        if final.exists():
            shutil.rmtree(item, ignore_errors=True)
        else:
            os.replace(item, final)
    for item in Path(folder).glob(f"{PARTIAL}*"):
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


@contextmanager
def lock_folder(out: Path, alone: bool = True) -> Iterator[None]:
    """Lock the folder ``out`` while the block runs, so that no other process writes there.

    The system lifts the lock when the process ends, however it ends. Systems and file systems without such locks keep
    nobody out.

    Args:
        alone: whether nobody else may hold the lock; off = others may that also pass off.

    Raises:
        UserError: somebody else holds ``out``, in this process or another.
    """
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:  # Windows
        yield
        return
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                raise UserError(f"{out}: another run writes in it; wait for its end, or pass another --out") from error
        yield
    finally:
        os.close(folder)


def write_json(path: str | Path, value: Any) -> None:
    """Write ``value`` as UTF-8 JSON, whole or not at all."""
    with atomic_file(path) as aside:
        aside.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_json(path: str | Path, what: str) -> Any:
    """Read JSON; ``what`` names the file's role in the error.

    Raises:
        UserError: missing, unreadable or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise UserError(f"{what} {path}: not valid JSON ({error}); the file is damaged, make it anew") from error


def save_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all.

    By way of bytes: ``safetensors.torch.save_file`` makes files that only their owner may read, whatever the umask.
    """
    from safetensors.torch import save

    data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, metadata)
    with atomic_file(path) as aside:
        aside.write_bytes(data)


def load_tensors(path: str | Path, what: str) -> dict[str, Tensor]:
    """Read a safetensors file to the CPU.

    Raises:
        UserError: missing, truncated or of another format.
    """
    from safetensors.torch import load_file

    with _readable(path, what):
        return load_file(path)


def load_with_digest(path: str | Path, what: str) -> tuple[dict[str, Tensor], str]:
    """What ``load_tensors`` and ``digest`` give, of a file that is read once.

    Raises:
        UserError: see ``load_tensors``.
    """
    from safetensors.torch import load

    with _readable(path, what):
        data = Path(path).read_bytes()
        return load(data), hashlib.sha256(data).hexdigest()[:_DIGITS]


def digest(path: str | Path) -> str:
    """SHA-256 of a file, the first 16 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]


@contextmanager
def _readable(path: str | Path, what: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror or error}; check the path") from error
    except SafetensorError as error:
        raise UserError(f"{what} {path}: not a whole safetensors file ({error}); make or copy it anew") from error


def _sync(path: Path) -> None:
    with open(path, "r+b") as file:  # Windows syncs what can be written
        os.fsync(file.fileno())


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        final = _TOKEN.sub("", str(path))  # a file inside a folder that is being written
        raise UserError(f"cannot write {final}: {error.strerror or error}; free space or pass another path") from error
