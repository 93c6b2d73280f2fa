"""What patterns of strings are made of: a choice, digits, and shapes to fill."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from dptr.text.charset import Charset

T = TypeVar("T")
Pattern = Callable[[np.random.Generator, Charset, int], str]


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options, each as likely."""
    return options[int(rng.random() * len(options))]


def random_digits(rng: np.random.Generator, count: int, leading_zero: bool = False) -> str:
    """``count`` digits."""
    low = 0 if leading_zero or count == 1 else 10 ** (count - 1)
    return f"{int(rng.integers(low, 10**count)):0{count}}"


def fill(rng: np.random.Generator, shape: str) -> str:
    """Replace A by a capital letter and 0 by a digit."""
    draws = rng.random(len(shape)).tolist()
    return "".join(
        [
            string.ascii_uppercase[int(u * 26)] if slot == "A" else string.digits[int(u * 10)] if slot == "0" else slot
            for slot, u in zip(shape, draws, strict=True)
        ]
    )
