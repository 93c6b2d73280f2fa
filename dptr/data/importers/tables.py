"""Import of word crops from a table or a data set, and of words of photographs from a table with their corners."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from dptr.data.crops import UNREADABLE
from dptr.data.importers.common import (
    Region,
    Word,
    cut_words,
    field,
    one_file,
    outline,
    parse_json,
    read_lines,
    read_words,
    usable,
)
from dptr.data.labeled import open_labeled
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.lmdb import is_lmdb
from dptr.utils.reading import read_text, resolve_inside

PATH_NAMES = ("path", "image", "images", "image_path", "img", "img_path", "file", "filename", "file_name")
LABEL_NAMES = ("label", "labels", "text", "transcription", "word", "words", "gt", "ground_truth", "utf8_string")
JSON_LINES = (".jsonl", ".ndjson")

_Row = tuple[int, str, str]  # line, path, label


def import_folder(source: Path, drops: DropReport) -> Iterator[Word]:
    """A data set in DPTR's format: a folder with ``labels.tsv``, or an LMDB (``dptr.data.labeled.open_labeled``).

    Raises:
        UserError: see ``open_labeled``.
    """
    dataset = open_labeled(source)
    for index in range(len(dataset)):
        label, key = dataset.label(index), dataset.key(index)
        if not usable(label, key, drops):
            continue
        try:
            yield Word(dataset.image(index), label, key, dataset.path / key)
        except UserError as error:
            drops.add(UNREADABLE, key, str(error))


def import_bctr(source: Path, drops: DropReport) -> Iterator[Word]:
    """An LMDB of the Chinese benchmark (BCTR), such as ``scene_train``. Labels are not changed.

    The README of FudanVI/benchmarking-chinese-text-recognition describes it. Its keys are those of ``dptr.utils.lmdb``.

    Args:
        source: the LMDB's folder, or ``data.mdb`` in it.

    Raises:
        UserError: the folder is not an LMDB; see ``open_labeled``.
    """
    folder = source.parent if source.name == "data.mdb" else source
    if folder.is_dir() and not is_lmdb(folder):
        inside = sorted(path.parent.name for path in folder.glob("*/data.mdb"))
        remedy = f"pass one of {', '.join(inside)} in it" if inside else "pass one of the benchmark's LMDB folders"
        raise UserError(f"{source}: no LMDB (a folder with data.mdb); {remedy}")
    yield from import_folder(source, drops)


def import_table(
    source: Path, drops: DropReport, columns: tuple[str, str] | None = None, images: Path | None = None
) -> Iterator[Word]:
    """A table of pictures and labels: CSV (``.csv``), JSON Lines (``.jsonl``, ``.ndjson``), otherwise tab-separated.

    Args:
        source: the file, in UTF-8. CSV is quoted as in RFC 4180. Tab-separated tables have no quotes. JSON Lines have
            one object per line.
        columns: the columns of path and label, by name, or by number from 1 for a table without a header. By default,
            names in the first line determine them (``PATH_NAMES``, ``LABEL_NAMES``, in any case). A table of two
            columns without such a line has path and label.
        images: folder to which paths are relative; the table's folder by default.

    Raises:
        UserError: the file is missing or not UTF-8; a line lacks these columns; or the columns cannot be determined.
    """
    read_rows = _json_rows if source.suffix.lower() in JSON_LINES else _separated_rows
    rows = read_rows(source, columns)
    folder = images or source.parent
    yield from read_words(
        ((resolve_inside(folder, path), label, f"{path}, line {number}") for number, path, label in rows), drops
    )


def import_quads(source: Path, drops: DropReport, images: Path | None = None) -> Iterator[Word]:
    """Words of photographs: a tab-separated table, with a word per line (``image, x1, y1, ..., x4, y4, text``).

    Corners are in pixels, clockwise from the word's top left. ``###`` marks an illegible word. The first line is a
    header if it begins with ``#`` or its second column is not a number.

    Args:
        source: the file, in UTF-8, or a folder with ``words.tsv``.
        images: folder to which paths are relative; the table's folder by default.

    Raises:
        UserError: the file is missing or not UTF-8, or a line has another format.
    """
    path = one_file(source, ("words.tsv",))
    folder = images or path.parent
    regions: list[tuple[str, Region]] = []
    for position, (number, line) in enumerate(read_lines(path)):
        values = line.split("\t", 9)
        if position == 0 and (line.startswith("#") or (len(values) == 10 and not _is_number(values[1]))):
            continue
        if len(values) != 10 or not all(map(_is_number, values[1:9])):
            raise UserError(
                f"{path}, line {number}: {line[:60]!r}; write the image, eight coordinates and the text, tabs between"
            )
        points = outline([float(value) for value in values[1:9]], f"{path}, line {number}")
        regions.append((values[0], Region(points, values[9], f"{values[0]}, line {number}")))
    for name, group in groupby(regions, key=lambda item: item[0]):
        yield from cut_words(resolve_inside(folder, name), [region for _, region in group], drops)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _separated_rows(path: Path, columns: tuple[str, str] | None) -> list[_Row]:
    rows = _csv_cells(path) if path.suffix.lower() == ".csv" else _tab_cells(path)
    if not rows:
        raise UserError(f"{path}: no line in it; write a picture and its label a line")
    header = [cell.strip() for cell in rows[0][1]]
    picture, label, is_named = _choose_columns(header, columns, path)
    result = []
    for number, cells in rows[1:] if is_named else rows:
        if len(cells) <= max(picture, label) or len(cells) != len(header):
            raise UserError(
                f"{path}, line {number}: {len(cells)} columns where the first line has {len(header)} and column "
                f"{max(picture, label) + 1} is needed; correct the line"
            )
        result.append((number, cells[picture], cells[label]))
    return result


def _choose_columns(header: list[str], columns: tuple[str, str] | None, path: Path) -> tuple[int, int, bool]:
    """The columns of picture and label, from 0, and whether the first line names them."""
    if len(header) == 1:
        separator = "commas" if path.suffix.lower() == ".csv" else "tabs"
        raise UserError(f"{path}: one column ({header[0][:80]}); write path and label with {separator} between columns")
    if columns is not None and all(name.isdecimal() for name in columns):
        picture, label = (int(name) - 1 for name in columns)
        if min(picture, label) < 0:
            raise UserError(f"{path}: column 0; columns are counted from 1")
        return picture, label, False
    if columns is not None:
        picture, label = (_find_column(name, header, path) for name in columns)
        return picture, label, True
    known_picture, known_label = (_find_known_column(names, header) for names in (PATH_NAMES, LABEL_NAMES))
    if known_picture is not None and known_label is not None:
        return known_picture, known_label, True
    if len(header) == 2:
        return 0, 1, False
    raise UserError(
        f"{path}: {len(header)} columns ({', '.join(header)[:80]}), and none named as path and label; name "
        "them with columns, or by their numbers from 1"
    )


def _tab_cells(path: Path) -> list[tuple[int, list[str]]]:
    return [(number, line.split("\t")) for number, line in read_lines(path)]


def _csv_cells(path: Path) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        for cells in reader:
            if cells:
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not valid CSV ({error}); correct its quotes") from error
    return rows


def _find_column(name: str, header: list[str], path: Path) -> int:
    if name in header:
        return header.index(name)
    nearest = difflib.get_close_matches(name, header, n=1, cutoff=0.4)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    raise UserError(f"{path}: no column '{name}'; {hint}pass two of {', '.join(header)[:80]}")


def _find_known_column(names: tuple[str, ...], header: list[str]) -> int | None:
    lower = [cell.lower() for cell in header]
    return next((lower.index(name) for name in names if name in lower), None)


def _json_rows(path: Path, columns: tuple[str, str] | None) -> list[_Row]:
    rows = []
    for number, line in read_lines(path):
        where = f"{path}, line {number}"
        record: Any = parse_json(line, where)
        names = columns
        if names is None:
            keys = list(record) if isinstance(record, dict) else []
            known_keys = [_find_known_column(names, keys) for names in (PATH_NAMES, LABEL_NAMES)]
            if known_keys[0] is None or known_keys[1] is None:
                raise UserError(f"{where}: no path and label in {line[:60]!r}; name their keys with columns")
            names = (keys[known_keys[0]], keys[known_keys[1]])
        rows.append((number, field(record, names[0], str, where), field(record, names[1], str, where)))
    return rows
