"""Characters of seven and of fourteen segments, as masks.

Segments are named a to g as on data sheets of displays, clockwise from the top, g in the middle. Fourteen segments have
the middle in two parts (g, p), and in each half three more, from left to right: h, i, j above and k, l, m below.
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
# How displays differ: 6 and 9 with or without a tail, 7 with or without a serif.
VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"7": "abcf"},
    {"6": "cdefg", "9": "abcfg"},
    {"7": "abcf", "6": "cdefg", "9": "abcfg"},
)
POINTS = ".:,"  # stand between two characters
_ENDS = {  # on a grid of three columns and three rows
    "a": ((0, 0), (2, 0)), "b": ((2, 0), (2, 1)), "c": ((2, 1), (2, 2)), "d": ((0, 2), (2, 2)), "e": ((0, 1), (0, 2)),
    "f": ((0, 0), (0, 1)), "h": ((0, 0), (1, 1)), "i": ((1, 0), (1, 1)), "j": ((2, 0), (1, 1)), "k": ((0, 2), (1, 1)),
    "l": ((1, 1), (1, 2)), "m": ((2, 2), (1, 1)), "p": ((1, 1), (2, 1)),
}  # fmt: skip
_FRACTION = 4  # bits of sub-pixels in OpenCV's coordinates


def can_draw(text: str, table: dict[str, str]) -> bool:
    """Whether ``table`` has all characters, and no point begins the text."""
    return bool(text) and text[0] not in POINTS and all(char in table or char in POINTS for char in text)


def draw_segments(
    text: str, table: dict[str, str], width: float, thick: float, gap: float, slant: float, pitch: float
) -> tuple[Line, np.ndarray]:
    """``text``, and the mask of all segments of its cells, lit or not.

    Args:
        table: ``SEVEN`` or ``FOURTEEN``, or a variant of it.
        width, thick: of a character and of its segments, as shares of its height.
        gap: between two segments, as a share of the thickness.
        slant: how far the top leans to the right, as a share of the height.
        pitch: room between two characters, as a share of the height.

    Returns:
        A line that is not cut, so that both masks are of one size: its box is the ink.
    """
    height, wide = SIZE, width * SIZE
    places, x = [], 0.0
    for char in text:
        own = 1.1 * thick * SIZE if char in POINTS else wide
        room = 0.5 * pitch if char in POINTS else pitch
        places.append((x, x + own))
        x += own + room * SIZE
    edge = 4
    shape = height + 2 * edge, int(x + slant * SIZE) + 2 * edge
    lit, every = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for char, (left, right) in zip(text, places, strict=True):
        if char in POINTS:
            dots = _points(char, left, right)
            for mask in (lit, every):
                _fill(mask, dots, slant, height, edge)
            continue
        bars = _bars(table, left, wide, height, thick * height, gap)
        _fill(every, list(bars.values()), slant, height, edge)
        _fill(lit, [bars[name] for name in table[char]], slant, height, edge)
    shift = edge + slant * height / 2
    stops = np.array([((left + shift, shape[0] / 2), (right + shift, shape[0] / 2)) for left, right in places])
    ink, (left, top) = trim(lit)
    return Line(lit, (left, top, left + ink.shape[1], top + ink.shape[0]), stops), every


def _bars(
    table: dict[str, str], left: float, width: float, height: float, thick: float, gap: float
) -> dict[str, np.ndarray]:
    """The outline (n, 2) of each segment: a bar with pointed ends, along the line between two points of the grid."""
    half = thick / 2
    columns = left + np.array((half, width / 2, width - half))
    rows = np.array((half, height / 2, height - half))
    parted = any("p" in lit for lit in table.values())
    names = "abcdefg" + ("hijklmp" if parted else "")
    ends = {**_ENDS, "g": ((0, 1), (1, 1) if parted else (2, 1))}
    bars = {}
    for name in names:
        (x0, y0), (x1, y1) = ends[name]
        first, last = np.array((columns[x0], rows[y0])), np.array((columns[x1], rows[y1]))
        diagonal = name in "hjkm"
        if diagonal:  # between the corners of what the bars around leave free
            inward = np.sign(last - first) * thick
            first, last = first + inward * (0.65, 0.7), last - inward * (0.65, 0.7)
        length = float(np.linalg.norm(last - first))
        along = (last - first) / length
        across = np.array((-along[1], along[0])) * half * (0.7 if diagonal else 1)
        short = along * min(thick * gap / 2, 0.3 * length)
        first, last = first + short, last - short
        point = along * (0 if diagonal else half)
        bars[name] = np.array((first, first + point + across, last - point + across, last,
                               last - point - across, first + point - across))  # fmt: skip
    return bars


def _points(char: str, left: float, right: float) -> list[np.ndarray]:
    size = right - left
    bottom = SIZE - size
    tops = {".": (bottom,), ",": (bottom,), ":": (0.3 * SIZE - size / 2, 0.7 * SIZE - size / 2)}[char]
    squares = [np.array(((left, top), (right, top), (right, top + size), (left, top + size))) for top in tops]
    if char == ",":
        squares.append(np.array(((left, SIZE), (right, SIZE), (left, SIZE + size / 2))))
    return squares


def _fill(mask: np.ndarray, outlines: list[np.ndarray], slant: float, height: float, edge: int) -> None:
    for outline in outlines:
        leaning = outline + np.stack((slant * (height - outline[:, 1]), np.zeros(len(outline))), 1) + edge
        cv2.fillConvexPoly(mask, np.round(leaning * 2**_FRACTION).astype(np.int32), 255, cv2.LINE_AA, _FRACTION)
