"""Where each character of a line stands: the text is known, and roughly how wide letters are and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dptr.photo.spaces import Columns
from dptr.photo.widths import measure_widths
from dptr.text.unicode import graphemes

STIFFNESS = 4.0  # of widths, against what the network sees
FLOOR = 0.02  # probability below which the network does not count


def align_characters(text: str, columns: Columns, left: float, right: float) -> list[tuple[float, float]]:
    """Where each character stands between two places of a line.

    The characters of a grapheme cluster stand at one place: a vowel sign may be drawn before, behind, or around its
    letter, and letters that are joined to one sign have no places of their own. The ends of the clusters are chosen
    together, by dynamic programming: near where the network sees one letter end and the next begin, spaces over blank
    columns, and each about as wide as such a one is beside the others.

    Args:
        text: one character or more, from left to right; spaces may be among them.
        left, right: fractions of the line's width, where the first character begins and the last ends.

    Returns:
        Begin and end of each character, as fractions of the line's width.
    """
    clusters = graphemes(text)
    spots = _align(clusters, columns, left, right)
    return [spot for spot, cluster in zip(spots, clusters, strict=True) for _ in cluster]


def _align(clusters: Sequence[str], columns: Columns, left: float, right: float) -> list[tuple[float, float]]:
    count = len(columns.blank)
    start = min(max(round(left * count), 0), count)
    # Finer than the network's columns where there are many characters.
    fine = max(1, -(-3 * len(clusters) // max(1, round(right * count) - start)))
    steps = max(len(clusters), round((right - left) * count) * fine)
    places = (start + (np.arange(steps + 1)) / fine).clip(0, count - 1).astype(int)
    edge = np.log(np.maximum(np.maximum(columns.edges, columns.blank), FLOOR))[places]
    blank = np.concatenate(([0.0], np.log(np.maximum(columns.blank, FLOOR))[places[:-1]].cumsum()))
    solid = np.concatenate(([0.0], np.log(np.maximum(1 - columns.blank, FLOOR))[places[:-1]].cumsum()))
    widths = np.array(measure_widths(clusters))
    unit = steps / widths.sum()
    worth = np.full(steps + 1, -np.inf)
    worth[0] = 0.0
    back = np.zeros((len(clusters), steps + 1), int)
    for index, cluster in enumerate(clusters):
        low, high = max(1, int(0.3 * widths[index] * unit)), max(2, int(2.5 * widths[index] * unit) + 1)
        lengths = np.arange(low, min(high, steps) + 1)
        held = blank if cluster == " " else solid
        costs = STIFFNESS * np.log(lengths / (widths[index] * unit)) ** 2 / 2
        # Where the cluster begins, for each place where it ends and each length.
        begins = np.arange(steps + 1)[:, None] - lengths
        value = np.where(begins < 0, -np.inf, worth[begins]) + (held[:, None] - held[begins]) / fine - costs
        longest = value.argmax(1)
        best = value[np.arange(steps + 1), longest]
        back[index] = lengths[longest]
        worth = best + edge
    ends = [steps]
    for index in range(len(clusters) - 1, -1, -1):
        ends.append(ends[-1] - int(back[index, ends[-1]]))
    if ends[-1] != 0 or not np.isfinite(worth[steps]):
        ends = (steps * np.concatenate(([0.0], widths.cumsum())) / widths.sum())[::-1].tolist()
    marks = [left + (right - left) * end / steps for end in reversed(ends)]
    return list(pairwise(marks))
