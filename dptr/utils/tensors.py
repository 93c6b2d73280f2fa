"""Reading and writing safetensors files; a file is written completely or not at all."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dptr.utils.errors import UserError
from dptr.utils.files import DIGITS, replace_file
from dptr.utils.reading import check_plain, read_file

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(path: str | Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, completely or not at all; a file of that name is replaced.

    ``safetensors.torch.save_file`` is not used, because its files can be read only by their owner, whatever the umask.
    """
    from safetensors.torch import save

    data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, metadata)
    with replace_file(path) as aside:
        aside.write_bytes(data)


def load_tensors(path: str | Path, what: str) -> dict[str, Tensor]:
    """Read a safetensors file to the CPU.

    Args:
        what: the role of the file, for errors.

    Raises:
        UserError: the file is missing, truncated, or of another format.
    """
    from safetensors.torch import load_file

    with _readable(path, what):
        return load_file(path)


def load_with_digest(path: str | Path, what: str) -> tuple[dict[str, Tensor], str]:
    """The results of ``load_tensors`` and ``dptr.utils.files.digest``, from reading the file once.

    Raises:
        UserError: see ``load_tensors``.
    """
    from safetensors.torch import load

    with _readable(path, what):
        data = read_file(path, sys.maxsize)
        return load(data), hashlib.sha256(data).hexdigest()[:DIGITS]


@contextmanager
def _readable(path: str | Path, what: str) -> Iterator[None]:
    """Turn errors of reading a safetensors file into ``UserError``."""
    from safetensors import SafetensorError

    try:
        check_plain(path)  # safetensors would wait for a pipe
        yield
    except OSError as error:
        raise UserError(f"{what} {path}: {error.strerror or error}; check the path") from error
    except SafetensorError as error:
        raise UserError(f"{what} {path}: not a whole safetensors file ({error}); make or copy it anew") from error
