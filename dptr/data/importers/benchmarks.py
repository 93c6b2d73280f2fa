"""Benchmarks in their published layouts: IIIT5K, SVT, SVT-Perspective, CUTE80, and Union14M."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from os.path import isfile  # unlike Path.is_file, no error for a name that is too long
from pathlib import Path

from dptr.data.importers.common import (
    Region,
    Word,
    cut_words,
    field,
    index_pictures,
    one_file,
    parse_json,
    read_lines,
    read_words,
)
from dptr.data.importers.geometry import box_points
from dptr.data.importers.mat import read_records
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.reading import read_text, resolve_inside

_Row = tuple[Path, str, str]  # picture, label, key


def import_iiit5k(source: Path, drops: DropReport, split: str | None = None) -> Iterator[Word]:
    """IIIT 5K-Word V3.0: ``traindata.mat`` or ``testdata.mat``, each a struct array ``traindata`` or ``testdata``.

    The fields ``ImgName`` (a path relative to the file) and ``GroundTruth`` are read. The README of the archive and
    https://cvit.iiit.ac.in/research/projects/cvit-projects/the-iiit-5k-word-dataset describe them.

    Args:
        source: one of the two files, or the folder with them.
        split: ``train`` or ``test``, for a folder with both.

    Raises:
        UserError: SciPy is missing, no such file, or a file without these fields.
    """
    path = one_file(source, ("traindata.mat", "testdata.mat"), split)
    records = enumerate(read_records(path, path.stem), start=1)
    rows = [(resolve_inside(path.parent, name), label, f"{name}, word {number}") for number, (name, label) in records]
    yield from read_words(rows, drops)


def import_svt(source: Path, drops: DropReport, split: str | None = None) -> Iterator[Word]:
    """Street View Text: words of photographs, annotated in ``train.xml`` or ``test.xml``.

    An ``image`` element has the path of its file, relative to the XML file, in ``imageName``. Its ``taggedRectangle``
    elements are the words: ``x``, ``y``, ``width``, ``height``, and ``tag``, the text in capitals, which stay capitals.
    The format is described on http://www.iapr-tc11.org/mediawiki/index.php/The_Street_View_Text_Dataset.

    Args:
        source: one of the two files, or the folder with them.
        split: ``train`` or ``test``, for a folder with both.

    Raises:
        UserError: no such file, malformed XML (the error names the line), or an element that is not as above.
    """
    path = one_file(source, ("train.xml", "test.xml"), split)
    try:
        root = ET.fromstring(read_text(path))
    except ET.ParseError as error:
        raise UserError(f"{path}, line {error.position[0]}: broken XML ({error}); download it again") from error
    scenes = []
    for number, element in enumerate(root.iter("image"), start=1):
        name = (element.findtext("imageName") or "").strip()
        if not name:
            raise UserError(f"{path}: image {number} has no imageName; download the file again")
        scenes.append((name, [_svt_region(tag, name, path) for tag in element.iter("taggedRectangle")]))
    if not scenes:
        raise UserError(f"{path}: no image element in it; pass train.xml or test.xml of SVT")
    for name, regions in scenes:
        yield from cut_words(resolve_inside(path.parent, name), regions, drops)


def import_svtp(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """SVT-Perspective, word crops. A line of ``gt.txt`` is ``13_15_0_par.jpg WYNDHAM``.

    This is the layout of the copies in circulation (open-mmlab/mmocr, ``dataset_zoo/svtp``). The layout of Long and
    Yao's labels with case and punctuation (Jyouhou/Case-Sensitive-Scene-Text-Recognition-Datasets) is read as well: a
    folder with ``IMG/1.jpg`` ... and ``label/1.txt`` ..., whose first line is the label.

    Args:
        source: the text file, or the folder with it, or the folder with ``IMG`` and ``label``.
        images: the folder of the pictures of a text file; by default the file's folder or, if the first picture is not
            there, the first folder in it that has that picture.

    Raises:
        UserError: no such file, not UTF-8, or a line without a label.
    """
    yield from _import_list(source, ("gt.txt", "*label*.txt"), images, drops)


def import_cute80(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """CUTE80, word crops. A line is ``timage/001.jpg RONALDO 1 RONALDO``, or ``timage/001.jpg RONALDO``.

    The first is the layout of the copies in circulation (open-mmlab/mmocr, ``dataset_zoo/cute80``): the picture, the
    label, a number, and the label again. Long and Yao's folders ``IMG`` and ``label`` are read, too. The arguments are
    those of ``import_svtp``.

    Raises:
        UserError: no such file, not UTF-8, or a line without a label.
    """
    yield from _import_list(source, ("gt.txt", "*label*.txt"), images, drops)


def import_union14m(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """Union14M-L and its benchmark: ``train_annos/*/*.jsonl`` or ``.json``, ``Union14M-Benchmarks/*/annotation.*``.

    A line of JSON Lines is ``{"filename": ..., "text": ...}``. A JSON file has the format of MMOCR 1.x: ``data_list``
    has records with ``img_path`` and ``instances``, each with a ``text``. The formats are described in the README of
    Mountchicken/Union14M and in MMOCR's ``docs/en/basic_concepts/datasets.md``.

    Args:
        source: an annotation file.
        images: the folder to which its paths are relative; by default the nearest folder above the file from which the
            path of the first picture exists.

    Raises:
        UserError: no such file, malformed JSON (the error names the line), or a record that is not as above.
    """
    rows = _mmocr_rows(source) if source.suffix.lower() == ".json" else _jsonl_rows(source)
    folder = images or _pictures_above(source, rows)
    yield from read_words(
        ((resolve_inside(folder, name), label, f"{source.name}, {name}") for name, label in rows), drops
    )


def _svt_region(element: ET.Element, name: str, path: Path) -> Region:
    values = [element.get(key, "") for key in ("x", "y", "width", "height")]
    try:
        left, top, width, height = map(float, values)
    except ValueError as error:
        raise UserError(f"{path}: rectangle of {name} has x, y, width, height {values}; download it again") from error
    label = (element.findtext("tag") or "").strip()
    return Region(box_points(left, top, left + width, top + height), label, f"{name}, {label}")


def _import_list(source: Path, names: tuple[str, ...], images: Path | None, drops: DropReport) -> Iterator[Word]:
    if (source / "IMG").is_dir() and (source / "label").is_dir():
        rows = _read_label_files(source)
    else:
        path = one_file(source, names)
        lines = [_parse_line(line, f"{path}, line {number}") for number, line in read_lines(path)]
        folder = images or _pictures_near(path, lines)
        rows = [(resolve_inside(folder, name), label, name) for name, label in lines]
    yield from read_words(rows, drops)


def _read_label_files(source: Path) -> list[_Row]:
    pictures = index_pictures(source / "IMG")
    files = sorted((source / "label").glob("*.txt"), key=lambda path: (len(path.stem), path.stem))
    return [
        (
            pictures.get(path.stem, source / "IMG" / path.stem),
            read_text(path).split("\n", 1)[0].strip(),
            f"label/{path.name}",
        )
        for path in files
    ]


def _parse_line(line: str, where: str) -> tuple[str, str]:
    """Picture and label of a line: "picture label", or "picture label number label" with the same label twice."""
    spans = [match.span() for match in re.finditer(r"\S+", line)]
    if len(spans) < 2 or spans[0][0]:
        raise UserError(f"{where}: {line[:60]!r}; expected a picture and its label, a space between")
    label = line[spans[1][0] : spans[-1][1]]
    begin, end = (offset - spans[1][0] for offset in spans[len(spans) // 2])
    if label[begin:end].isdecimal() and label[:begin].rstrip() == label[end:].lstrip():
        label = label[:begin].rstrip()
    return line[: spans[0][1]].rstrip(","), label


def _pictures_near(path: Path, lines: list[tuple[str, str]]) -> Path:
    """The file's folder, or a folder in it: the first that has the first picture; the file's folder if none has it."""
    folders = [path.parent, *sorted(item for item in path.parent.iterdir() if item.is_dir())]
    return next((folder for folder in folders if lines and isfile(folder / lines[0][0])), path.parent)


def _pictures_above(path: Path, rows: list[tuple[str, str]]) -> Path:
    """The nearest folder above the file from which the first picture's path exists; the file's folder if none."""
    above = path.resolve().parents
    return next((folder for folder in above if rows and isfile(folder / rows[0][0])), path.parent)


def _jsonl_rows(path: Path) -> list[tuple[str, str]]:
    rows = []
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        record = parse_json(line, where)
        rows.append((field(record, "filename", str, where), field(record, "text", str, where)))
    return rows


def _mmocr_rows(path: Path) -> list[tuple[str, str]]:
    rows = []
    records = field(parse_json(read_text(path), str(path)), "data_list", list, str(path))
    for number, record in enumerate(records, start=1):
        where = f"{path}, data_list entry {number}"
        for instance in field(record, "instances", list, where):
            rows.append((field(record, "img_path", str, where), field(instance, "text", str, where)))
    return rows
