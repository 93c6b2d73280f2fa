"""Recognizers of other scripts, each a distribution of its own: which are installed, and which this project builds.

A distribution ``dptr-NAME`` holds one folder with ``model.onnx``, ``card.json``, ``README.md`` and ``sheet.png``, and
names it by an entry point of the group ``GROUP``: ``NAME = "dptr_NAME"``. pip installs it, also without a network, and
nothing in ``dptr`` changes. ``scripts/ship_recognizer.py`` builds one from a run of ``dptr new-language``.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from dptr.utils.files import read_json

GROUP = "dptr.recognizers"
CATALOG = Path(__file__).with_name("recognizers.json")
"""The recognizers that this project builds, by name: ``languages``, ``megabytes`` and ``word_accuracy``."""


@dataclass(frozen=True)
class Package:
    """A recognizer that this project builds.

    Attributes:
        name: of the recognizer; its distribution is ``dptr-NAME``.
        languages: the codes of those that it reads.
        megabytes: of its files, 10^6 bytes.
        word_accuracy: 0 to 1, of rendered words that training held out.
    """

    name: str
    languages: tuple[str, ...]
    megabytes: float
    word_accuracy: float


def find_packages() -> dict[str, Path]:
    """The folders of the installed recognizers, by name, in alphabetical order. Nothing in them is imported."""
    found: dict[str, Path] = {}
    for point in sorted(entry_points(group=GROUP)):
        with suppress(ModuleNotFoundError):
            spec = find_spec(point.module)
            for place in (spec and spec.submodule_search_locations) or ():
                found.setdefault(point.name, Path(place))
    return found


def find_folder(model: str | Path) -> Path:
    """The folder of a recognizer: that of an installed one of this name, else the path itself.

    A folder that holds a model counts before an installed recognizer of its name.
    """
    path = Path(model)
    is_name = str(model) == path.name and not path.suffix
    if not is_name or (path / "config.json").is_file() or (path / "model.onnx").is_file():
        return path
    return find_packages().get(str(model), path)


def read_catalog() -> dict[str, Package]:
    """The recognizers that this project builds, by name."""
    entries = read_json(CATALOG, "catalog of recognizers")
    return {
        name: Package(name, tuple(entry["languages"]), entry["megabytes"], entry["word_accuracy"])
        for name, entry in entries.items()
    }


def describe_package(name: str) -> str:
    """How to install a recognizer of the catalog, as half a sentence."""
    return f"install it in the folder of DPTR's source: pip install ./recognizers/{name}"
