"""Locate each character of a line, from its text, typical widths of letters, and the edges that a network sees."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dptr.photo.spaces import Columns
from dptr.photo.widths import measure_widths
from dptr.text.unicode import graphemes

STIFFNESS = 4.0  # weight of typical widths, relative to the output of the network
FLOOR = 0.02  # lower probabilities of the network count as this one


def align_characters(text: str, columns: Columns, left: float, right: float) -> list[tuple[float, float]]:
    """Locate the characters of a text between two places of a line.

    The characters of a grapheme cluster share one place: a vowel sign may be drawn before, behind, or around its
    letter, and letters that are joined into one sign have no places of their own. Dynamic programming chooses the ends
    of all clusters together. It prefers ends where the network sees one letter end and the next begin, spaces over
    blank columns, and clusters with typical widths relative to each other.

    Args:
        text: at least one character, from left to right; it may contain spaces.
        left, right: the start of the first character and the end of the last, in fractions of the line's width.

    Returns:
        The start and the end of each character, in fractions of the line's width.
    """
    clusters = graphemes(text)
    spots = _align(clusters, columns, left, right)
    return [spot for spot, cluster in zip(spots, clusters, strict=True) for _ in cluster]


def _align(clusters: Sequence[str], columns: Columns, left: float, right: float) -> list[tuple[float, float]]:
    column_count = len(columns.blank)
    start = min(max(round(left * column_count), 0), column_count)
    # Steps are finer than the columns if there are many characters.
    substeps = max(1, -(-3 * len(clusters) // max(1, round(right * column_count) - start)))
    steps = max(len(clusters), round((right - left) * column_count) * substeps)
    columns_of_steps = (start + (np.arange(steps + 1)) / substeps).clip(0, column_count - 1).astype(int)
    edge = np.log(np.maximum(np.maximum(columns.edges, columns.blank), FLOOR))[columns_of_steps]
    blank = np.concatenate(([0.0], np.log(np.maximum(columns.blank, FLOOR))[columns_of_steps[:-1]].cumsum()))
    ink = np.concatenate(([0.0], np.log(np.maximum(1 - columns.blank, FLOOR))[columns_of_steps[:-1]].cumsum()))
    widths = np.array(measure_widths(clusters))
    unit = steps / widths.sum()
    score = np.full(steps + 1, -np.inf)
    score[0] = 0.0
    best_lengths = np.zeros((len(clusters), steps + 1), int)
    for index, cluster in enumerate(clusters):
        low, high = max(1, int(0.3 * widths[index] * unit)), max(2, int(2.5 * widths[index] * unit) + 1)
        lengths = np.arange(low, min(high, steps) + 1)
        inside = blank if cluster == " " else ink
        costs = STIFFNESS * np.log(lengths / (widths[index] * unit)) ** 2 / 2
        # The step where the cluster begins, for each step where it ends and each length.
        begins = np.arange(steps + 1)[:, None] - lengths
        scores = np.where(begins < 0, -np.inf, score[begins]) + (inside[:, None] - inside[begins]) / substeps - costs
        choice = scores.argmax(1)
        best = scores[np.arange(steps + 1), choice]
        best_lengths[index] = lengths[choice]
        score = best + edge
    ends = [steps]
    for index in range(len(clusters) - 1, -1, -1):
        ends.append(ends[-1] - int(best_lengths[index, ends[-1]]))
    if ends[-1] != 0 or not np.isfinite(score[steps]):
        ends = (steps * np.concatenate(([0.0], widths.cumsum())) / widths.sum())[::-1].tolist()
    boundaries = [left + (right - left) * end / steps for end in reversed(ends)]
    return list(pairwise(boundaries))
