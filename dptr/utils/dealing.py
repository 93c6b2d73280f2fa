"""Turns in proportion to weights, evenly spread: a pure function of the number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm


def deal(index: int, weights: Sequence[int]) -> tuple[int, int]:
    """Whose turn is turn ``index``, and the how many of its own.

    ``weights`` are whole numbers (``whole_weights``). After any multiple of their sum the proportions are exact. The
    first takes its share of all turns, the second its share of those left, and so on.
    """
    left = sum(weights)
    for number, weight in enumerate(weights[:-1]):
        before, after = index * weight // left, (index + 1) * weight // left
        if after > before:
            return number, before
        index, left = index - before, left - weight
    return len(weights) - 1, index


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the proportion of ``weights`` > 0, taken as the decimals they are written as."""
    exact = [Fraction(str(weight)) for weight in weights]
    unit = Fraction(gcd(*(part.numerator for part in exact)), lcm(*(part.denominator for part in exact)))
    return tuple(int(part / unit) for part in exact)
