"""Boxes from a file, in place of a detector."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64
from PIL import Image

from dptr.photo.detect import Detection
from dptr.photo.page import Outline
from dptr.photo.rectify import find_flaw
from dptr.photo.shapes import from_left
from dptr.photo.strip import enclose
from dptr.utils.errors import UserError
from dptr.utils.reading import read_file

_OUTLINE = "outline"
_BOXES = "dptr boxes"  # in a picture's info: its boxes
FARTHEST = 1_000_000  # pixels, of a corner from the picture's
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|([\\tnr]))")
CORNERS = "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"


@dataclass(frozen=True)
class Boxes:
    """The boxes of many pictures.

    Attributes:
        path: of the file.
        rows: by the name of the picture, as the file writes it, and the number of the page: the number of the line in
            the file, and the points of a box in pixels, clockwise from where the text begins at the top: four corners,
            or more along a curved text, half of them along its top.
    """

    path: str
    rows: dict[tuple[str, int], list[tuple[int, Outline]]]

    def of(self, source: str, number: int, picture: Image.Image) -> list[Float64[np.ndarray, "points 2"]]:
        """The boxes of a picture, in the order of the file; none if the file has none of it.

        All begin on the left of their text, also where it runs from right to left. Names in the file are as the picture
        was passed, or paths from the folder of the file or the current one.

        Args:
            source: as the picture was passed.
            number: of its page or frame, from 1.

        Raises:
            UserError: a box cannot be cut out: it lies outside the picture, its middle does, it has no area, or its
                corners do not follow each other around it.
        """
        rows = dict(self.rows.get((source, number), ()))
        rows |= dict(self._by_path.get((os.path.realpath(source), number), ()))
        boxes = []
        for line, points in sorted(rows.items()):
            box = np.array(from_left(points), np.float64)
            if (box.max(0) <= 0).any() or (box.min(0) >= picture.size).any():
                raise UserError(
                    f"{self.path}: line {line}: the box lies outside {source}, {picture.width}x{picture.height} "
                    "pixels; correct it"
                )
            if flaw := find_flaw(enclose(box), picture.size):
                raise UserError(f"{self.path}: line {line}: a box of {source} cannot be cut out, {flaw}; correct it")
            boxes.append(box)
        return boxes

    @cached_property
    def _by_path(self) -> dict[tuple[str, int], list[tuple[int, Outline]]]:
        """The rows by the file that a name may stand for, several names together."""
        found: dict[tuple[str, int], list[tuple[int, Outline]]] = {}
        for (name, page), rows in self.rows.items():
            for path in {os.path.realpath(os.path.join(each, name)) for each in ("", os.path.dirname(self.path))}:
                found.setdefault((path, page), []).extend(rows)
        return found


def give_boxes(picture: Image.Image, boxes: Sequence[Float64[np.ndarray, "points 2"]]) -> None:
    """Let a picture carry its boxes; ``take_boxes`` gives them back."""
    picture.info[_BOXES] = boxes


def take_boxes(picture: Image.Image) -> Detection:
    """A detector (``dptr.photo.detect.Detector``): the boxes that the picture carries, each with score 1.

    Raises:
        UserError: it carries none.
    """
    boxes = picture.info.get(_BOXES)
    if boxes is None:
        raise UserError(f"image of {picture.width}x{picture.height}: carries no boxes; pass it to give_boxes first")
    corners = np.array([enclose(box) for box in boxes]).reshape(-1, 4, 2)
    return Detection(corners, np.ones(len(boxes)), {index: [box] for index, box in enumerate(boxes) if len(box) > 4})


def read_boxes(path: str) -> Boxes:
    """Read a table of boxes, separated by tabs: the name of the picture and eight coordinates a line.

    A first line that names columns says where they stand: ``image``, ``x1`` to ``y4``, and ``page``, which may be
    missing. Other columns, such as ``text``, are not looked at. What ``dptr ocr --format tsv`` writes is such a table.
    A column ``outline`` holds curved text, as 2k points ``x,y`` with spaces between them: k along the top and k back
    along the bottom, each across from its partner. Where it is not empty, the corners are not looked at, and may be
    missing.

    Raises:
        UserError: the file is missing, no UTF-8, or empty, or a line holds no box, or one beyond ``FARTHEST``.
    """
    try:
        text = io.StringIO(read_file(path).decode("utf-8-sig"), newline="")
        lines = list(csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path of the boxes") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no table of boxes ({error}); pass a file of lines separated by tabs") from error
    columns = ["image", *CORNERS]
    begin = 0
    if lines and not {"x1", _OUTLINE}.isdisjoint(lines[0]):
        columns = [name.removeprefix("#").strip() for name in lines[0]]
        begin = 1
    outlined = _OUTLINE in columns
    wanted = "an outline, as x,y x,y ..., or eight numbers" if outlined else "eight numbers"
    if missing := [name for name in ("image", *(() if outlined else CORNERS)) if name not in columns]:
        raise UserError(f"{path}: no column {missing[0]!r}; name image and {' '.join(CORNERS)} in the first line")
    rows: dict[tuple[str, int], list[tuple[int, Outline]]] = {}
    for number, cells in enumerate(lines[begin:], begin + 1):
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        row = dict(zip(columns, cells, strict=False))
        try:
            points = _read_outline(row[_OUTLINE]) if row.get(_OUTLINE) else _read_corners(row)
            page = int(row.get("page", "1"))
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: line {number}: no box; write the picture's name and {wanted}") from error
        if not np.isfinite(points).all():
            raise UserError(f"{path}: line {number}: a corner is no number; write the picture's name and {wanted}")
        if len(points) < 4 or len(points) % 2 or not _is_long(points):
            raise UserError(
                f"{path}: line {number}: an outline of {len(points)} points is no strip; write two or more along the "
                "top of the text, and as many back along its bottom"
            )
        if np.abs(points).max() > FARTHEST:
            raise UserError(f"{path}: line {number}: a corner beyond {FARTHEST:,} pixels; write pixels of the picture")
        name = _unescape(row["image"])
        if "\0" in name:
            raise UserError(f"{path}: line {number}: U+0000 in the name of a picture; write the name of a file")
        rows.setdefault((name, page), []).append((number, points))
    if not rows:
        raise UserError(f"{path}: no boxes in it; write a picture's name and eight numbers a line")
    return Boxes(path, rows)


def _read_corners(row: Mapping[str, str]) -> Outline:
    numbers = [float(row[name]) for name in CORNERS]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _read_outline(cell: str) -> Outline:
    pairs = [point.split(",") for point in cell.split()]
    return tuple((float(x), float(y)) for x, y in pairs)


def _is_long(points: Outline) -> bool:
    """Whether the center line has a length; boxes of four points are looked at where they are cut out."""
    sides = np.array(points).reshape(2, -1, 2)
    return len(points) == 4 or bool(np.ptp(sides[0] + sides[1, ::-1], axis=0).any())


def _unescape(name: str) -> str:
    """The name that ``dptr.photo.outputs.plain.write_tsv`` escaped."""
    codes = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
    return _ESCAPED.sub(lambda found: codes[found[3]] if found[3] else chr(int(found[1] or found[2], 16)), name)
