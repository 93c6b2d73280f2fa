"""Words of photographs annotated in one JSON file: COCO-Text, TextOCR, ArT."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from os.path import isfile  # unlike Path.is_file, no error for a name that is too long
from pathlib import Path
from typing import Any

from dptr.data.importers.common import (
    ILLEGIBLE,
    Region,
    Word,
    asked_for,
    cut_words,
    field,
    index_pictures,
    one_file,
    outline,
    parse_json,
    read_text,
)
from dptr.data.importers.geometry import box_points
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.reading import resolve_inside

_NUMBER = (int, float)
_RegionOf = Callable[[dict[str, Any], str, str, tuple[str, ...], DropReport], Region | None]


def import_coco_text(
    source: Path,
    drops: DropReport,
    images: Path | None = None,
    split: str | None = None,
    languages: tuple[str, ...] = (),
) -> Iterator[Word]:
    """COCO-Text, version 1 (``COCO_Text.json``) and 2 (``cocotext.v2.json``), over the pictures of COCO train2014.

    ``imgs`` has ``file_name``, ``width``, ``height`` and ``set`` of each picture; ``anns`` the words: ``image_id``,
    ``utf8_string`` (absent where illegible; HTML entities in it are replaced), ``legibility``, ``language``, and the
    outline, ``mask`` (version 2), ``polygon`` (version 1) or ``bbox`` (left, top, width, height). Outlines begin
    anywhere, so that words turned by 45 degrees and more stay as they lie in the picture. Described on
    https://bgshih.github.io/cocotext and in andreasveit/coco-text.

    Args:
        source: the JSON file, or the folder with it.
        images: the folder of the pictures; by default ``train2014`` beside the file, or the file's folder.
        split: ``train``, ``val`` or ``test``, the ``set`` of the pictures; all by default.
        languages: ``english``, ``not english`` or ``na``; all by default.

    Raises:
        UserError: no such file, broken JSON, with the line, an entry that is not as above, or no picture of the split.
    """
    path = one_file(source, ("COCO_Text*.json", "cocotext*.json"))
    folder = images or _folder_beside(path.parent, "train2014")
    yield from _annotated(path, folder, split, _coco_region, languages, drops)


def import_textocr(
    source: Path, drops: DropReport, images: Path | None = None, split: str | None = None
) -> Iterator[Word]:
    """TextOCR (``TextOCR_0.1_train.json``, ``..._val.json``), over pictures of Open Images.

    ``imgs`` and ``anns`` as in COCO-Text; a word's outline is in ``points``, from its first letter's top along the
    top; ``.`` marks an illegible word. Described on https://textvqa.org/textocr/dataset.

    Args:
        source: the JSON file, or the folder with it.
        images: the folder that has the pictures, or ``train``/``train_images`` with them; by default the file's.
        split: ``train`` or ``val``, part of the file's name where the folder holds both.

    Raises:
        UserError: no such file, broken JSON, with the line, or an entry that is not as above.
    """
    path = one_file(source, ("TextOCR*.json",), split)
    folder = images or _folder_beside(path.parent, "train_images")
    yield from _annotated(path, folder, None, _textocr_region, (), drops)


def import_art(
    source: Path, drops: DropReport, images: Path | None = None, languages: tuple[str, ...] = ()
) -> Iterator[Word]:
    """ArT (ICDAR 2019, Arbitrary-Shaped Text), photographs (``train_labels.json``) or crops (``train_task2_labels``).

    An object of lists, one a picture, ``gt_17``: the words, each ``points`` ``[[x, y], ...]`` of 4, 8, 10 or 12,
    ``transcription``, ``language`` and ``illegibility``; the picture is ``gt_17.jpg``. Words of the crops of task 2
    are cut out along their ``points`` as well. Described on https://rrc.cvc.uab.es/?ch=14&com=tasks.

    Args:
        source: the JSON file, or the folder with it.
        images: the folder of the pictures; by default ``train_images`` or ``train_task2_images`` beside the file, or
            the file's folder.
        languages: ``Latin`` or ``Chinese``, any case; all by default.

    Raises:
        UserError: no such file, broken JSON, with the line, an entry that is not as above, or no folder of pictures.
    """
    path = one_file(source, ("train_labels.json", "train_task2_labels.json"))
    beside = "train_task2_images" if "task2" in path.stem else "train_images"
    folder = images or _folder_beside(path.parent, beside)
    pictures = index_pictures(folder)
    content = parse_json(read_text(path), str(path))
    if not isinstance(content, dict):
        raise UserError(f"{path}: {type(content).__name__} where an object of lists belongs; check the format")
    for name in content:
        regions = []
        for number, record in enumerate(field(content, name, list, str(path)), start=1):
            where, key = f"{path}, {name}, word {number}", f"{name}, word {number}"
            label = field(record, "transcription", str, where)
            points = outline(field(record, "points", list, where), where)
            if not asked_for(str(record.get("language", "")), languages, key, drops):
                continue
            if record.get("illegibility") is True:
                drops.add(ILLEGIBLE, key, label)
                continue
            regions.append(Region(points, label, key))
        yield from cut_words(pictures.get(name, resolve_inside(folder, f"{name}.jpg")), regions, drops)


def _annotated(
    path: Path, folder: Path, split: str | None, region_of: _RegionOf, languages: tuple[str, ...], drops: DropReport
) -> Iterator[Word]:
    """Words of a file with ``imgs`` and ``anns``, picture by picture, in the order of ``imgs``."""
    content = parse_json(read_text(path), str(path))
    pictures = field(content, "imgs", dict, str(path))
    found = {str(field(pictures, name, dict, f"{path}, imgs").get("set")) for name in pictures}
    if split is not None and split not in found:
        raise UserError(f"{path}: no picture of split '{split}'; pass one of {', '.join(sorted(found))}")
    words: dict[str, list[Region]] = {name: [] for name in pictures}
    for name, record in field(content, "anns", dict, str(path)).items():
        where = f"{path}, annotation {name}"
        picture = str(field(record, "image_id", (int, str), where))
        if picture not in pictures:
            raise UserError(f"{where}: picture {picture} is not among imgs; download the file again")
        if split is not None and pictures[picture].get("set") != split:
            continue
        region = region_of(record, f"annotation {name}", where, languages, drops)
        if region is not None:
            words[picture].append(region)
    for name, record in pictures.items():
        if words[name]:
            where = f"{path}, picture {name}"
            file = field(record, "filename" if "filename" in record else "file_name", str, where)
            sides = [field(record, name, _NUMBER, where) for name in ("width", "height")]
            (size,) = outline(sides, where).tolist()
            yield from cut_words(_find(folder, file), words[name], drops, tuple(size))


def _coco_region(
    record: dict[str, Any], key: str, where: str, languages: tuple[str, ...], drops: DropReport
) -> Region | None:
    if not asked_for(str(record.get("language", "")), languages, key, drops):
        return None
    written = field(record, "utf8_string", str, where) if record.get("utf8_string") is not None else ""
    label = html.unescape(written)
    if record.get("legibility") == "illegible":
        drops.add(ILLEGIBLE, key, label)
        return None
    values = record.get("mask") or record.get("polygon")
    if values:
        return Region(outline(values, where), label, key, ordered=False)
    box = outline(field(record, "bbox", list, where), where).ravel()
    if len(box) != 4:
        raise UserError(f"{where}: bbox of {len(box)} numbers; left, top, width, height belong there")
    return Region(box_points(box[0], box[1], box[0] + box[2], box[1] + box[3]), label, key)


def _textocr_region(
    record: dict[str, Any], key: str, where: str, languages: tuple[str, ...], drops: DropReport
) -> Region | None:
    label = field(record, "utf8_string", str, where)
    if label == ".":
        drops.add(ILLEGIBLE, key, "")
        return None
    return Region(outline(field(record, "points", list, where), where), label, key)


def _folder_beside(parent: Path, name: str) -> Path:
    return parent / name if (parent / name).is_dir() else parent


def _find(folder: Path, file: str) -> Path:
    """The picture where the annotations say, or under its bare name."""
    bare = folder / Path(file).name
    return bare if isfile(bare) and not isfile(folder / file) else resolve_inside(folder, file)
