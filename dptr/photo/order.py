"""Reading order: which boxes form a line, which lines form a column, and which comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from dptr.photo.rectify import side_lengths

# Set by judgment. Gaps are in heights of a line.
COLUMN_GAP = 1.0  # least gap between two columns
WORD_GAP = 1.5  # largest gap between two boxes of one line
BLOCK_GAP = 1.0  # least gap between two blocks, one below the other
SHARED = 0.5  # least vertical overlap of two boxes of one line, as a share of the smaller height
ALIKE = 2.0  # largest ratio of the heights of two boxes of one line


@dataclass(frozen=True)
class Row:
    """A line of text.

    Attributes:
        boxes: their indices, in reading order.
        block: the number of its block, from 0.
    """

    boxes: tuple[int, ...]
    block: int


def measure_angle(box: Float[np.ndarray, "4 2"]) -> float:
    """The direction of the text in a box, in degrees clockwise from the horizontal, above -180 and at most 180."""
    right = box[1] + box[2] - box[0] - box[3]
    angle = float(np.degrees(np.arctan2(right[1], right[0])))
    return 180.0 if angle <= -180 else angle


def order_boxes(boxes: Float[np.ndarray, "n 4 2"], leftward: bool = False) -> list[Row]:
    """Sort boxes in reading order, and group them into lines and blocks, by the white space between them (an XY cut).

    First, the page is rotated so that most of its text runs level and stands upright. Then, from top to bottom, rows
    that common white space divides into columns are read column by column.

    Args:
        boxes: the corners clockwise, from the start of the text at the top.
        leftward: whether words and columns run from right to left.
    """
    if not len(boxes):
        return []
    widths = np.array([side_lengths(box)[0] for box in boxes])
    angles = np.radians([measure_angle(box) for box in boxes])
    main_angle = float(np.arctan2((widths * np.sin(2 * angles)).sum(), (widths * np.cos(2 * angles)).sum())) / 2
    if (widths * np.cos(angles - main_angle)).sum() < 0:  # level, but upside down
        main_angle += np.pi
    rotation = np.array(((np.cos(main_angle), np.sin(main_angle)), (-np.sin(main_angle), np.cos(main_angle))))
    rotated = boxes @ rotation.T
    if leftward:
        rotated = rotated * (-1, 1)
    frames = np.concatenate((rotated.min(1), rotated.max(1)), 1)
    # A box that is tilted like the page is lower than the upright frame around it.
    middles, heights = (frames[:, 1] + frames[:, 3]) / 2, _letter_heights(boxes)
    level = np.abs(np.sin(angles - main_angle)) < 0.5
    frames[level, 1], frames[level, 3] = (middles - heights / 2)[level], (middles + heights / 2)[level]
    rows: list[Row] = []
    for block, members in enumerate(_find_blocks(list(range(len(boxes))), frames)):
        rows += [Row(tuple(line), block) for line in members]
    return rows


def _letter_heights(boxes: Float[np.ndarray, "n 4 2"]) -> Float[np.ndarray, " n"]:
    """The approximate height of the letters in each box: its shorter side, except for a box of one narrow letter.

    Such a box is higher than wide. Its height counts if it is at most ``ALIKE`` times the typical height of a line.
    """
    sides = np.array([side_lengths(box) for box in boxes])
    shorter_sides = sides.min(1)
    is_wide = sides[:, 0] >= sides[:, 1]
    usual = np.median(shorter_sides[is_wide] if is_wide.any() else shorter_sides)
    return np.where(sides[:, 1] <= ALIKE * usual, sides[:, 1], shorter_sides)


def _find_blocks(members: list[int], frames: Float[np.ndarray, "n 4"]) -> list[list[list[int]]]:
    """The blocks of lines of boxes, in reading order; ``frames``: left, top, right, and bottom of each box."""
    bands = _find_bands(members, frames)
    blocks: list[list[list[int]]] = []
    start = 0
    while start < len(bands):
        end = start + 1
        columns: list[list[int]] = []
        for stop in range(len(bands), start, -1) if len(bands[start]) > 1 else ():
            columns = _find_columns(bands[start:stop], frames)
            if columns:
                end = stop
                break
        if columns:
            for column in columns:
                blocks += _find_blocks(column, frames)
        else:
            for line in _find_lines(bands[start], frames):
                _append_line(blocks, line, frames)
        start = end
    return blocks


def _find_bands(members: list[int], frames: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """Groups of boxes, from top to bottom.

    A box joins the current group if its vertical center lies above the lowest bottom of the group's boxes.
    """
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


def _find_columns(bands: Sequence[list[int]], frames: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """The columns of some bands, from left to right.

    They are empty unless white space divides the first band, and at least two columns have several lines.
    """
    members = [member for band in bands for member in band]
    height = float(np.median(frames[members, 3] - frames[members, 1]))
    columns: list[list[int]] = []
    right = -np.inf
    for member in sorted(members, key=lambda each: frames[each, 0]):
        if frames[member, 0] > right + COLUMN_GAP * height:
            columns.append([])
        columns[-1].append(member)
        right = max(right, frames[member, 2])
    tall = [column for column in columns if len(_find_bands(column, frames)) > 1]
    is_divided = [sum(bool(set(column) & set(band)) for column in columns) > 1 for band in bands]
    if len(tall) < 2 or not is_divided[0]:
        return []
    # Below the last divided band, a column may only continue without a gap.
    last = max(index for index, divided in enumerate(is_divided) if divided)
    for above, below in pairwise(bands[last:]):
        if frames[below, 1].min() - frames[above, 3].max() > BLOCK_GAP * height:
            return []
    return columns


def _find_lines(band: list[int], frames: Float[np.ndarray, "n 4"]) -> list[list[int]]:
    """The lines of a band, sorted from top to bottom, then from left to right."""
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
    """Whether a box continues the line of the box before it."""
    heights = before[3] - before[1], after[3] - after[1]
    overlap = min(before[3], after[3]) - max(before[1], after[1])
    is_near = after[0] - before[2] < WORD_GAP * max(heights)
    return bool(is_near and overlap > SHARED * min(heights) and max(heights) < ALIKE * min(heights))


def _append_line(blocks: list[list[list[int]]], line: list[int], frames: Float[np.ndarray, "n 4"]) -> None:
    """Add a line to the last block if it continues that block below; otherwise start a new block."""
    if blocks:
        above, below = frames[blocks[-1][-1]], frames[line]
        heights = np.median(above[:, 3] - above[:, 1]), np.median(below[:, 3] - below[:, 1])
        gap = below[:, 1].min() - above[:, 3].max()
        overlap = min(above[:, 2].max(), below[:, 2].max()) - max(above[:, 0].min(), below[:, 0].min())
        if overlap > 0 and abs(gap) < BLOCK_GAP * max(heights) and max(heights) < ALIKE * min(heights):
            blocks[-1].append(line)
            return
    blocks.append([line])
