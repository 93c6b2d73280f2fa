"""Exports and imports JSON of Label Studio, in the format of its template for OCR.

The template is at https://labelstud.io/templates/optical_character_recognition. Each photograph is one task. Each word
consists of several results with the same id: its box, its kind, and its text. Coordinates are percent of the picture's
width and height. Words that nobody has reviewed are predictions; all others are annotations.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import cos, radians, sin
from pathlib import Path
from typing import Any

from dptr.data.crops import UNREADABLE
from dptr.data.importers.common import field, parse_json
from dptr.data.report import DropReport
from dptr.label.item import Item, Photo, Proposal, State, check_text
from dptr.label.pictures import check_outline, order_outline
from dptr.label.store import Store
from dptr.photo.inputs import Failure, InputOptions, Pages, open_sheets
from dptr.photo.page import Outline
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json
from dptr.utils.files import replace_file
from dptr.utils.outputs import check_file
from dptr.utils.reading import open_plain, read_text
from dptr.version import __version__

LOCAL = "/data/local-files/?d="
"""The prefix of the address of a file on Label Studio's machine, for a Label Studio whose document root is ``/``."""

_TEXT, _ILLEGIBLE = "Text", "Illegible"
_VERSION_KEY = "dptr"  # in a task's data: the version of DPTR that wrote the task
OTHER_SHAPE = "neither rectangle nor polygon"
NO_TEXT = "a box without text"
BROKEN_BOX = "box that cannot be cut out"
BROKEN_LABEL = "label that cannot be kept"
NO_RESULT = "prediction without its words"
IN_SET = "word of a photograph that is in the set already"


def export_label_studio(store: Store, out: Path) -> int:
    """Write all words of a label set as JSON, photograph by photograph.

    The JSON refers to photographs by path. If the label set itself stores a photograph's file, the JSON has only its
    name, and the user has to put the file beside the JSON.

    Args:
        store: the label set.
        out: the JSON file. It may exist if it is empty or if DPTR wrote it.

    Returns:
        The number of words.

    Raises:
        UserError: ``out`` is a file that DPTR did not write, the set holds no word, or the disk is full.
    """
    if os.path.lexists(out) and os.path.getsize(out) and not _is_ours(out):
        raise UserError(f"{out}: exists, and nothing in it says that dptr wrote it; pass another name")
    if not os.path.lexists(out):
        check_file(out)
    words = 0
    with replace_file(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for photo, items in groupby(store.each(), key=lambda item: item.photo):
            photo_items = list(items)
            file.write(("[\n" if not words else ",\n") + dump_json(_task(photo, photo_items)))
            words += len(photo_items)
        if not words:
            raise UserError(f"{store.folder}: no word in it; find some first: dptr label PHOTOS -o {store.folder}")
        file.write("\n]\n")
    return words


def import_label_studio(store: Store, source: Path, drops: DropReport) -> int:
    """Add the photographs of a Label Studio export, with their words, to a label set.

    If a task has several annotations, the last one that was not canceled counts. Several tasks of one photograph are
    merged. Photographs that are already in the set stay unchanged. The file of a photograph is looked up at the path in
    the task, and then beside the JSON.

    Args:
        store: the label set.
        source: the JSON file.
        drops: counts the words that are left out, by reason.

    Returns:
        The number of words that were added.

    Raises:
        UserError: the file is not JSON, or not an export of Label Studio; then nothing is added.
    """
    tasks = parse_json(read_text(source), str(source))
    if not isinstance(tasks, list):
        raise UserError(f"{source}: no list of tasks; export it from Label Studio as JSON")
    photos: dict[tuple[str, int], dict[str, list[tuple[Part, bool]]]] = {}  # (path, page) -> task -> words
    for index, task in enumerate(tasks, 1):
        where = f"{source}: task {index}"
        data = field(task, "data", dict, where)
        address = next((data[key] for key in ("ocr", "image") if isinstance(data.get(key), str)), None)
        if address is None:
            raise UserError(f"{where}: no 'ocr' or 'image' in its data; export it with the picture's address")
        number = data.get("page", 1) if isinstance(data.get("page", 1), int) else 1
        parts = list(_parts(task, where, drops))
        try:
            photo = os.path.abspath(_find(address, source)), max(1, number)
        except ValueError as error:  # urllib rejects the address
            drops.add(UNREADABLE, where, f"address {address}: {error}")
            continue
        photos.setdefault(photo, {})[where] = parts
    return sum(_add(store, *photo, tasks_of_photo, drops) for photo, tasks_of_photo in photos.items())


# --- export -----------------------------------------------------------------------------------------------------------


def _task(photo: Photo, items: Iterable[Item]) -> dict[str, Any]:
    reviewed: list[Any] = []
    unreviewed: list[Any] = []
    for item in items:
        (unreviewed if item.state == "open" else reviewed).extend(_results(item))
    address = LOCAL + urllib.parse.quote(os.fsencode(photo.path.lstrip("/")))
    return {
        "data": {"ocr": address, "page": photo.number, _VERSION_KEY: __version__},
        "annotations": [{"result": reviewed}] if reviewed else [],
        "predictions": [{"model_version": _VERSION_KEY, "result": unreviewed}] if unreviewed else [],
    }


def _results(item: Item) -> Iterator[dict[str, Any]]:
    """The three results of a word: its box, its kind (text or illegible), and its text."""
    width, height = item.photo.width, item.photo.height
    place, kind = _place(item.outline, width, height)
    common = {
        "id": f"dptr-{item.id}", "to_name": "image", "original_width": width, "original_height": height,
        "image_rotation": 0,
    }  # fmt: skip
    label = _ILLEGIBLE if item.state == "illegible" else _TEXT
    score = {"score": item.confidence} if item.state == "open" else {}
    meta = {"meta": {"dptr": {"state": item.state, "proposed": item.proposed, "confidence": item.confidence}}}
    yield {
        **common,
        **score,
        **meta,
        "from_name": "bbox" if kind == "rectangle" else "poly",
        "type": kind,
        "value": place,
    }
    yield {**common, **score, "from_name": "label", "type": "labels", "value": {**place, "labels": [label]}}
    yield {**common, **score, "from_name": "transcription", "type": "textarea", "value": {**place, "text": [item.text]}}


def _place(outline: Outline, width: int, height: int) -> tuple[dict[str, Any], str]:
    """An outline in percent, and its kind: a rectangle if it is upright, otherwise a polygon."""
    points = outline or ((0, 0), (width, 0), (width, height), (0, height))
    (left, top), (right, bottom) = points[0], points[2]
    if tuple(points) == ((left, top), (right, top), (right, bottom), (left, bottom)) and left < right and top < bottom:
        percent = {
            "x": 100 * left / width, "y": 100 * top / height,
            "width": 100 * (right - left) / width, "height": 100 * (bottom - top) / height, "rotation": 0,
        }  # fmt: skip
        return percent, "rectangle"
    return {"points": [[100 * x / width, 100 * y / height] for x, y in points]}, "polygon"


# --- import -----------------------------------------------------------------------------------------------------------

Part = dict[str, Any]
"""The results of one word in a task, by their ``type``."""


def _parts(task: Any, where: str, drops: DropReport) -> Iterator[tuple[Part, bool]]:
    """Yield the results of each word in a task, and whether a person has reviewed the word.

    The words come from the last annotation and from the last prediction. If both have a word of the same id, the
    annotation's counts. If the annotation names that prediction as its parent, the prediction is ignored: a person
    removed each word that the annotation lacks.
    """
    annotations, predictions = (
        field(task, name, list, where) if task.get(name) else [] for name in ("annotations", "predictions")
    )
    for each in annotations:
        if not isinstance(each, dict):
            raise UserError(f"{where}: annotation {str(each)[:40]!r} is no object; export annotations, not their ids")
    sources = [(each, True) for each in annotations if not each.get("was_cancelled")][-1:]
    origin = sources[0][0].get("parent_prediction") if sources else None
    for each in predictions[-1:]:
        if isinstance(each, dict):
            if origin is None or each.get("id") != origin:
                sources.append((each, False))
        else:  # by default an export has only the ids of predictions
            drops.add(NO_RESULT, where, str(each))
    known: set[str] = set()
    for source, reviewed in sources:
        parts: dict[str, Part] = {}
        for result in field(source, "result", list, where):
            if isinstance(result, dict) and "id" in result and isinstance(result.get("value"), dict):
                parts.setdefault(str(result["id"]), {})[str(result.get("type"))] = result
        yield from ((part, reviewed) for name, part in parts.items() if name not in known)
        known |= parts.keys()


def _add(store: Store, path: str, number: int, tasks: dict[str, list[tuple[Part, bool]]], drops: DropReport) -> int:
    """Add a photograph with the words of all its tasks, and return how many words were added."""
    (sheet,) = open_sheets([path], InputOptions(Pages(((number, number),))))
    if isinstance(sheet, Failure) or sheet.picture is None:
        reason = str(sheet.error) if isinstance(sheet, Failure) else "no picture"
        for where in tasks:
            drops.add(UNREADABLE, where, reason)
        return 0
    size = sheet.picture.size
    words = [
        (where, word)
        for where, parts in tasks.items()
        for part, reviewed in parts
        for word in _proposals(part, reviewed, size, where, drops)
    ]
    if not store.add(path, number, size, [word for _, word in words]):
        for where, word in words:
            drops.add(IN_SET, where, word.text)
        return 0
    store.finish(path)
    return len(words)


def _proposals(part: Part, reviewed: bool, size: tuple[int, int], where: str, drops: DropReport) -> Iterator[Proposal]:
    """Yield the word that a part describes. If it is invalid, yield nothing and count it in ``drops``."""
    name = f"{where}, {next(iter(part.values()))['id']}"
    shape = next((part[kind] for kind in _SHAPES if kind in part), None)
    if shape is None:
        drops.add(OTHER_SHAPE, name, "")
        return
    texts = _value(part, "textarea").get("text") or ""
    illegible = _ILLEGIBLE in str(_value(part, "labels").get("labels"))
    try:
        text = check_text("".join(map(str, texts)) if isinstance(texts, list) else str(texts), empty=True)
    except UserError as error:
        drops.add(BROKEN_LABEL, name, str(error))
        return
    if reviewed and not text and not illegible:
        drops.add(NO_TEXT, name, "")
        return
    meta = shape.get("meta")
    dptr_meta = meta["dptr"] if isinstance(meta, dict) and isinstance(meta.get("dptr"), dict) else {}
    try:
        outline = _outline(shape["value"], *size)
        if "points" in shape["value"] and not dptr_meta:
            outline = order_outline(outline)
        check_outline(outline, size)
    except (UserError, KeyError, TypeError, ValueError, OverflowError) as error:
        drops.add(BROKEN_BOX, name, str(error))
        return
    state: State = "open" if not reviewed else "illegible" if illegible else "labeled"
    if dptr_meta.get("state") == "sure" and state == "labeled" and dptr_meta.get("proposed") == text:
        state = "sure"
    confidence = dptr_meta.get("confidence", 1.0 if reviewed else shape.get("score"))
    whole = (0, 0), (size[0], 0), size, (0, size[1])
    yield Proposal(() if outline == whole else outline, text, _clamp_confidence(confidence), state)


def _value(part: Part, kind: str) -> dict[str, Any]:
    """The value of a word's result of a kind; empty if the word has none."""
    return part[kind]["value"] if kind in part else {}


def _clamp_confidence(value: Any) -> float:
    """A confidence clipped to 0 to 1; 0.5 if the value is not a number."""
    if not isinstance(value, int | float) or value != value:  # NaN
        return 0.5
    return float(min(max(value, 0), 1))


_SHAPES = "rectangle", "rectanglelabels", "polygon", "polygonlabels"


def _outline(value: dict[str, Any], width: int, height: int) -> Outline:
    """The outline, in pixels, of a polygon or of a rectangle in percent.

    Label Studio rotates a rectangle clockwise about its upper left corner, by ``rotation`` degrees.

    Raises:
        UserError: a polygon has an odd number of points.
    """
    if "points" in value:
        points = [(float(x) * width / 100, float(y) * height / 100) for x, y in value["points"]]
        if len(points) % 2:
            raise UserError(f"polygon of {len(points)} points")
        return tuple((round(x, 1), round(y, 1)) for x, y in points)
    x, y, box_width, box_height = (float(value[key]) for key in ("x", "y", "width", "height"))
    left, top = x * width / 100, y * height / 100
    right, down = box_width * width / 100, box_height * height / 100  # relative to the upper left corner
    angle = radians(float(value.get("rotation", 0)))
    corners = ((0.0, 0.0), (right, 0.0), (right, down), (0.0, down))
    return tuple(
        (round(left + a * cos(angle) - b * sin(angle), 1), round(top + a * sin(angle) + b * cos(angle), 1))
        for a, b in corners
    )


def _find(address: str, source: Path) -> str:
    """The path of a task's picture: where its address points, or else beside the JSON.

    If there is no such file, the result is the path beside the JSON.
    """
    parsed = urllib.parse.urlsplit(address)
    query_paths = urllib.parse.parse_qs(parsed.query, errors="surrogateescape").get("d")
    name = query_paths[0] if query_paths else urllib.parse.unquote(parsed.path, errors="surrogateescape")
    beside = source.parent
    for path in (Path("/") / name, beside / name.lstrip("/"), beside / Path(name).name):
        if os.path.isfile(path):
            return str(path)
    return str(beside / Path(name).name)


def _is_ours(path: Path) -> bool:
    """Whether a file begins like one that ``export_label_studio`` wrote."""
    try:
        with open(open_plain(path), "rb") as file:
            line = file.readline(3) + file.readline(1 << 24)
        return line[:1] == b"[" and _VERSION_KEY in json.loads(line[1:].strip().removesuffix(b",") or b"{}").get(
            "data", {}
        )
    except (OSError, ValueError, AttributeError):
        return False
