"""Where each character of a line stands: the text is known, and roughly how wide letters are and where they end."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import numpy as np

from dptr.photo.spaces import Columns
from dptr.text.unicode import JOINERS

NARROW, WIDE, USUAL = 0.5, 1.4, 1.0  # how wide characters are beside each other
_NARROW = frozenset("ijl1I!|.,:;'`\"()[]{}ftr-/\\")
_WIDE = frozenset("mwMW@%&")
STIFFNESS = 4.0  # of widths, against what the network sees
FLOOR = 0.02  # probability below which the network does not count


def character_width(character: str) -> float:
    """How wide a character is beside others in common fonts, about."""
    if character in _NARROW:
        return NARROW
    if character in _WIDE or unicodedata.east_asian_width(character) in "WF":
        return WIDE
    return USUAL


def align_characters(text: str, columns: Columns, left: float, right: float) -> list[tuple[float, float]]:
    """Where each character stands between two places of a line; marks that take no room, where their letter does.

    The ends of the characters are chosen together, by dynamic programming: near where the network sees one letter end
    and the next begin, spaces over blank columns, and each about as wide as such a character is beside the others.

    Args:
        text: one character or more, from left to right; spaces may be among them.
        left, right: fractions of the line's width, where the first character begins and the last ends.

    Returns:
        Begin and end of each character, as fractions of the line's width.
    """
    own = [place for place, character in enumerate(text) if not place or not _takes_no_room(character)]
    spots = _align("".join(text[place] for place in own), columns, left, right)
    return [spots[index] for index in np.searchsorted(own, range(len(text)), "right") - 1]


def _takes_no_room(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me") or character in JOINERS


def _align(text: str, columns: Columns, left: float, right: float) -> list[tuple[float, float]]:
    """The same for characters that all take room."""
    count = len(columns.blank)
    start = min(max(round(left * count), 0), count)
    # Finer than the network's columns where there are many characters.
    fine = max(1, -(-3 * len(text) // max(1, round(right * count) - start)))
    steps = max(len(text), round((right - left) * count) * fine)
    places = (start + (np.arange(steps + 1)) / fine).clip(0, count - 1).astype(int)
    edge = np.log(np.maximum(np.maximum(columns.edges, columns.blank), FLOOR))[places]
    blank = np.concatenate(([0.0], np.log(np.maximum(columns.blank, FLOOR))[places[:-1]].cumsum()))
    solid = np.concatenate(([0.0], np.log(np.maximum(1 - columns.blank, FLOOR))[places[:-1]].cumsum()))
    widths = np.array([character_width(character) for character in text])
    unit = steps / widths.sum()
    worth = np.full(steps + 1, -np.inf)
    worth[0] = 0.0
    back = np.zeros((len(text), steps + 1), int)
    for index, character in enumerate(text):
        low, high = max(1, int(0.3 * widths[index] * unit)), max(2, int(2.5 * widths[index] * unit) + 1)
        lengths = np.arange(low, min(high, steps) + 1)
        held = blank if character == " " else solid
        costs = STIFFNESS * np.log(lengths / (widths[index] * unit)) ** 2 / 2
        # Where the character begins, for each place where it ends and each length.
        begins = np.arange(steps + 1)[:, None] - lengths
        value = np.where(begins < 0, -np.inf, worth[begins]) + (held[:, None] - held[begins]) / fine - costs
        longest = value.argmax(1)
        best = value[np.arange(steps + 1), longest]
        back[index] = lengths[longest]
        worth = best + edge
    ends = [steps]
    for index in range(len(text) - 1, -1, -1):
        ends.append(ends[-1] - int(back[index, ends[-1]]))
    if ends[-1] != 0 or not np.isfinite(worth[steps]):
        ends = (steps * np.concatenate(([0.0], widths.cumsum())) / widths.sum())[::-1].tolist()
    marks = [left + (right - left) * end / steps for end in reversed(ends)]
    return list(pairwise(marks))
