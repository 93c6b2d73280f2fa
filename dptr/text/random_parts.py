"""Building blocks of random strings: a choice, digits, and templates to fill."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from dptr.text.charset import Charset

T = TypeVar("T")
Pattern = Callable[[np.random.Generator, Charset, int], str]
"""A generator of strings: (rng, charset, longest) to one string, where ``longest`` counts characters."""


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def random_digits(rng: np.random.Generator, count: int, leading_zero: bool = False) -> str:
    """``count`` random digits. The first of several digits is 0 only with ``leading_zero``."""
    low = 0 if leading_zero or count == 1 else 10 ** (count - 1)
    return f"{int(rng.integers(low, 10**count)):0{count}}"


def fill(rng: np.random.Generator, shape: str) -> str:
    """Replace each A of ``shape`` by a random letter A-Z, and each 0 by a random digit."""
    draws = rng.random(len(shape)).tolist()
    return "".join(
        [
            string.ascii_uppercase[int(u * 26)]
            if symbol == "A"
            else string.digits[int(u * 10)]
            if symbol == "0"
            else symbol
            for symbol, u in zip(shape, draws, strict=True)
        ]
    )
