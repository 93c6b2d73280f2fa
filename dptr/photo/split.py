"""Lines to words: which gaps between letters are spaces, decided by what is read on either side.

A gap that may be a space has a probability. A way to split the line is worth the product of the probabilities of its
gaps, as spaces or not, and of the confidences of its words. The best way is found by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from jaxtyping import Float

from dptr.inference.prediction import Prediction
from dptr.photo.align import align_characters
from dptr.photo.spaces import Columns
from dptr.text.direction import LineDirection, needs_reordering, to_visual, visual_order

# Chosen on the 60 photographs that research/evidence/scenes.py reads.
EAGERNESS = 1.4  # log odds for a space, added to those that the columns say: rendered lines have wider spaces
WEIGHT = 0.6  # exponent of the confidences of words, beside the probabilities of gaps
CERTAIN = 0.97  # probability of a space from which on no word runs across it
POSSIBLE = 0.01  # probability, of a column, below which it is of no gap
LONGEST = 12.0  # heights of a line that a word is long at most, unless the recognizer reads longer ones
MOST_INNER = 5  # gaps that a word may run across
LINE_ODDS = 3.0  # log odds for a space that a reading of the whole line adds, or takes off, times its confidence
NEAR = 0.15  # of the height, that the middle of a space may be outside of its gap
WORST = 1e-4  # confidence below which readings are equally bad

Span = tuple[int, int]
"""A word as the numbers of its first and last piece; pieces lie between gaps."""


@dataclass(frozen=True)
class Gaps:
    """A line cut into pieces by the gaps that may be spaces.

    Attributes:
        pieces: where each piece begins and ends, as fractions of the line's width; from left to right.
        spaces: 0 to 1, how likely the gap after each piece but the last is a space.
    """

    pieces: tuple[tuple[float, float], ...]
    spaces: tuple[float, ...]

    def bounds(self, span: Span) -> tuple[float, float]:
        """Where a word begins and ends, as fractions of the line's width."""
        return self.pieces[span[0]][0], self.pieces[span[1]][1]


def find_gaps(blank: Float[np.ndarray, " n"], height: float) -> Gaps:
    """Cut a line where a space may be.

    Args:
        blank: 0 to 1, how likely each column is of no word (``dptr.photo.spaces``), at least one column.
        height: of the line, in columns.

    Returns:
        One piece or more; the whole line if no column is of a word.
    """
    inside = np.flatnonzero(blank < 0.5)
    if not len(inside):
        return Gaps(((0.0, 1.0),), ())
    first, end = int(inside[0]), int(inside[-1]) + 1
    doubtful = np.concatenate(([False], blank[first:end] > POSSIBLE, [False]))
    sides = (first + np.flatnonzero(np.diff(doubtful.astype(int)))).tolist()
    cuts: list[tuple[int, int]] = []
    spaces: list[float] = []
    for left, right in zip(sides[::2], sides[1::2], strict=True):
        stretch = blank[left:right]
        if left == first or right == end:
            continue
        core = np.flatnonzero(stretch >= min(0.5, stretch.max()))
        cuts.append((left + int(core[0]), left + int(core[-1]) + 1))
        spaces.append(_space_probability(float(stretch.max())))
    most = max(3, round(2 * (end - first) / height))
    likely = sorted(sorted(range(len(cuts)), key=lambda gap: -spaces[gap])[:most])
    edges: list[int] = [first, *(side for gap in likely for side in cuts[gap]), end]
    pieces = tuple((edges[i] / len(blank), edges[i + 1] / len(blank)) for i in range(0, len(edges), 2))
    return Gaps(pieces, tuple(spaces[gap] for gap in likely))


def _space_probability(blank: float) -> float:
    """How likely a gap is a space whose most blank column is so with probability ``blank``; never 0 or 1."""
    odds = np.exp(EAGERNESS) * blank / max(1 - blank, 1e-4)
    return float(np.clip(odds / (1 + odds), 1e-3, 1 - 1e-3))


def keep_inner(gaps: Gaps, left: float, right: float) -> Gaps:
    """Without the pieces at either end whose middle is outside; all of them if none is inside.

    Args:
        left, right: fractions of the line's width.
    """
    inner = [index for index, (begin, end) in enumerate(gaps.pieces) if left <= (begin + end) / 2 <= right]
    if not inner:
        return gaps
    first, last = inner[0], inner[-1]
    return Gaps(gaps.pieces[first : last + 1], gaps.spaces[first:last])


def weigh_spaces(gaps: Gaps, columns: Columns, reading: Prediction, line: LineDirection = "rtl") -> Gaps:
    """The gaps, more likely spaces where a reading of the whole line has one, and less where it has none.

    Args:
        reading: of the line from its first piece to its last; not empty.
        line: the direction of a line with letters that run from right to left.
    """
    left, right = gaps.bounds((0, len(gaps.pieces) - 1))
    text = to_visual(reading.text.strip(), line=line)
    spots = align_characters(text, columns, left, right)
    near = NEAR * columns.height / len(columns.blank)
    spaces_read = [spot for spot, character in zip(spots, text, strict=True) if character == " "]
    spaces = []
    for index, probability in enumerate(gaps.spaces):
        begin, end = gaps.pieces[index][1] - near, gaps.pieces[index + 1][0] + near
        has_space = any(begin <= (spot[0] + spot[1]) / 2 <= end for spot in spaces_read)
        odds = np.log(probability / (1 - probability)) + (1 if has_space else -1) * LINE_ODDS * reading.product
        spaces.append(float(np.clip(1 / (1 + np.exp(-odds)), 1e-3, 1 - 1e-3)))
    return Gaps(gaps.pieces, tuple(spaces))


def split_reading(reading: Prediction, line: LineDirection = "rtl") -> list[Prediction]:
    """The words of a reading with spaces (``Prediction.part``), as they stand from left to right; those without
    leftward letters are spelled as they stand, too."""
    order, shown = visual_order(reading.text, line), to_visual(reading.text, line=line)
    ranks = {place: rank for rank, place in enumerate(order)}
    groups = groupby(enumerate(reading.characters), lambda each: each[1][0] == " ")
    words = [[place for place, _ in word] for is_space, word in groups if not is_space]
    words.sort(key=lambda word: min(ranks[place] for place in word))
    parts = []
    for word in words:
        characters = [reading.characters[place] for place in word]
        if not needs_reordering("".join(character for character, _ in characters)):
            word.sort(key=lambda place: ranks[place])
            characters = [(shown[ranks[place]], reading.characters[place][1]) for place in word]
        parts.append(reading.part(characters))
    return parts


def possible_words(gaps: Gaps, aspect: float, longest: float = LONGEST) -> list[Span]:
    """The words to read: every single piece, and neighbors that no certain space parts.

    Args:
        aspect: width of the line divided by its height.
        longest: width of the longest word of several pieces, in heights of the line.
    """
    spans = []
    for first in range(len(gaps.pieces)):
        for last in range(first, min(len(gaps.pieces), first + MOST_INNER + 1)):
            left, right = gaps.bounds((first, last))
            if last > first and (gaps.spaces[last - 1] >= CERTAIN or (right - left) * aspect > longest):
                break
            spans.append((first, last))
    return spans


def choose_words(gaps: Gaps, confidences: Mapping[Span, float], weight: float = WEIGHT) -> tuple[list[Span], float]:
    """The way to split a line that is worth most.

    Args:
        confidences: 0 to 1, of what is read in each span; every single piece is among them.
        weight: exponent of the confidences.

    Returns:
        The words from left to right, and the logarithm of what they are worth.
    """
    count = len(gaps.pieces)
    across = np.concatenate(([0.0], np.log1p(-np.array(gaps.spaces)).cumsum()))  # running across the first gaps
    best: list[tuple[float, Sequence[Span]]] = [(0.0, ())]
    for last in range(count):
        candidates = []
        for first in range(last + 1):
            if (first, last) in confidences:
                worth, words = best[first]
                worth += weight * float(np.log(max(confidences[first, last], WORST)))
                worth += float(across[last] - across[first])
                worth += float(np.log(gaps.spaces[first - 1])) if first else 0.0
                candidates.append((worth, (*words, (first, last))))
        best.append(max(candidates, key=lambda each: each[0]))
    return list(best[-1][1]), best[-1][0]
