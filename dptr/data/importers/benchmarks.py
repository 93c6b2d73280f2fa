"""The small English benchmarks in their published layouts: IIIT5K, SVT, SVT-Perspective, CUTE80; and Union14M."""

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
    read_text,
    read_words,
)
from dptr.data.importers.geometry import box_points
from dptr.data.importers.mat import read_records
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.reading import resolve_inside

_Row = tuple[Path, str, str]  # picture, label, key


def import_iiit5k(source: Path, drops: DropReport, split: str | None = None) -> Iterator[Word]:
    """IIIT 5K-Word V3.0: ``traindata.mat`` or ``testdata.mat``, each a struct array ``traindata`` or ``testdata``.

    Of its fields ``ImgName`` (a path relative to the file) and ``GroundTruth`` are read; they are described in the
    README of the archive and on https://cvit.iiit.ac.in/research/projects/cvit-projects/the-iiit-5k-word-dataset.

    Args:
        source: one of the two files, or the folder with them.
        split: ``train`` or ``test``, for a folder with both.

    Raises:
        UserError: SciPy is missing, no such file, or one that has not these fields.
    """
    path = one_file(source, ("traindata.mat", "testdata.mat"), split)
    records = enumerate(read_records(path, path.stem), start=1)
    rows = [(resolve_inside(path.parent, name), label, f"{name}, word {number}") for number, (name, label) in records]
    yield from read_words(rows, drops)


def import_svt(source: Path, drops: DropReport, split: str | None = None) -> Iterator[Word]:
    """Street View Text: words of photographs, ``taggedRectangle`` elements of ``train.xml`` or ``test.xml``.

    An ``image`` names its file in ``imageName``, relative to the XML file; a rectangle has ``x``, ``y``, ``width``,
    ``height`` and a ``tag``, the word in capitals (they are kept). Described on
    http://www.iapr-tc11.org/mediawiki/index.php/The_Street_View_Text_Dataset.

    Args:
        source: one of the two files, or the folder with them.
        split: ``train`` or ``test``, for a folder with both.

    Raises:
        UserError: no such file, broken XML, with the line, or an element that is not as above.
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
    """SVT-Perspective, word crops: ``13_15_0_par.jpg WYNDHAM`` a line of ``gt.txt``.

    The layout is that of the copies in circulation (open-mmlab/mmocr, ``dataset_zoo/svtp``); the lists of Long and
    Yao with case and punctuation (Jyouhou/Case-Sensitive-Scene-Text-Recognition-Datasets) are read as well: a folder
    with ``IMG/1.jpg`` ... and ``label/1.txt`` ..., whose first line is the label.

    Args:
        source: the text file, or the folder with it or with ``IMG`` and ``label``.
        images: the folder of the pictures; by default the text file's folder, or the only folder in it that has the
            first picture.

    Raises:
        UserError: no such file, not UTF-8, or a line without a label.
    """
    yield from _listed(source, ("gt.txt", "*label*.txt"), images, drops)


def import_cute80(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """CUTE80, word crops: ``timage/001.jpg RONALDO 1 RONALDO`` a line, or ``timage/001.jpg RONALDO``.

    The first is the layout of the copies in circulation (open-mmlab/mmocr, ``dataset_zoo/cute80``): the label, a one,
    and the label again. Long and Yao's ``IMG`` and ``label`` are read as in ``import_svtp``, arguments as there.

    Raises:
        UserError: no such file, not UTF-8, or a line without a label.
    """
    yield from _listed(source, ("gt.txt", "*label*.txt"), images, drops)


def import_union14m(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """Union14M-L and its benchmark: ``train_annos/*/*.jsonl`` or ``.json``, ``Union14M-Benchmarks/*/annotation.*``.

    JSON lines are ``{"filename": ..., "text": ...}``; JSON is MMOCR 1.x's, ``data_list`` of ``img_path`` and
    ``instances`` with a ``text`` each. Described in the README of Mountchicken/Union14M and in MMOCR's
    ``docs/en/basic_concepts/datasets.md``.

    Args:
        source: an annotation file.
        images: what its paths are relative to; by default the nearest folder above the file that has the first
            picture.

    Raises:
        UserError: no such file, or broken JSON, with the line, or a record that is not as above.
    """
    rows = _mmocr_rows(source) if source.suffix.lower() == ".json" else _jsonl_rows(source)
    folder = images or _base(source, rows)
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


def _listed(source: Path, names: tuple[str, ...], images: Path | None, drops: DropReport) -> Iterator[Word]:
    if (source / "IMG").is_dir() and (source / "label").is_dir():
        rows = _one_file_a_label(source)
    else:
        path = one_file(source, names)
        lines = [_name_and_label(line, f"{path}, line {number}") for number, line in read_lines(path)]
        folder = images or _beside(path, lines)
        rows = [(resolve_inside(folder, name), label, name) for name, label in lines]
    yield from read_words(rows, drops)


def _one_file_a_label(source: Path) -> list[_Row]:
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


def _name_and_label(line: str, where: str) -> tuple[str, str]:
    spans = [match.span() for match in re.finditer(r"\S+", line)]
    if len(spans) < 2 or spans[0][0]:
        raise UserError(f"{where}: {line[:60]!r}; expected a picture and its label, a space between")
    label = line[spans[1][0] : spans[-1][1]]
    begin, end = (place - spans[1][0] for place in spans[len(spans) // 2])  # what may stand between a label and itself
    if label[begin:end].isdecimal() and label[:begin].rstrip() == label[end:].lstrip():
        label = label[:begin].rstrip()
    return line[: spans[0][1]].rstrip(","), label


def _beside(path: Path, lines: list[tuple[str, str]]) -> Path:
    folders = [path.parent, *sorted(item for item in path.parent.iterdir() if item.is_dir())]
    return next((folder for folder in folders if lines and isfile(folder / lines[0][0])), path.parent)


def _base(path: Path, rows: list[tuple[str, str]]) -> Path:
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
