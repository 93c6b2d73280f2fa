"""Reading order: which boxes are beside each other in a line, which lines make a column, and which comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dptr.photo.rectify import side_lengths

# All in heights of a line; judgment.
COLUMN_GAP = 1.0  # white between two columns
WORD_GAP = 1.5  # white between two boxes of one line
BLOCK_GAP = 1.0  # white between two blocks, one below the other
SHARED = 0.5  # of the lower of two boxes: how much of it is beside the other where they are of one line
ALIKE = 2.0  # times that one box of a line is higher than another, at most


@dataclass(frozen=True)
class Row:
    """A line of text.

    Attributes:
        boxes: their numbers, in reading order.
        block: number of its block, from 0.
    """

    boxes: tuple[int, ...]
    block: int


def measure_angle(box: Float[np.ndarray, "4 2"]) -> float:
    """Degrees clockwise from the horizontal at which the text of a box runs, above -180 to 180."""
    right = box[1] + box[2] - box[0] - box[3]
    angle = float(np.degrees(np.arctan2(right[1], right[0])))
    return 180.0 if angle <= -180 else angle


def order_boxes(boxes: Float[np.ndarray, "n 4 2"], leftward: bool = False) -> list[Row]:
    """Sort boxes as one reads them: columns and rows are cut apart by the white of the page (an XY cut).

    The page is turned so that most of its text runs level and stands upright. From the top, rows that a common white
    stretch parts into columns are read column by column.

    Args:
        boxes: corners clockwise from where the text begins at the top.
        leftward: whether words and columns follow each other from right to left.
    """
    if not len(boxes):
        return []
    widths = np.array([side_lengths(box)[0] for box in boxes])
    angles = np.radians([measure_angle(box) for box in boxes])
    main = float(np.arctan2((widths * np.sin(2 * angles)).sum(), (widths * np.cos(2 * angles)).sum())) / 2
    if (widths * np.cos(angles - main)).sum() < 0:  # level, but upside down
        main += np.pi
    turn = np.array(((np.cos(main), np.sin(main)), (-np.sin(main), np.cos(main))))
    turned = boxes @ turn.T
    if leftward:
        turned = turned * (-1, 1)
    frames = np.concatenate((turned.min(1), turned.max(1)), 1)
    # Boxes that lean as the page does are lower than the frames around them.
    middle, heights = (frames[:, 1] + frames[:, 3]) / 2, _heights(boxes)
    level = np.abs(np.sin(angles - main)) < 0.5
    frames[level, 1], frames[level, 3] = (middle - heights / 2)[level], (middle + heights / 2)[level]
    rows: list[Row] = []
    for block, members in enumerate(_blocks(list(range(len(boxes))), frames)):
        rows += [Row(tuple(line), block) for line in members]
    return rows


def _heights(boxes: Float[np.ndarray, "n 4 2"]) -> Float[np.ndarray, " n"]:
    """How high the letters of each box are, about: its shorter side, but of one narrow letter the longer one, which is
    as long as the lines of the page are high."""
    sides = np.array([side_lengths(box) for box in boxes])
    least = sides.min(1)
    long = sides[:, 0] >= sides[:, 1]
    usual = np.median(least[long] if long.any() else least)
    return np.where(sides[:, 1] <= ALIKE * usual, sides[:, 1], least)


def _blocks(members: list[int], frames: Float[np.ndarray, "n 4"]) -> list[list[list[int]]]:
    """Blocks of lines of boxes, in reading order; ``frames``: left, top, right, bottom of each box."""
    bands = _bands(members, frames)
    blocks: list[list[list[int]]] = []
    start = 0
    while start < len(bands):
        end = start + 1
        columns: list[list[int]] = []
        for stop in range(len(bands), start, -1) if len(bands[start]) > 1 else ():
            columns = _columns(bands[start:stop], frames)
            if columns:
                end = stop
                break
        if columns:
            for column in columns:
                blocks += _blocks(column, frames)
        else:
            for line in _lines(bands[start], frames):
                _append(blocks, line, frames)
        start = end
    return blocks


def _bands(members: list[int], frames: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """Groups of boxes from top to bottom; the middles of one group's boxes lie beside one of its boxes each."""
    bands: list[list[int]] = []
    bottom = -np.inf
    for member in sorted(members, key=lambda each: (frames[each, 1] + frames[each, 3]) / 2):
        middle = (frames[member, 1] + frames[member, 3]) / 2
        if middle >= bottom:
            bands.append([])
            bottom = -np.inf
        bands[-1].append(member)
        bottom = max(bottom, frames[member, 3])
    return bands


def _columns(bands: Sequence[list[int]], frames: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """The columns of these bands from left to right, where white parts them and two hold several lines; else none."""
    members = [member for band in bands for member in band]
    height = float(np.median(frames[members, 3] - frames[members, 1]))
    columns: list[list[int]] = []
    right = -np.inf
    for member in sorted(members, key=lambda each: frames[each, 0]):
        if frames[member, 0] > right + COLUMN_GAP * height:
            columns.append([])
        columns[-1].append(member)
        right = max(right, frames[member, 2])
    tall = [column for column in columns if len(_bands(column, frames)) > 1]
    shared = [sum(bool(set(column) & set(band)) for column in columns) > 1 for band in bands]
    if len(tall) < 2 or not shared[0]:
        return []
    # Below the last row of several columns, one of them may run on without a break.
    last = max(index for index, several in enumerate(shared) if several)
    for above, below in pairwise(bands[last:]):
        if frames[below, 1].min() - frames[above, 3].max() > BLOCK_GAP * height:
            return []
    return columns


def _lines(band: list[int], frames: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """The lines of a band, the upper and then the left one first."""
    lines: list[list[int]] = []
    for member in sorted(band, key=lambda each: frames[each, 0]):
        fitting = [line for line in lines if _follows(frames[line[-1]], frames[member])]
        if fitting:
            min(fitting, key=lambda line: frames[member, 0] - frames[line[-1], 2]).append(member)
        else:
            lines.append([member])
    tops = {id(line): float(frames[line, 1].min()) for line in lines}
    height, first = float(np.median(frames[band, 3] - frames[band, 1])), min(tops.values())
    return sorted(lines, key=lambda line: (round((tops[id(line)] - first) / height), frames[line[0], 0]))


def _follows(before: Float[np.ndarray, " 4"], after: Float[np.ndarray, " 4"]) -> bool:
    heights = before[3] - before[1], after[3] - after[1]
    shared = min(before[3], after[3]) - max(before[1], after[1])
    near = after[0] - before[2] < WORD_GAP * max(heights)
    return bool(near and shared > SHARED * min(heights) and max(heights) < ALIKE * min(heights))


def _append(blocks: list[list[list[int]]], line: list[int], frames: Float[np.ndarray, "n 4"]) -> None:
    """Add a line to the last block if it goes on below it; else it begins a block."""
    if blocks:
        above, below = frames[blocks[-1][-1]], frames[line]
        heights = np.median(above[:, 3] - above[:, 1]), np.median(below[:, 3] - below[:, 1])
        gap = below[:, 1].min() - above[:, 3].max()
        beside = min(above[:, 2].max(), below[:, 2].max()) - max(above[:, 0].min(), below[:, 0].min())
        if beside > 0 and abs(gap) < BLOCK_GAP * max(heights) and max(heights) < ALIKE * min(heights):
            blocks[-1].append(line)
            return
    blocks.append([line])
