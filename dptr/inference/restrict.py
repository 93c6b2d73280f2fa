"""Restriction of a reader to some characters of its model's charset: digits of a meter, capitals of a plate.

Other characters are skipped: the digits of ``$12-34`` are ``1234``. But if the model may have confused a character with
another one, such as 0 with O, the likeliest allowed character is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from dptr.text.charset import Charset, show
from dptr.utils.errors import UserError

LEAST_SHARE = 0.05
"""A position shows a character that is not allowed if the total probability of the allowed ones and of the end is below
this. Chosen on training crops (docs/LOG.md)."""


@dataclass(frozen=True, eq=False)
class Restriction:
    """A mapping of probabilities: class c gets ``keep[c] p[c] + gain[c] p[other[c]]``; all are divided by their sum.

    Attributes:
        keep: 1 for the end of the word (class 0) and for allowed characters, otherwise 0.
        gain: 1 for allowed characters whose other case is not allowed, otherwise 0.
        other: the class of the other case; the class itself if there is none.
    """

    keep: Float32[np.ndarray, " classes"]
    gain: Float32[np.ndarray, " classes"]
    other: Int64[np.ndarray, " classes"]

    def apply(self, probabilities: Float[np.ndarray, "*b classes"]) -> Float[np.ndarray, "*b classes"]:
        """Probabilities without the characters that are not allowed; they sum to 1."""
        mapped = self._map(probabilities)
        return mapped / _at_least_tiny(mapped.sum(-1, keepdims=True))

    def apply_by_character(
        self, rows: Float[np.ndarray, "n t classes"]
    ) -> tuple[Float[np.ndarray, "n t classes"], Bool[np.ndarray, " n"]]:
        """``apply`` for rows of characters, which also removes the characters of positions that show others.

        The end of a word does not move, since an autoregressive decoder predicts nothing after it. A certain end is
        appended for each removed row.

        Returns:
            The probabilities; and which words had a character replaced by another one than its other case, but none
            removed. The rest of such a word was predicted from a character that is not allowed.
        """
        mapped = self._map(rows)
        total = mapped.sum(-1, keepdims=True)
        best = rows.argmax(-1)
        mapped[best == 0, 1:] = 0
        mapped /= _at_least_tiny(total)
        inside = (best == 0).cumsum(1) == 0
        removed = inside & (total[..., 0] < LEAST_SHARE)
        mapped[removed] = np.arange(rows.shape[-1]) == 0
        order = np.argsort(removed, axis=1, kind="stable")
        kept_classes = np.append(np.flatnonzero(self.keep), self.other[self.gain > 0])
        replaced = inside & ~np.isin(best, kept_classes)
        return np.take_along_axis(mapped, order[..., None], 1), replaced.any(1) & ~removed.any(1)

    def _map(self, probabilities: Float[np.ndarray, "*b classes"]) -> Float[np.ndarray, "*b classes"]:
        return self.keep * probabilities + self.gain * probabilities[..., self.other]


def _at_least_tiny(sums: Float[np.ndarray, "*b"]) -> Float[np.ndarray, "*b"]:
    return np.maximum(sums, np.finfo(np.float32).tiny)


def restrict(charset: Charset, allowed: Charset) -> Restriction:
    """Restrict a model with ``charset`` to the characters of ``allowed``.

    The probability of a character outside ``allowed`` goes to its other case, if that is allowed.

    Raises:
        UserError: the charsets have no character in common.
    """
    kept_characters = [character for character in charset.characters if character in allowed]
    if not kept_characters:
        raise UserError(
            f"charset '{allowed.name}': the model reads none of its characters ({show(''.join(allowed.characters))}); "
            "pass another charset, or another model"
        )
    return keep_characters(charset, kept_characters)


def keep_characters(charset: Charset, kept: list[str]) -> Restriction:
    """Restrict a model with ``charset`` to the characters in ``kept``; see ``restrict``."""
    classes = {character: index for index, character in enumerate(charset.characters, 1)}
    other = np.arange(1 + len(charset))
    keep, gain = np.zeros((2, 1 + len(charset)), np.float32)
    keep[0] = 1
    for character in kept:
        class_index, other_case = classes[character], character.swapcase()
        keep[class_index] = 1
        other[class_index] = classes.get(other_case, class_index)
    gain[keep == 1] = 1 - keep[other[keep == 1]]
    return Restriction(keep, gain, other)
