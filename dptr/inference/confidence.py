"""How sure a reading is: probabilities at a temperature, and the confidence of a word as a model's card calibrates it.

``dptr.evaluation.calibration`` fits both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from dptr.utils.errors import UserError

UNCOUNTED = "\n"  # in ``WordConfidence.counted_as``; no charset holds it
_END, _UNCOUNTED = 0, 1  # groups; those of characters that count come behind


def apply_temperature(
    probabilities: Float[np.ndarray, "*b classes"], temperature: float
) -> Float[np.ndarray, "*b classes"]:
    """Turn softmax(logits) into softmax(logits / ``temperature``); the order of the classes stays the same.

    Args:
        probabilities: 0 to 1, summing to 1 over the classes.
        temperature: > 0; above 1 the probabilities move together, below 1 apart.
    """
    if temperature == 1:
        return probabilities
    scaled = probabilities ** (1 / temperature)
    return scaled / scaled.sum(-1, keepdims=True)


@dataclass(frozen=True)
class WordConfidence:
    """How likely a word is right, where some characters count as others and some do not count.

    Word accuracy takes letters of both cases for the same and leaves signs out. A reader that wavers between ``o`` and
    ``O`` is then sure of the word, though of neither letter. So the confidence of a word is ``(p_1 p_2 ... p_end) **
    exponent``, where p_i is the probability of whatever counts as what was read at place i:

    - for a character that counts, all characters that count as it;
    - for one that does not count, all that do not;
    - behind the last character that counts, all that do not count, and the end.

    Ours; what it gains over the product of the likeliest characters' probabilities is in docs/evidence/accuracy.md.

    Attributes:
        exponent: > 0; above 1 it lowers confidences, below 1 it raises them.
        counted_as: for each character of the model, in order, the one that it counts as, and ``UNCOUNTED`` for those
            that do not count; empty = each counts as itself.
    """

    exponent: float = 1.0
    counted_as: str = ""

    @classmethod
    def from_card(cls, card: Mapping[str, Any], characters: int) -> WordConfidence | None:
        """What the card of a model with so many characters says under ``confidence``; None where it says nothing.

        Raises:
            UserError: it says something else than ``to_card`` writes.
        """
        if "confidence" not in card:
            return None
        try:
            exponent, counted_as = float(card["confidence"]["exponent"]), str(card["confidence"]["counted_as"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"model card: 'confidence' is damaged ({error!r}); copy the model anew") from error
        if not 0 < exponent < np.inf or len(counted_as) not in (0, characters):
            raise UserError(
                f"model card: 'confidence' has the exponent {exponent:g} and {len(counted_as)} characters; the model "
                f"has {characters}, and the exponent must be above 0; copy the model anew"
            )
        return cls(exponent, counted_as)

    def to_card(self) -> dict[str, Any]:
        """``{"confidence": {"exponent": ..., "counted_as": ...}}``, for the model card."""
        return {"confidence": {"exponent": round(self.exponent, 6), "counted_as": self.counted_as}}

    def product(self, word: Float[np.ndarray, "t classes"]) -> float:
        """The product above, 0 to 1, before the exponent.

        Args:
            word: the probabilities of the characters that were read and of the end, where there is one; the likeliest
                class of each row is the one that was read.
        """
        if not self.counted_as:
            return float(word.max(-1).astype(np.float64).prod())
        read = self._groups[word.argmax(-1)]
        same = self._groups == read[:, None]
        counted = np.flatnonzero(read > _UNCOUNTED)
        same[counted[-1] + 1 if len(counted) else 0 :] = self._groups <= _UNCOUNTED
        return float(np.minimum((word * same).sum(-1, dtype=np.float64), 1.0).prod())

    def scale(self, product: float) -> float:
        """The confidence, 0 to 1, from a product of probabilities."""
        return float(product**self.exponent)

    @cached_property
    def _groups(self) -> Int64[np.ndarray, " classes"]:
        """Of each class what it counts as, as a number."""
        characters = np.array(list(self.counted_as))
        numbers = np.unique(characters, return_inverse=True)[1] + _UNCOUNTED + 1
        return np.concatenate([[_END], np.where(characters == UNCOUNTED, _UNCOUNTED, numbers)])
