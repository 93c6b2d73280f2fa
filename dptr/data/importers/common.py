"""Shared parts of the importers: words, regions of photographs, and readers of text and JSON with clear errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dptr.data.crops import UNREADABLE
from dptr.data.importers.geometry import DEGENERATE, check_corners, cut, reading_corners, upright_corners
from dptr.data.report import DropReport
from dptr.text.charset import EMPTY, normalize_label
from dptr.utils.errors import UserError
from dptr.utils.images import SUFFIXES, open_image
from dptr.utils.reading import read_text

ILLEGIBLE = "marked illegible"
BROKEN_LINES = "tab or line break in the label"
LONE_SURROGATE = "half a character in the label"
OTHER_LANGUAGE = "language not asked for"
OTHER_SIZE = "picture of another size than annotated"

ILLEGIBLE_TEXT = "###"  # marks an illegible word in ICDAR's ground truth


@dataclass(frozen=True)
class Word:
    """A labeled word.

    Attributes:
        image: RGB crop.
        label: the label, unchanged.
        key: the word's name within the source.
        file: the file that the picture was read from.
    """

    image: Image.Image
    label: str
    key: str
    file: Path


@dataclass(frozen=True)
class Region:
    """A word in a photograph.

    Attributes:
        points: the outline, (n, 2), x and y in pixels.
        label: the label.
        key: the word's name within the source.
        ordered: whether the outline begins above the first letter and runs along the top first; otherwise it begins
            anywhere.
    """

    points: np.ndarray
    label: str
    key: str
    ordered: bool = True


def usable(label: str, key: str, drops: DropReport) -> bool:
    """Whether a label is usable; if not, count it in ``drops``.

    A label is not usable if it is marked illegible (``###``), is empty, or contains a tab, a line break, or half a
    character (a surrogate).
    """
    if label.strip() == ILLEGIBLE_TEXT:
        drops.add(ILLEGIBLE, key, "")
    elif not normalize_label(label):
        drops.add(EMPTY, key, repr(label))
    elif re.search(r"[\t\r\n]", label):
        drops.add(BROKEN_LINES, key, repr(label))
    elif re.search(r"[\ud800-\udfff]", label):
        drops.add(LONE_SURROGATE, key, ascii(label))
    else:
        return True
    return False


def asked_for(language: str, languages: tuple[str, ...], key: str, drops: DropReport) -> bool:
    """Whether a word's language or script is among ``languages``, ignoring case; if not, count the word in ``drops``.

    Empty ``languages`` stand for all.
    """
    if not languages or language.strip().lower() in {wanted.lower() for wanted in languages}:
        return True
    drops.add(OTHER_LANGUAGE, key, language.strip())
    return False


def read_words(rows: Iterable[tuple[Path, str, str]], drops: DropReport) -> Iterator[Word]:
    """Read words from rows (picture, label, key). Unusable labels and unreadable pictures are counted in ``drops``."""
    for path, label, key in rows:
        if not usable(label, key, drops):
            continue
        try:
            image = open_image(path)
        except UserError as error:
            drops.add(UNREADABLE, key, str(error))
            continue
        yield Word(image, label, key, path)


def cut_words(
    picture: Path, regions: Iterable[Region], drops: DropReport, size: tuple[float, float] | None = None
) -> Iterator[Word]:
    """Cut the words out of a photograph.

    A word is dropped and counted in ``drops`` if its label is not ``usable``, if ``check_corners`` rejects its box, or
    if the photograph is unreadable or does not have the annotated size.

    Args:
        picture: file of the photograph.
        regions: its words.
        size: annotated (width, height) in pixels; None = not annotated.
    """
    usable_regions = [region for region in regions if usable(region.label, region.key, drops)]
    if not usable_regions:
        return
    try:
        image = open_image(picture)
    except UserError as error:
        for region in usable_regions:
            drops.add(UNREADABLE, region.key, str(error))
        return
    if size is not None and image.size != size:
        for region in usable_regions:
            drops.add(OTHER_SIZE, region.key, f"{image.width}x{image.height}, annotated {size[0]:g}x{size[1]:g}")
        return
    for region in usable_regions:
        corners = reading_corners(region.points) if region.ordered else upright_corners(region.points)
        reason = check_corners(corners, *image.size)
        if corners is None or reason is not None:
            drops.add(reason or DEGENERATE, region.key, " ".join(f"{value:g}" for value in region.points.ravel()))
            continue
        yield Word(cut(image, corners), region.label, region.key, picture)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The non-blank lines of a UTF-8 file, each with its number, from 1.

    Lines end with LF or CR LF. No other character ends one.

    Raises:
        UserError: see ``read_text``.
    """
    lines = ((number, line.removesuffix("\r")) for number, line in enumerate(read_text(path).split("\n"), start=1))
    return [(number, line) for number, line in lines if line.strip()]


def parse_json(text: str, where: str) -> Any:
    """Parse JSON. Errors begin with ``where``.

    Raises:
        UserError: the text is not JSON (the error names line and column), or is nested too deeply.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise UserError(f"{where}: not valid JSON ({error.msg}, {place}); copy or download it again") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise UserError(f"{where}: JSON that cannot be read ({error}); copy or download it again") from error


def field(record: Any, name: str, kind: type | tuple[type, ...], where: str) -> Any:
    """The value ``record[name]``. Errors begin with ``where``.

    Raises:
        UserError: ``record`` is not an object, has no such key, or the value is not of type ``kind``.
    """
    if not isinstance(record, dict):
        raise UserError(f"{where}: {type(record).__name__} where an object with '{name}' belongs; check the format")
    if name not in record:
        raise UserError(
            f"{where}: no '{name}' in it, only {', '.join(map(str, record)) or 'nothing'}; check the format"
        )
    value = record[name]
    if not isinstance(value, kind):
        raise UserError(f"{where}: '{name}' is {str(value)[:40]!r}, a {type(value).__name__}; check the format")
    return value


def outline(values: Any, where: str) -> np.ndarray:
    """Points, (n, 2), from ``[x1, y1, x2, y2, ...]`` or ``[[x1, y1], [x2, y2], ...]``. Errors begin with ``where``.

    Raises:
        UserError: the values are not numbers, or their number is odd.
    """
    try:
        return np.array(values, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: outline {str(values)[:60]} is no list of x, y pairs; check the format") from error


def index_pictures(folder: Path) -> dict[str, Path]:
    """The paths of the pictures in a folder, by their names without suffix.

    Raises:
        UserError: the folder does not exist, or two pictures have the same name without suffix.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; pass the folder with the pictures as images")
    pictures: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            if path.stem in pictures:
                raise UserError(
                    f"{folder}: both {pictures[path.stem].name} and {path.name} in it; move one of them away"
                )
            pictures[path.stem] = path
    return pictures


def one_file(source: Path, names: tuple[str, ...], split: str | None = None) -> Path:
    """The annotation file: ``source`` itself, or the only file in the folder ``source`` that fits.

    Args:
        source: file or folder.
        names: glob patterns for the file's name in a folder.
        split: a string that the file's name contains in lower case; None = any name.

    Raises:
        UserError: ``source`` does not exist, no file or several fit, or the file's name does not contain ``split``.
    """
    if source.is_file():
        if split is not None and split not in source.stem.lower():
            raise UserError(f"{source}: not of split '{split}' by its name; pass the folder, or leave split out")
        return source
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder; check the path")
    files = sorted({path for name in names for path in source.glob(name) if path.is_file()})
    if split is not None:
        files = [path for path in files if split in path.stem.lower()]
    if len(files) == 1:
        return files[0]
    description = " or ".join(names) + (f" for split '{split}'" if split else "")
    if not files:
        raise UserError(f"{source}: no {description} in it; pass the annotation file itself")
    listed = ", ".join(path.name for path in files[:4])
    raise UserError(f"{source}: {len(files)} files fit {description} ({listed}); pass one of them, or a split")
