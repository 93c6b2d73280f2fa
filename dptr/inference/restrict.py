"""Restricts a reader to some characters of its model's charset: digits of a meter, capitals of a plate.

Where a picture shows another character, that is passed over: of ``$12-34`` the digits are ``1234``. Where the model may
have taken a character for another one, such as 0 for O, it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from dptr.text.charset import Charset, show
from dptr.utils.errors import UserError

LEAST_SHARE = 0.05
"""Probability of the characters that may be read, and of the end, below which a place shows another one. Chosen on
training crops (docs/LOG.md)."""


@dataclass(frozen=True, eq=False)
class Restriction:
    """Where the probability of each class goes: class c gets ``keep[c] p[c] + gain[c] p[other[c]]``, and all are
    divided by their sum.

    Attributes:
        keep: 1 for the end of the word, class 0, and for each character that may be read, else 0.
        gain: 1 for each of these whose other case may not be read, else 0.
        other: the class of the other case; of a character that has none its own.
    """

    keep: Float32[np.ndarray, " classes"]
    gain: Float32[np.ndarray, " classes"]
    other: Int64[np.ndarray, " classes"]

    def apply(self, probabilities: Float[np.ndarray, "*b classes"]) -> Float[np.ndarray, "*b classes"]:
        """Probabilities as if the model had no other characters; they sum to 1 again."""
        moved = self._move(probabilities)
        return moved / _at_least_tiny(moved.sum(-1, keepdims=True))

    def apply_by_character(
        self, rows: Float[np.ndarray, "n t classes"]
    ) -> tuple[Float[np.ndarray, "n t classes"], Bool[np.ndarray, " n"]]:
        """The same for words that were read character by character, where characters that may not be read are left out.

        A word ends where it ended before: a decoder that reads left to right says nothing behind it. Rows that were
        left out are 0, behind the others.

        Returns:
            The probabilities, and in which words a character gave way to another one than its other case, while none
            was left out: what a decoder read behind it, it read behind a character that it may not read.
        """
        moved = self._move(rows)
        share = moved.sum(-1, keepdims=True)
        best = rows.argmax(-1)
        moved[best == 0, 1:] = 0
        moved /= _at_least_tiny(share)
        inside = (best == 0).cumsum(1) == 0
        foreign = inside & (share[..., 0] < LEAST_SHARE)
        moved[foreign] = 0
        order = np.argsort(foreign, axis=1, kind="stable")
        passed_on = np.append(np.flatnonzero(self.keep), self.other[self.gain > 0])
        replaced = inside & ~np.isin(best, passed_on)
        return np.take_along_axis(moved, order[..., None], 1), replaced.any(1) & ~foreign.any(1)

    def _move(self, probabilities: Float[np.ndarray, "*b classes"]) -> Float[np.ndarray, "*b classes"]:
        return self.keep * probabilities + self.gain * probabilities[..., self.other]


def _at_least_tiny(sums: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    return np.maximum(sums, np.finfo(np.float32).tiny)


def restrict(charset: Charset, allowed: Charset) -> Restriction:
    """Read the characters of ``charset``, the model's, that ``allowed`` has.

    A character outside ``allowed`` gives its probability to its other case, where that is allowed, or to none.

    Raises:
        UserError: the model reads none of them.
    """
    kept = [character for character in charset.characters if character in allowed]
    if not kept:
        raise UserError(
            f"charset '{allowed.name}': the model reads none of its characters ({show(''.join(allowed.characters))}); "
            "pass another charset, or another model"
        )
    return keep_characters(charset, kept)


def keep_characters(charset: Charset, kept: list[str]) -> Restriction:
    """Read these characters of ``charset`` alone; see ``restrict``."""
    classes = {character: index for index, character in enumerate(charset.characters, 1)}
    other = np.arange(1 + len(charset))
    keep, gain = np.zeros((2, 1 + len(charset)), np.float32)
    keep[0] = 1
    for character in kept:
        own, case = classes[character], character.swapcase()
        keep[own] = 1
        other[own] = classes.get(case, own)
    gain[keep == 1] = 1 - keep[other[keep == 1]]
    return Restriction(keep, gain, other)
