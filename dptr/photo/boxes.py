"""Text boxes from a file, instead of a detector."""

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
_BOXES = "dptr boxes"  # key of the boxes in the ``info`` of a picture
FARTHEST = 1_000_000  # pixels; largest coordinate, positive or negative
_ESCAPED = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|([\\tnr]))")
CORNERS = "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"


@dataclass(frozen=True)
class Boxes:
    """The boxes of many pictures.

    Attributes:
        path: of the file.
        rows: for each name of a picture, as written in the file, and each page number: the line numbers in the file,
            and the points of the boxes in pixels. The points run clockwise from the start of the text at the top: four
            corners, or more along curved text, half of them along its top.
    """

    path: str
    rows: dict[tuple[str, int], list[tuple[int, Outline]]]

    def of(self, source: str, number: int, picture: Image.Image) -> list[Float64[np.ndarray, "points 2"]]:
        """The boxes of a picture, in the order of the file; none if the file has no boxes for it.

        All boxes begin on the left of their text, even if the text runs from right to left. A name in the file is
        either the one that was passed for the picture, or a path relative to the folder of the file or to the current
        folder.

        Args:
            source: the name that was passed for the picture.
            number: of its page or frame, from 1.

        Raises:
            UserError: a box cannot be cut out: it or its center lies outside the picture, it has no area, or its
                corners are not in order around it.
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
        """The rows by the real path of the file that a name may mean; rows of several names for one file are merged."""
        by_path: dict[tuple[str, int], list[tuple[int, Outline]]] = {}
        for (name, page), rows in self.rows.items():
            for path in {os.path.realpath(os.path.join(each, name)) for each in ("", os.path.dirname(self.path))}:
                by_path.setdefault((path, page), []).extend(rows)
        return by_path


def give_boxes(picture: Image.Image, boxes: Sequence[Float64[np.ndarray, "points 2"]]) -> None:
    """Attach boxes to a picture, for ``take_boxes``."""
    picture.info[_BOXES] = boxes


def take_boxes(picture: Image.Image) -> Detection:
    """A detector (``dptr.photo.detect.Detector``) that returns the boxes attached to a picture, each with score 1.

    Raises:
        UserError: the picture has no boxes.
    """
    boxes = picture.info.get(_BOXES)
    if boxes is None:
        raise UserError(f"image of {picture.width}x{picture.height}: carries no boxes; pass it to give_boxes first")
    corners = np.array([enclose(box) for box in boxes]).reshape(-1, 4, 2)
    return Detection(corners, np.ones(len(boxes)), {index: [box] for index, box in enumerate(boxes) if len(box) > 4})


def read_boxes(path: str) -> Boxes:
    """Read a tab-separated table of boxes: on each line, the name of a picture and eight coordinates.

    The first line may name the columns: ``image``, ``x1`` to ``y4``, and ``page``, which is optional. Other columns,
    such as ``text``, are ignored. ``dptr ocr --format tsv`` writes such a table. A column ``outline`` holds curved
    text, as 2k points ``x,y`` separated by spaces: k along the top and k back along the bottom, each opposite to its
    partner. If it is not empty, the corners are ignored, and may be missing.

    Raises:
        UserError: the file is missing, not UTF-8, or empty; or a line has no valid box, or a coordinate beyond
            ``FARTHEST``.
    """
    lines = _read_table(path)
    columns, first_row = ["image", *CORNERS], 0
    if lines and not {"x1", _OUTLINE}.isdisjoint(lines[0]):
        columns, first_row = [name.removeprefix("#").strip() for name in lines[0]], 1
    has_outlines = _OUTLINE in columns
    if missing := [name for name in ("image", *(() if has_outlines else CORNERS)) if name not in columns]:
        raise UserError(f"{path}: no column {missing[0]!r}; name image and {' '.join(CORNERS)} in the first line")
    expected = "an outline, as x,y x,y ..., or eight numbers" if has_outlines else "eight numbers"
    rows: dict[tuple[str, int], list[tuple[int, Outline]]] = {}
    for number, cells in enumerate(lines[first_row:], first_row + 1):
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        row = dict(zip(columns, cells, strict=False))
        try:
            name = _unescape(row["image"])
            points = _read_outline(row[_OUTLINE]) if row.get(_OUTLINE) else _read_corners(row)
            page = int(row.get("page", "1"))
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: line {number}: no box; write the picture's name and {expected}") from error
        if flaw := _describe_flaw(points, expected):
            raise UserError(f"{path}: line {number}: {flaw}")
        if "\0" in name:
            raise UserError(f"{path}: line {number}: U+0000 in the name of a picture; write the name of a file")
        rows.setdefault((name, page), []).append((number, points))
    if not rows:
        raise UserError(f"{path}: no boxes in it; write a picture's name and eight numbers a line")
    return Boxes(path, rows)


def _read_table(path: str) -> list[list[str]]:
    """The cells of each line."""
    try:
        text = io.StringIO(read_file(path).decode("utf-8-sig"), newline="")
        return list(csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path of the boxes") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no table of boxes ({error}); pass a file of lines separated by tabs") from error


def _read_corners(row: Mapping[str, str]) -> Outline:
    numbers = [float(row[name]) for name in CORNERS]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _read_outline(cell: str) -> Outline:
    pairs = [point.split(",") for point in cell.split()]
    return tuple((float(x), float(y)) for x, y in pairs)


def _describe_flaw(points: Outline, expected: str) -> str:
    """Why points are no box, and the remedy; empty if they are one. ``expected`` is what a line should have."""
    if not np.isfinite(points).all():
        return f"a corner is no number; write the picture's name and {expected}"
    if len(points) < 4 or len(points) % 2 or not _has_length(points):
        return (
            f"an outline of {len(points)} points is no strip; write two or more along the top of the text, and as many "
            "back along its bottom"
        )
    if np.abs(points).max() > FARTHEST:
        return f"a corner beyond {FARTHEST:,} pixels; write pixels of the picture"
    return ""


def _has_length(points: Outline) -> bool:
    """Whether the center line has a length. Boxes of four points are checked later, by ``Boxes.of``."""
    sides = np.array(points).reshape(2, -1, 2)
    return len(points) == 4 or bool(np.ptp(sides[0] + sides[1, ::-1], axis=0).any())


def _unescape(name: str) -> str:
    """Undo the escapes of ``dptr.photo.outputs.plain.write_tsv`` in a name."""
    codes = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
    return _ESCAPED.sub(lambda match: codes[match[3]] if match[3] else chr(int(match[1] or match[2], 16)), name)
