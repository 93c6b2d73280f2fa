"""Geometry and text direction for the output formats: rectangles around outlines, blocks of lines, leftward text."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

from dptr.photo.page import Line, Outline, Page


def bounds(outlines: Iterable[Outline], width: int, height: int) -> tuple[int, int, int, int]:
    """The smallest rectangle of whole pixels around outlines: left, top, right, bottom.

    Args:
        width, height: of the picture; the rectangle is clipped to it.
    """
    points = [point for outline in outlines for point in outline]
    across, down = [x for x, _ in points], [y for _, y in points]
    return (
        _clip(math.floor(min(across)), width),
        _clip(math.floor(min(down)), height),
        _clip(math.ceil(max(across)), width),
        _clip(math.ceil(max(down)), height),
    )


def corners(outline: Outline, width: int, height: int) -> list[tuple[int, int]]:
    """The points of an outline, rounded to whole pixels, and clipped to the picture."""
    return [(_clip(round(x), width), _clip(round(y), height)) for x, y in outline]


def reverse(outline: Outline) -> Outline:
    """The same outline, starting at the other end of its text."""
    half = len(outline) // 2
    return outline[half - 1 :: -1] + outline[: half - 1 : -1]


def from_left(outline: Outline) -> Outline:
    """The outline in clockwise order, as needed to cut it out; that of right-to-left text is reversed."""
    next_points = (*outline[1:], outline[0])
    area = sum(x * v - y * u for (x, y), (u, v) in zip(outline, next_points, strict=True))
    return reverse(outline) if area < 0 else outline


def blocks(page: Page) -> list[list[Line]]:
    """The lines of a page, grouped by block, in reading order."""
    return [list(lines) for _, lines in groupby(page.lines, key=lambda line: line.block)]


def lines_box(lines: Sequence[Line], width: int, height: int) -> tuple[int, int, int, int]:
    """The ``bounds`` of lines and all their words."""
    outlines = [line.polygon for line in lines] + [word.polygon for line in lines for word in line.words]
    return bounds(outlines, width, height)


def runs_left(text: str) -> bool:
    """Whether a text runs from right to left, by its first letter with a direction (Unicode annex 9, P2)."""
    return _first_direction(text) in ("R", "AL")


def most_run_left(texts: Sequence[str], otherwise: bool = False) -> bool:
    """Whether more texts run from right to left than from left to right; ``otherwise`` if the numbers are equal."""
    directions = [way for way in map(_first_direction, texts) if way]
    leftward = sum(way != "L" for way in directions)
    return otherwise if 2 * leftward == len(directions) else 2 * leftward > len(directions)


def _first_direction(text: str) -> str:
    """``L``, ``R``, or ``AL`` (Arabic) for the first letter with a direction; "" if there is none."""
    return next((way for way in map(unicodedata.bidirectional, text) if way in ("L", "R", "AL")), "")


def _clip(value: int, limit: int) -> int:
    return min(max(value, 0), limit)
