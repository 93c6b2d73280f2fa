"""Restricts a reader to some characters of its model's charset: digits of a meter, capitals of a plate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64

from dptr.text.charset import Charset, show
from dptr.utils.errors import UserError


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
        """Probabilities as if the model had no other characters; they sum to 1 again.

        A decoder that reads left to right has seen its own unrestricted letters, so this is an approximation for it.
        """
        moved = self.keep * probabilities + self.gain * probabilities[..., self.other]
        return moved / np.maximum(moved.sum(-1, keepdims=True), np.finfo(np.float32).tiny)


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
