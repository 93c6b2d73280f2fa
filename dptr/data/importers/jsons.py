"""Words of photographs that a single JSON file annotates: COCO-Text, TextOCR, ArT."""

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
)
from dptr.data.importers.geometry import box_points
from dptr.data.report import DropReport
from dptr.utils.errors import UserError
from dptr.utils.reading import read_text, resolve_inside

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

    ``imgs`` has ``file_name``, ``width``, ``height`` and ``set`` of each picture. ``anns`` has the words: ``image_id``,
    ``utf8_string`` (absent if illegible; HTML entities are replaced), ``legibility``, ``language``, and the outline:
    ``mask`` (version 2), ``polygon`` (version 1) or ``bbox`` (left, top, width, height). ``mask`` and ``polygon`` begin
    anywhere, so words rotated by 45 degrees or more do not become upright. The format is described on
    https://bgshih.github.io/cocotext and in the repository andreasveit/coco-text.

    Args:
        source: the JSON file, or the folder with it.
        images: the folder of the pictures; by default ``train2014`` beside the file, or the file's folder.
        split: ``train``, ``val`` or ``test``, the ``set`` of the pictures; all by default.
        languages: ``english``, ``not english`` or ``na``; all by default.

    Raises:
        UserError: no such file, malformed JSON (the error names the line), an entry that is not as above, or no picture
            of the split.
    """
    path = one_file(source, ("COCO_Text*.json", "cocotext*.json"))
    folder = images or _folder_beside(path.parent, "train2014")
    yield from _import_annotations(path, folder, split, _coco_region, languages, drops)


def import_textocr(
    source: Path, drops: DropReport, images: Path | None = None, split: str | None = None
) -> Iterator[Word]:
    """TextOCR (``TextOCR_0.1_train.json``, ``..._val.json``), over pictures of Open Images.

    ``imgs`` and ``anns`` are as in COCO-Text. ``points`` is a word's outline, which begins above the first letter and
    runs along the top first. ``.`` marks an illegible word. The format is described on
    https://textvqa.org/textocr/dataset.

    Args:
        source: the JSON file, or the folder with it.
        images: the folder to which the paths of the pictures are relative, or the folder of the pictures themselves; by
            default ``train_images`` beside the file, or the file's folder.
        split: ``train`` or ``val``, a part of the file's name; for a folder with both.

    Raises:
        UserError: no such file, malformed JSON (the error names the line), or an entry that is not as above.
    """
    path = one_file(source, ("TextOCR*.json",), split)
    folder = images or _folder_beside(path.parent, "train_images")
    yield from _import_annotations(path, folder, None, _textocr_region, (), drops)


def import_art(
    source: Path, drops: DropReport, images: Path | None = None, languages: tuple[str, ...] = ()
) -> Iterator[Word]:
    """ArT (ICDAR 2019, Arbitrary-Shaped Text): photographs (``train_labels.json``) or crops (``train_task2_labels``).

    The file is an object with a list of words for each picture; ``gt_17`` has those of ``gt_17.jpg``. A word has
    ``points`` (``[[x, y], ...]``, 4, 8, 10 or 12 of them), ``transcription``, ``language`` and ``illegibility``. Words
    of task 2's crops are cut out along their ``points``, too. The format is described on
    https://rrc.cvc.uab.es/?ch=14&com=tasks.

    Args:
        source: the JSON file, or the folder with it.
        images: the folder of the pictures; by default ``train_images`` or ``train_task2_images`` beside the file, or
            the file's folder.
        languages: ``Latin`` or ``Chinese``, in any case; all by default.

    Raises:
        UserError: no such file, malformed JSON (the error names the line), an entry that is not as above, or no folder
            of pictures.
    """
    path = one_file(source, ("train_labels.json", "train_task2_labels.json"))
    pictures_folder = "train_task2_images" if "task2" in path.stem else "train_images"
    folder = images or _folder_beside(path.parent, pictures_folder)
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


def _import_annotations(
    path: Path, folder: Path, split: str | None, region_of: _RegionOf, languages: tuple[str, ...], drops: DropReport
) -> Iterator[Word]:
    """Words of a file with ``imgs`` and ``anns``, picture by picture, in the order of ``imgs``."""
    content = parse_json(read_text(path), str(path))
    pictures = field(content, "imgs", dict, str(path))
    splits = {str(field(pictures, name, dict, f"{path}, imgs").get("set")) for name in pictures}
    if split is not None and split not in splits:
        raise UserError(f"{path}: no picture of split '{split}'; pass one of {', '.join(sorted(splits))}")
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
            yield from cut_words(_picture_path(folder, file), words[name], drops, tuple(size))


def _coco_region(
    record: dict[str, Any], key: str, where: str, languages: tuple[str, ...], drops: DropReport
) -> Region | None:
    if not asked_for(str(record.get("language", "")), languages, key, drops):
        return None
    text = field(record, "utf8_string", str, where) if record.get("utf8_string") is not None else ""
    label = html.unescape(text)
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


def _picture_path(folder: Path, file: str) -> Path:
    """The path of a picture: in ``folder`` under its path or, if it is only there, under its bare file name."""
    bare = folder / Path(file).name
    return bare if isfile(bare) and not isfile(folder / file) else resolve_inside(folder, file)
