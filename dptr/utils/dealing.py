"""Deterministic weighted round robin: turns in proportion to weights, evenly spread."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm


def deal(index: int, weights: Sequence[int]) -> tuple[int, int]:
    """Which participant has turn ``index``, and how many turns it had before.

    After any multiple of the sum of the weights, the turns are exactly in proportion. The first participant takes its
    share of all turns, the second its share of the remaining turns, and so on.

    Args:
        index: number of the turn, from 0.
        weights: one whole number for each participant (``whole_weights``).
    """
    left = sum(weights)
    for number, weight in enumerate(weights[:-1]):
        before, after = index * weight // left, (index + 1) * weight // left
        if after > before:
            return number, before
        index, left = index - before, left - weight
    return len(weights) - 1, index


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in proportion to ``weights`` > 0, whose decimal notation is taken as exact."""
    exact = [Fraction(str(weight)) for weight in weights]
    unit = Fraction(gcd(*(part.numerator for part in exact)), lcm(*(part.denominator for part in exact)))
    return tuple(int(part / unit) for part in exact)
