"""Split lines into words: the readings on both sides of a gap between letters help to decide whether it is a space.

Each gap that may be a space has a probability. The score of a split is the product of the probabilities of its gaps, as
spaces or not, and of the confidences of its words, raised to ``WEIGHT``. Dynamic programming finds the best split.
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
EAGERNESS = 1.4  # added to the log odds of a space from the columns, since rendered lines have wider spaces
WEIGHT = 0.6  # exponent of the confidences of words, relative to the probabilities of gaps
CERTAIN = 0.97  # no word runs across a gap that is a space with at least this probability
POSSIBLE = 0.01  # columns with a lower blank probability belong to no gap
LONGEST = 12.0  # line heights; longest word of several pieces, unless the recognizer reads longer ones
MOST_INNER = 5  # gaps that a word may run across
LINE_ODDS = 3.0  # log odds of a space that the reading of the whole line adds or subtracts, times its confidence
NEAR = 0.15  # share of the height by which the center of a space may lie outside its gap
WORST = 1e-4  # lower confidences count as this one

Span = tuple[int, int]
"""A candidate word: the indices of its first and its last piece. Pieces lie between gaps."""


@dataclass(frozen=True)
class Gaps:
    """A line, cut into pieces by the gaps that may be spaces.

    Attributes:
        pieces: the start and the end of each piece, as fractions of the line's width; from left to right.
        spaces: 0 to 1, the probability that the gap after each piece but the last is a space.
    """

    pieces: tuple[tuple[float, float], ...]
    spaces: tuple[float, ...]

    def bounds(self, span: Span) -> tuple[float, float]:
        """The start and the end of a word, as fractions of the line's width."""
        return self.pieces[span[0]][0], self.pieces[span[1]][1]


def find_gaps(blank: Float[np.ndarray, " n"], height: float) -> Gaps:
    """Cut a line at the gaps that may be spaces.

    Args:
        blank: 0 to 1, the probability that each column belongs to no word (``dptr.photo.spaces``); at least one column.
        height: of the line, in columns.

    Returns:
        At least one piece; the whole line if no column belongs to a word.
    """
    inside = np.flatnonzero(blank < 0.5)
    if not len(inside):
        return Gaps(((0.0, 1.0),), ())
    first, end = int(inside[0]), int(inside[-1]) + 1
    may_be_blank = np.concatenate(([False], blank[first:end] > POSSIBLE, [False]))
    boundaries = (first + np.flatnonzero(np.diff(may_be_blank.astype(int)))).tolist()
    cuts: list[tuple[int, int]] = []
    spaces: list[float] = []
    for left, right in zip(boundaries[::2], boundaries[1::2], strict=True):
        gap_blank = blank[left:right]
        if left == first or right == end:
            continue
        core = np.flatnonzero(gap_blank >= min(0.5, gap_blank.max()))
        cuts.append((left + int(core[0]), left + int(core[-1]) + 1))
        spaces.append(_space_probability(float(gap_blank.max())))
    most_gaps = max(3, round(2 * (end - first) / height))
    likely_gaps = sorted(sorted(range(len(cuts)), key=lambda gap: -spaces[gap])[:most_gaps])
    edges: list[int] = [first, *(side for gap in likely_gaps for side in cuts[gap]), end]
    pieces = tuple((edges[i] / len(blank), edges[i + 1] / len(blank)) for i in range(0, len(edges), 2))
    return Gaps(pieces, tuple(spaces[gap] for gap in likely_gaps))


def _space_probability(blank: float) -> float:
    """The probability that a gap is a space, from the probability of its most blank column; never 0 or 1."""
    odds = np.exp(EAGERNESS) * blank / max(1 - blank, 1e-4)
    return float(np.clip(odds / (1 + odds), 1e-3, 1 - 1e-3))


def keep_inner(gaps: Gaps, left: float, right: float) -> Gaps:
    """Remove the pieces at both ends whose center is outside a range; if no center is inside, keep all pieces.

    Args:
        left, right: the range, in fractions of the line's width.
    """
    inner = [index for index, (begin, end) in enumerate(gaps.pieces) if left <= (begin + end) / 2 <= right]
    if not inner:
        return gaps
    first, last = inner[0], inner[-1]
    return Gaps(gaps.pieces[first : last + 1], gaps.spaces[first:last])


def weigh_spaces(gaps: Gaps, columns: Columns, reading: Prediction, line: LineDirection = "rtl") -> Gaps:
    """Raise the probabilities of gaps where the reading of the whole line has a space, and lower those of the others.

    Args:
        reading: of the line, from its first piece to its last; not blank.
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
    """The words of a reading with spaces (``Prediction.part``), in the order in which they stand, from left to right.

    Words without right-to-left letters are also spelled as they appear from left to right.
    """
    order, visual_text = visual_order(reading.text, line), to_visual(reading.text, line=line)
    ranks = {place: rank for rank, place in enumerate(order)}
    groups = groupby(enumerate(reading.characters), lambda each: each[1][0] == " ")
    words = [[place for place, _ in word] for is_space, word in groups if not is_space]
    words.sort(key=lambda word: min(ranks[place] for place in word))
    parts = []
    for word in words:
        characters = [reading.characters[place] for place in word]
        if not needs_reordering("".join(character for character, _ in characters)):
            word.sort(key=lambda place: ranks[place])
            characters = [(visual_text[ranks[place]], reading.characters[place][1]) for place in word]
        parts.append(reading.part(characters))
    return parts


def possible_words(gaps: Gaps, aspect: float, longest: float = LONGEST) -> list[Span]:
    """The candidate words: each single piece, and adjacent pieces without a certain space between them.

    Args:
        aspect: width / height of the line.
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
    """Find the split of a line with the highest score.

    Args:
        confidences: 0 to 1, of the reading of each span; all single pieces are included.
        weight: exponent of the confidences.

    Returns:
        The words from left to right, and the logarithm of the score.
    """
    count = len(gaps.pieces)
    # Before each gap, the log probability that none of the earlier gaps is a space.
    log_joined = np.concatenate(([0.0], np.log1p(-np.array(gaps.spaces)).cumsum()))
    best: list[tuple[float, Sequence[Span]]] = [(0.0, ())]
    for last in range(count):
        candidates = []
        for first in range(last + 1):
            if (first, last) in confidences:
                score, words = best[first]
                score += weight * float(np.log(max(confidences[first, last], WORST)))
                score += float(log_joined[last] - log_joined[first])
                score += float(np.log(gaps.spaces[first - 1])) if first else 0.0
                candidates.append((score, (*words, (first, last))))
        best.append(max(candidates, key=lambda each: each[0]))
    return list(best[-1][1]), best[-1][0]
