"""JSON of Label Studio, as its OCR template writes it: a task a photograph, and for each word its place and its text.

https://labelstud.io/templates/optical_character_recognition: the parts of a word have one id, places are percent of the
picture. Words that nobody has looked at are predictions, others annotations.
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
from dptr.data.importers.common import field, parse_json, read_text
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
from dptr.utils.reading import open_plain
from dptr.version import __version__

LOCAL = "/data/local-files/?d="
"""Begins the address of a file on the machine of Label Studio, whose document root is ``/`` then."""

_TEXT, _ILLEGIBLE = "Text", "Illegible"
_MADE = "dptr"  # in data: the version that wrote a task
OTHER_SHAPE = "neither rectangle nor polygon"
NO_TEXT = "a box without text"
BROKEN_BOX = "box that cannot be cut out"
BROKEN_LABEL = "label that cannot be kept"
NO_RESULT = "prediction without its words"
IN_SET = "word of a photograph that is in the set already"


def export_label_studio(store: Store, out: Path) -> int:
    """Write all words of a set; they are written photograph by photograph.

    Photographs whose files the set keeps itself are named, and have to be put beside the JSON by hand.

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
    with replace_file(out) as aside, open(aside, "w", encoding="utf-8") as file:
        for photo, items in groupby(store.each(), key=lambda item: item.photo):
            held = list(items)
            file.write(("[\n" if not words else ",\n") + dump_json(_task(photo, held)))
            words += len(held)
        if not words:
            raise UserError(f"{store.folder}: no word in it; find some first: dptr label PHOTOS -o {store.folder}")
        file.write("\n]\n")
    return words


def import_label_studio(store: Store, source: Path, drops: DropReport) -> int:
    """Add the photographs of an export of Label Studio, with their words, to a set.

    Of several annotations of a task the last one counts. Several tasks of one photograph are taken together.
    Photographs that are in the set stay as they are. Their files are looked for where the task says, and beside the
    JSON.

    Args:
        drops: counts what is left out.

    Returns:
        The number of words that were added.

    Raises:
        UserError: not JSON, or not of Label Studio; nothing is added then.
    """
    tasks = parse_json(read_text(source), str(source))
    if not isinstance(tasks, list):
        raise UserError(f"{source}: no list of tasks; export it from Label Studio as JSON")
    photos: dict[tuple[str, int], dict[str, list[tuple[Part, bool]]]] = {}  # path and page -> task -> its words
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
        except ValueError as error:  # of urllib
            drops.add(UNREADABLE, where, f"address {address}: {error}")
            continue
        photos.setdefault(photo, {})[where] = parts
    return sum(_add(store, *photo, held, drops) for photo, held in photos.items())


# --- out --------------------------------------------------------------------------------------------------------------


def _task(photo: Photo, items: Iterable[Item]) -> dict[str, Any]:
    seen: list[Any] = []
    unseen: list[Any] = []
    for item in items:
        (unseen if item.state == "open" else seen).extend(_results(item))
    address = LOCAL + urllib.parse.quote(os.fsencode(photo.path.lstrip("/")))
    return {
        "data": {"ocr": address, "page": photo.number, _MADE: __version__},
        "annotations": [{"result": seen}] if seen else [],
        "predictions": [{"model_version": _MADE, "result": unseen}] if unseen else [],
    }


def _results(item: Item) -> Iterator[dict[str, Any]]:
    """The place, the kind, and the text of a word."""
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
    points = outline or ((0, 0), (width, 0), (width, height), (0, height))
    (left, top), (right, bottom) = points[0], points[2]
    if tuple(points) == ((left, top), (right, top), (right, bottom), (left, bottom)) and left < right and top < bottom:
        percent = {
            "x": 100 * left / width, "y": 100 * top / height,
            "width": 100 * (right - left) / width, "height": 100 * (bottom - top) / height, "rotation": 0,
        }  # fmt: skip
        return percent, "rectangle"
    return {"points": [[100 * x / width, 100 * y / height] for x, y in points]}, "polygon"


# --- in ---------------------------------------------------------------------------------------------------------------

Part = dict[str, Any]
"""What a task says of a word: its results by their type."""


def _parts(task: Any, where: str, drops: DropReport) -> Iterator[tuple[Part, bool]]:
    """What is said of each word, and whether somebody has looked at it.

    Of a prediction that somebody's annotation began with, the annotation alone counts: words of the same id are the
    same word, and where it names the prediction, those that it lacks were taken away.
    """
    annotations, predictions = (
        field(task, name, list, where) if task.get(name) else [] for name in ("annotations", "predictions")
    )
    for each in annotations:
        if not isinstance(each, dict):
            raise UserError(f"{where}: annotation {str(each)[:40]!r} is no object; export annotations, not their ids")
    held = [(each, True) for each in annotations if not each.get("was_cancelled")][-1:]
    origin = held[0][0].get("parent_prediction") if held else None
    for each in predictions[-1:]:
        if isinstance(each, dict):
            if origin is None or each.get("id") != origin:
                held.append((each, False))
        else:  # exports name predictions by their ids, unless told otherwise
            drops.add(NO_RESULT, where, str(each))
    known: set[str] = set()
    for source, seen in held:
        parts: dict[str, Part] = {}
        for result in field(source, "result", list, where):
            if isinstance(result, dict) and "id" in result and isinstance(result.get("value"), dict):
                parts.setdefault(str(result["id"]), {})[str(result.get("type"))] = result
        yield from ((part, seen) for name, part in parts.items() if name not in known)
        known |= parts.keys()


def _add(store: Store, path: str, number: int, tasks: dict[str, list[tuple[Part, bool]]], drops: DropReport) -> int:
    """Add a photograph with the words of all its tasks; returns how many words were added."""
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
        for part, seen in parts
        for word in _proposals(part, seen, size, where, drops)
    ]
    if not store.add(path, number, size, [word for _, word in words]):
        for where, word in words:
            drops.add(IN_SET, where, word.text)
        return 0
    store.finish(path)
    return len(words)


def _proposals(part: Part, seen: bool, size: tuple[int, int], where: str, drops: DropReport) -> Iterator[Proposal]:
    """The word of a part; none where it cannot be kept, which is counted."""
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
    if seen and not text and not illegible:
        drops.add(NO_TEXT, name, "")
        return
    meta = shape.get("meta")
    own = meta["dptr"] if isinstance(meta, dict) and isinstance(meta.get("dptr"), dict) else {}
    try:
        outline = _outline(shape["value"], *size)
        if "points" in shape["value"] and not own:
            outline = order_outline(outline)
        check_outline(outline, size)
    except (UserError, KeyError, TypeError, ValueError, OverflowError) as error:
        drops.add(BROKEN_BOX, name, str(error))
        return
    state: State = "open" if not seen else "illegible" if illegible else "labeled"
    if own.get("state") == "sure" and state == "labeled" and own.get("proposed") == text:
        state = "sure"
    confidence = own.get("confidence", 1.0 if seen else shape.get("score"))
    whole = (0, 0), (size[0], 0), size, (0, size[1])
    yield Proposal(() if outline == whole else outline, text, _share(confidence), state)


def _value(part: Part, kind: str) -> dict[str, Any]:
    return part[kind]["value"] if kind in part else {}


def _share(value: Any) -> float:
    """A confidence, 0 to 1; 0.5 where there is none."""
    if not isinstance(value, int | float) or value != value:  # NaN
        return 0.5
    return float(min(max(value, 0), 1))


_SHAPES = "rectangle", "rectanglelabels", "polygon", "polygonlabels"


def _outline(value: dict[str, Any], width: int, height: int) -> Outline:
    if "points" in value:
        points = [(float(x) * width / 100, float(y) * height / 100) for x, y in value["points"]]
        if len(points) % 2:
            raise UserError(f"polygon of {len(points)} points")
        return tuple((round(x, 1), round(y, 1)) for x, y in points)
    x, y, wide, high = (float(value[key]) for key in ("x", "y", "width", "height"))
    left, top, right, down = x * width / 100, y * height / 100, wide * width / 100, high * height / 100
    turn = radians(float(value.get("rotation", 0)))
    corners = ((0.0, 0.0), (right, 0.0), (right, down), (0.0, down))
    return tuple(
        (round(left + a * cos(turn) - b * sin(turn), 1), round(top + a * sin(turn) + b * cos(turn), 1))
        for a, b in corners
    )


def _find(address: str, source: Path) -> str:
    """Where the picture of a task is: as its address says, or beside the JSON."""
    parsed = urllib.parse.urlsplit(address)
    named = urllib.parse.parse_qs(parsed.query, errors="surrogateescape").get("d")
    name = named[0] if named else urllib.parse.unquote(parsed.path, errors="surrogateescape")
    beside = source.parent
    for path in (Path("/") / name, beside / name.lstrip("/"), beside / Path(name).name):
        if os.path.isfile(path):
            return str(path)
    return str(beside / Path(name).name)


def _is_ours(path: Path) -> bool:
    """Whether a file begins as ``export_label_studio`` writes it."""
    try:
        with open(open_plain(path), "rb") as file:
            line = file.readline(3) + file.readline(1 << 24)
        return line[:1] == b"[" and _MADE in json.loads(line[1:].strip().removesuffix(b",") or b"{}").get("data", {})
    except (OSError, ValueError, AttributeError):
        return False
