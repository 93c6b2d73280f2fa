"""Ground truth of the Robust Reading Competitions in text files: ICDAR 2013, ICDAR 2015, MLT 2017 and 2019.

The competition describes the formats on https://rrc.cvc.uab.es, on the pages "Tasks" of ``ch=2`` (ICDAR 2013, Focused
Scene Text), ``ch=4`` (ICDAR 2015, Incidental Scene Text), ``ch=8`` (MLT 2017) and ``ch=15`` (MLT 2019).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from dptr.data.importers.common import (
    Region,
    Word,
    asked_for,
    cut_words,
    index_pictures,
    one_file,
    outline,
    read_lines,
    read_words,
)
from dptr.data.importers.geometry import box_points
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.reading import resolve_inside

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_QUAD = re.compile(",".join([_NUMBER] * 8) + ",(.*)", re.DOTALL)
_BOX = re.compile(r"\s*" + r"[\s,]\s*".join([r"(-?\d+(?:\.\d+)?)"] * 4) + r"[\s,]\s*(\".*\")\s*", re.DOTALL)

_Parsed = tuple[Region, str]  # a word, and its script or ""


def import_icdar_words(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    r"""Word crops of ICDAR 2013 task 2.3 and ICDAR 2015 task 4.3. Each line is ``word_1.png, "label"``.

    Within quotes, a backslash escapes double quotes and backslashes. A label without quotes is read unchanged.
    ``coords.txt``, which has the location of each word within its crop, is not used.

    Args:
        source: the file, or a folder with ``gt.txt`` or one ``*_GT.txt``.
        images: the folder of the pictures; the file's folder by default.

    Raises:
        UserError: no such file, not UTF-8, or a line without a picture's name and a comma.
    """
    path = one_file(source, ("gt.txt", "*_GT.txt"))
    rows = []
    for number, line in read_lines(path):
        name, comma, label = line.partition(",")
        if not comma or not name.strip():
            raise UserError(f'{path}, line {number}: {line[:60]!r}; expected word_1.png, "label"')
        rows.append((resolve_inside(images or path.parent, name.strip()), _unquote(label.strip()), name.strip()))
    yield from read_words(rows, drops)


def import_icdar_scenes(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """Words of photographs of ICDAR 2013 tasks 2.1 and 2.4 and ICDAR 2015 tasks 4.1 and 4.4.

    ``gt_NAME.txt`` has the words of the picture NAME, one a line. In 2013, a line is ``left top right bottom "text"``,
    with or without commas; in the text, a backslash escapes double quotes and backslashes. In 2015, it is
    ``x1,y1,x2,y2,x3,y3,x4,y4,text``, clockwise; everything after the eighth comma is the text. ``###`` marks an
    illegible word.

    Args:
        source: the folder of the ``gt_*.txt`` files.
        images: the folder of the pictures; the same folder by default.

    Raises:
        UserError: no such folder, no ``gt_*.txt`` in it, not UTF-8, or a line that is not as above.
    """
    yield from _import_scenes(source, images or source, ("gt_*.txt",), _parse_scene, (), drops)


def import_mlt(
    source: Path, drops: DropReport, images: Path | None = None, languages: tuple[str, ...] = ()
) -> Iterator[Word]:
    """MLT 2017 and 2019: words of photographs (tasks 1, 3, 4), or word crops (task 2).

    Each photograph has a text file of its name, with or without ``gt_`` before it. A line is a word,
    ``x1,y1,x2,y2,x3,y3,x4,y4,script,text``, clockwise; everything after the ninth comma is the text. Crops have one
    ``gt.txt``, whose lines are ``word_1.png,script,text``. ``###`` marks an illegible word.

    Args:
        source: the folder of the text files; for crops, also ``gt.txt`` itself.
        images: the folder of the pictures; the folder of the text files by default.
        languages: the scripts to keep, such as ``Latin`` or ``Arabic``, in any case; all by default.

    Raises:
        UserError: no such folder, nothing to read in it, not UTF-8, or a line that is not as above.
    """
    path = source / "gt.txt" if source.is_dir() else source
    if not path.is_file():
        yield from _import_scenes(source, images or source, ("*.txt",), _parse_mlt, languages, drops)
        return
    rows = []
    for number, line in read_lines(path):
        values = line.split(",", 2)
        if len(values) != 3:
            raise UserError(f"{path}, line {number}: {line[:60]!r}; expected word_1.png,script,text")
        if asked_for(values[1], languages, values[0], drops):
            name = values[0].strip()
            rows.append((resolve_inside(images or path.parent, name), values[2].strip(), name))
    yield from read_words(rows, drops)


def _import_scenes(
    source: Path,
    images: Path,
    patterns: tuple[str, ...],
    parse: Callable[[str, str, str], _Parsed],
    languages: tuple[str, ...],
    drops: DropReport,
) -> Iterator[Word]:
    if not source.is_dir():
        raise UserError(f"{source}: no such folder; pass the one with the {patterns[0]} of the pictures")
    files = sorted({path for pattern in patterns for path in source.glob(pattern)}, key=_natural_key)
    if not files:
        raise UserError(f"{source}: no {patterns[0]} in it; pass the folder with the words of each picture")
    pictures = index_pictures(images)
    for path in files:
        stem = path.stem.removeprefix("gt_")
        regions = []
        for number, line in read_lines(path):
            region, script = parse(line, f"{stem}, word {number}", f"{path}, line {number}")
            if asked_for(script, languages, region.key, drops):
                regions.append(region)
        yield from cut_words(pictures.get(stem, images / f"{stem}.jpg"), regions, drops)


def _parse_scene(line: str, key: str, where: str) -> _Parsed:
    if match := _QUAD.fullmatch(line):
        *numbers, text = match.groups()
        return Region(outline([float(number) for number in numbers], where), text.strip(), key), ""
    if match := _BOX.fullmatch(line):
        *numbers, text = match.groups()
        return Region(box_points(*(float(number) for number in numbers)), _unquote(text), key), ""
    raise UserError(f'{where}: {line[:60]!r}; expected left top right bottom "text", or x1,y1,...,x4,y4,text')


def _parse_mlt(line: str, key: str, where: str) -> _Parsed:
    match = _QUAD.fullmatch(line)
    script, comma, text = match[9].partition(",") if match else ("", "", "")
    if not match or not comma:
        raise UserError(f"{where}: {line[:60]!r}; expected x1,y1,x2,y2,x3,y3,x4,y4,script,text")
    points = outline([float(number) for number in match.groups()[:8]], where)
    return Region(points, text.strip(), key), script.strip()


def _unquote(label: str) -> str:
    if len(label) < 2 or not (label.startswith('"') and label.endswith('"')):
        return label
    return re.sub(r"\\([\"\\])", r"\1", label[1:-1])


def _natural_key(path: Path) -> list[tuple[int, str]]:
    """A sort key that compares numbers in names by value: img_2 before img_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.stem)]
