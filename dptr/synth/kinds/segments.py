"""Masks of characters of seven and fourteen segments.

Segments are named a to g as in data sheets of displays: a to f clockwise from the top, g in the middle. With fourteen
segments, the middle has two parts (g on the left, p on the right), and each half has three more segments, from left to
right: h, i, j in the upper half and k, l, m in the lower.
"""

from __future__ import annotations

import cv2
import numpy as np

from dptr.synth.layout import SIZE, Line, trim

SEVEN: dict[str, str] = {
    "0": "abcdef", "1": "bc", "2": "abged", "3": "abgcd", "4": "fgbc", "5": "afgcd", "6": "afgedc", "7": "abc",
    "8": "abcdefg", "9": "abcdfg", "-": "g", "_": "d", "=": "gd", " ": "", "A": "abcefg", "b": "cdefg", "C": "adef",
    "c": "deg", "d": "bcdeg", "E": "adefg", "F": "aefg", "H": "bcefg", "h": "cefg", "J": "bcde", "L": "def",
    "n": "ceg", "o": "cdeg", "P": "abefg", "r": "eg", "t": "defg", "U": "bcdef", "u": "cde",
}  # fmt: skip
FOURTEEN: dict[str, str] = {
    "0": "abcdefjk", "1": "bcj", "2": "abgped", "3": "abpcd", "4": "fgpbc", "5": "afgmd", "6": "afgpedc", "7": "abc",
    "8": "abcdefgp", "9": "abcdfgp", "-": "gp", "+": "gpil", "/": "jk", "\\": "hm", "_": "d",
    "=": "gpd", " ": "", "(": "jm", ")": "hk", "A": "abcefgp", "B": "abcdilp", "C": "adef", "D": "abcdil",
    "E": "adefgp", "F": "aefg", "G": "acdefp", "H": "bcefgp", "I": "adil", "J": "bcde", "K": "efgjm", "L": "def",
    "M": "bcefhj", "N": "bcefhm", "O": "abcdef", "P": "abefgp", "Q": "abcdefm", "R": "abefgpm", "S": "acdfgp",
    "T": "ail", "U": "bcdef", "V": "efjk", "W": "bcefkm", "X": "hjkm", "Y": "hjl", "Z": "adjk",
}  # fmt: skip
# Displays differ: 6 and 9 with or without a tail, 7 with or without a serif.
VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"7": "abcf"},
    {"6": "cdefg", "9": "abcfg"},
    {"7": "abcf", "6": "cdefg", "9": "abcfg"},
)
POINTS = ".:,"  # narrow characters that follow another character
_ENDS = {  # end points (column, row) on a grid of three columns and three rows
    "a": ((0, 0), (2, 0)), "b": ((2, 0), (2, 1)), "c": ((2, 1), (2, 2)), "d": ((0, 2), (2, 2)), "e": ((0, 1), (0, 2)),
    "f": ((0, 0), (0, 1)), "h": ((0, 0), (1, 1)), "i": ((1, 0), (1, 1)), "j": ((2, 0), (1, 1)), "k": ((0, 2), (1, 1)),
    "l": ((1, 1), (1, 2)), "m": ((2, 2), (1, 1)), "p": ((1, 1), (2, 1)),
}  # fmt: skip
_FRACTION = 4  # fractional bits of coordinates that OpenCV draws


def can_draw(text: str, table: dict[str, str]) -> bool:
    """Whether every character is in ``table`` or ``POINTS``; the first must be in ``table``."""
    return bool(text) and text[0] not in POINTS and all(char in table or char in POINTS for char in text)


def draw_segments(
    text: str, table: dict[str, str], width: float, thick: float, gap: float, slant: float, pitch: float
) -> tuple[Line, np.ndarray]:
    """Draw ``text`` with segments.

    Args:
        table: ``SEVEN`` or ``FOURTEEN``, or a variant of it.
        width, thick: width of a character and thickness of its segments, as shares of its height.
        gap: between two segments, as a share of the thickness.
        slant: how far the top leans to the right, as a share of the height.
        pitch: space between two characters, as a share of the height.

    Returns:
        The line, and a mask of all segments of its characters, lit or not. The masks have the same size; the line's
        mask is not cropped, but its box encloses the ink.
    """
    height, wide = SIZE, width * SIZE
    places, x = [], 0.0
    for char in text:
        char_width = 1.1 * thick * SIZE if char in POINTS else wide
        space = 0.5 * pitch if char in POINTS else pitch
        places.append((x, x + char_width))
        x += char_width + space * SIZE
    margin = 4
    shape = height + 2 * margin, int(x + slant * SIZE) + 2 * margin
    lit, all_segments = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for char, (left, right) in zip(text, places, strict=True):
        if char in POINTS:
            dots = _outline_points(char, left, right)
            for mask in (lit, all_segments):
                _fill(mask, dots, slant, height, margin)
            continue
        bars = _outline_bars(table, left, wide, height, thick * height, gap)
        _fill(all_segments, list(bars.values()), slant, height, margin)
        _fill(lit, [bars[name] for name in table[char]], slant, height, margin)
    shift = margin + slant * height / 2
    stops = np.array([((left + shift, shape[0] / 2), (right + shift, shape[0] / 2)) for left, right in places])
    ink, (left, top) = trim(lit)
    return Line(lit, (left, top, left + ink.shape[1], top + ink.shape[0]), stops), all_segments


def _outline_bars(
    table: dict[str, str], left: float, width: float, height: float, thickness: float, gap: float
) -> dict[str, np.ndarray]:
    """The outline (6, 2) of each segment: a bar with pointed ends, along the line between two points of the grid."""
    half = thickness / 2
    columns = left + np.array((half, width / 2, width - half))
    rows = np.array((half, height / 2, height - half))
    has_split_middle = any("p" in lit for lit in table.values())
    names = "abcdefg" + ("hijklmp" if has_split_middle else "")
    ends = {**_ENDS, "g": ((0, 1), (1, 1) if has_split_middle else (2, 1))}
    bars = {}
    for name in names:
        (x0, y0), (x1, y1) = ends[name]
        first, last = np.array((columns[x0], rows[y0])), np.array((columns[x1], rows[y1]))
        diagonal = name in "hjkm"
        if diagonal:  # from corner to corner of the area between the bars around
            inward = np.sign(last - first) * thickness
            first, last = first + inward * (0.65, 0.7), last - inward * (0.65, 0.7)
        length = float(np.linalg.norm(last - first))
        along = (last - first) / length
        across = np.array((-along[1], along[0])) * half * (0.7 if diagonal else 1)
        gap_offset = along * min(thickness * gap / 2, 0.3 * length)
        first, last = first + gap_offset, last - gap_offset
        point = along * (0 if diagonal else half)
        bars[name] = np.array((first, first + point + across, last - point + across, last,
                               last - point - across, first + point - across))  # fmt: skip
    return bars


def _outline_points(char: str, left: float, right: float) -> list[np.ndarray]:
    """The outlines (n, 2) of a period, a comma, or a colon."""
    size = right - left
    bottom = SIZE - size
    tops = {".": (bottom,), ",": (bottom,), ":": (0.3 * SIZE - size / 2, 0.7 * SIZE - size / 2)}[char]
    squares = [np.array(((left, top), (right, top), (right, top + size), (left, top + size))) for top in tops]
    if char == ",":
        squares.append(np.array(((left, SIZE), (right, SIZE), (left, SIZE + size / 2))))
    return squares


def _fill(mask: np.ndarray, outlines: list[np.ndarray], slant: float, height: float, margin: int) -> None:
    """Fill convex outlines, slanted and moved by ``margin``, in place."""
    for outline in outlines:
        leaning = outline + np.stack((slant * (height - outline[:, 1]), np.zeros(len(outline))), 1) + margin
        cv2.fillConvexPoly(mask, np.round(leaning * 2**_FRACTION).astype(np.int32), 255, cv2.LINE_AA, _FRACTION)
