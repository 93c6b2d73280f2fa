"""The extras of DPTR: which packages each one brings, and how to install it."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from dptr.utils.errors import UserError

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": (
        *("torch", "accelerate", "safetensors", "pydantic", "fontTools", "cv2", "lmdb", "wordfreq", "tensorboard"),
        "dptr_weights",
    ),
    "export": ("onnx", "onnxscript"),
    "clip": ("transformers", "sentencepiece", "google.protobuf"),
    "import": ("scipy",),
    "pdf": ("pypdfium2",),
    "shards": ("pyarrow", "fsspec"),
    "ray": ("ray", "pyarrow", "pandas", "pypdfium2"),
    "serve": ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "pypdfium2"),
}
"""The packages that each extra brings, by the names that Python imports."""


def describe_install(*extras: str) -> str:
    """How to install extras, as half a sentence: ``install it in the folder of ...: pip install ...``."""
    weights = "./weights " if "train" in extras else ""
    return f"install it in the folder of DPTR's source: pip install {weights}'.[{','.join(extras)}]'"


def find_missing(*extras: str) -> list[str]:
    """The packages of these extras that are not installed, in the order of ``EXTRAS``."""
    return [package for extra in extras for package in EXTRAS[extra] if not _is_installed(package)]


def require_extras(what: str, *extras: str) -> None:
    """Check that the packages of these extras are installed, without importing them.

    Args:
        what: what needs them, as the subject of a sentence, such as ``dptr finetune``.

    Raises:
        UserError: a package is not installed.
    """
    if missing := find_missing(*extras):
        raise UserError(f"{what} needs {missing[0]}, which is not installed; {describe_install(*extras)}")


def missing_package(error: ImportError, what: str, *extras: str) -> UserError:
    """The error to raise when an import fails because an extra is not installed.

    Args:
        error: what the import raised.
        what: what needs the package, as the subject of a sentence.
        extras: those that bring it.
    """
    return UserError(f"{what} needs {error.name}, which is not installed; {describe_install(*extras)}")


def import_package(name: str, what: str, *extras: str) -> Any:
    """Import a package that an extra brings.

    Args:
        name: as Python imports it.
        what: what needs the package, as the subject of a sentence.
        extras: those that bring it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise missing_package(error, what, *extras) from error


def extra_of(module: str) -> str | None:
    """The extra that brings a module, by its import name; None = no extra does.

    A namespace counts, too: without ``google.protobuf``, Python may report that ``google`` is missing.
    """
    for extra, packages in EXTRAS.items():
        if any(f"{module}.".startswith(f"{each}.") or each.startswith(f"{module}.") for each in packages):
            return extra
    return None


def _is_installed(package: str) -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec(package) is not None
    return False
