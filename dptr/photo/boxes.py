"""Boxes from a file, in place of a detector."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from PIL import Image

from dptr.photo.detect import Detection
from dptr.utils.errors import UserError

_BOXES = "dptr boxes"  # in a picture's info: its boxes
CORNERS = "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"


@dataclass(frozen=True)
class Boxes:
    """The boxes of many pictures.

    Attributes:
        path: of the file.
        rows: by the name of the picture, as the file writes it, and the number of the page: the number of the line in
            the file, and four corners, clockwise from where the text begins at the top, in pixels.
    """

    path: str
    rows: dict[tuple[str, int], list[tuple[int, tuple[float, ...]]]]

    def of(self, source: str, number: int, picture: Image.Image) -> Float64[np.ndarray, "n 4 2"]:
        """The boxes of a picture; none if the file has none of it.

        Names in the file are as the picture was passed, or paths from the folder of the file or the current one.

        Args:
            source: as the picture was passed.
            number: of its page or frame, from 1.

        Raises:
            UserError: a box lies outside the picture.
        """
        found = self.rows.get((source, number))
        if found is None:
            wanted = os.path.realpath(source)
            places = "", os.path.dirname(self.path)
            found = next(
                (
                    rows
                    for (name, page), rows in self.rows.items()
                    if page == number and any(os.path.realpath(os.path.join(each, name)) == wanted for each in places)
                ),
                [],
            )
        boxes = np.array([corners for _, corners in found], np.float64).reshape(-1, 4, 2)
        outside = (boxes.max(axis=1, initial=-np.inf) <= 0) | (boxes.min(axis=1, initial=np.inf) >= picture.size)
        for index in np.flatnonzero(outside.any(axis=1)):
            raise UserError(
                f"{self.path}: line {found[index][0]}: the box lies outside {source}, {picture.width}x{picture.height} "
                "pixels; correct it"
            )
        return boxes


def give_boxes(picture: Image.Image, boxes: Float64[np.ndarray, "n 4 2"]) -> None:
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
    return Detection(boxes, np.ones(len(boxes)))


def read_boxes(path: str) -> Boxes:
    """Read a table of boxes, separated by tabs: the name of the picture and eight coordinates a line.

    A first line that names columns says where they stand: ``image``, ``x1`` to ``y4``, and ``page``, which may be
    missing. Other columns, such as ``text``, are not looked at. What ``dptr ocr --format tsv`` writes is such a table.

    Raises:
        UserError: the file is missing, no UTF-8, or empty, or a line holds no box.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path of the boxes") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no table of boxes ({error}); pass a file of lines separated by tabs") from error
    columns = ["image", *CORNERS]
    begin = 0
    if lines and "x1" in lines[0]:
        columns = [name.removeprefix("#").strip() for name in lines[0]]
        begin = 1
    if missing := [name for name in ("image", *CORNERS) if name not in columns]:
        raise UserError(f"{path}: no column {missing[0]!r}; name image and {' '.join(CORNERS)} in the first line")
    rows: dict[tuple[str, int], list[tuple[int, tuple[float, ...]]]] = {}
    for number, cells in enumerate(lines[begin:], begin + 1):
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        row = dict(zip(columns, cells, strict=False))
        try:
            corners = tuple(float(row[name]) for name in CORNERS)
            page = int(row.get("page", "1"))
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: line {number}: no box; write the picture's name and eight numbers") from error
        if not np.isfinite(corners).all():
            raise UserError(f"{path}: line {number}: a corner is no number; write the picture's name and eight numbers")
        rows.setdefault((_unescape(row["image"]), page), []).append((number, corners))
    if not rows:
        raise UserError(f"{path}: no boxes in it; write a picture's name and eight numbers a line")
    return Boxes(path, rows)


def _unescape(name: str) -> str:
    """The name that ``dptr.photo.outputs.plain.write_tsv`` escaped."""
    if "\\" not in name:
        return name
    codes = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
    parts = iter(name)
    return "".join(
        codes.get(following := next(parts, ""), "\\" + following) if each == "\\" else each for each in parts
    )
