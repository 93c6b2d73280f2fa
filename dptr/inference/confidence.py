"""How sure a reading is: probabilities at a temperature, and the confidence of a word as a model's card calibrates it.

``dptr.evaluation.calibration`` fits both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    ``O`` is then sure of the word, though of neither letter. So the confidence of a word of n characters is
    ``p ** (exponent * (1 + n) ** -length)``, where p is the probability of all readings that count as the word:

    - of a CTC network, the sum over all paths that spell one of them (``path_probabilities``);
    - of others, the product over the places of the word (``product``).

    Ours, but for the sum over paths. What it gains is in docs/evidence/confidence.md.

    Attributes:
        exponent: > 0; above 1 it lowers confidences, below 1 it raises them.
        counted_as: for each character of the model, in order, the one that it counts as, and ``UNCOUNTED`` for those
            that do not count; empty = each counts as itself.
        length: 0 to 1. At 0 p alone counts. Above it long words gain: errors of one line come together, and p is lower
            than the share of lines that are right. At 1 it is about the mean by character that counts.
        of_paths: whether p is the sum over paths. A card without it, or without ``length``, is of an earlier version.
    """

    exponent: float = 1.0
    counted_as: str = ""
    length: float = 0.0
    of_paths: bool = False

    @classmethod
    def from_card(cls, card: Mapping[str, Any], characters: int) -> WordConfidence | None:
        """What the card of a model with so many characters says under ``confidence``; None where it says nothing.

        Raises:
            UserError: it says something else than ``to_card`` writes.
        """
        if "confidence" not in card:
            return None
        try:
            held = card["confidence"]
            exponent, counted_as = float(held["exponent"]), str(held["counted_as"])
            length, of_paths = float(held.get("length", 0.0)), held.get("of_paths", False)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"model card: 'confidence' is damaged ({error!r}); copy the model anew") from error
        if not (0 < exponent < np.inf and 0 <= length <= 1) or len(counted_as) not in (0, characters):
            raise UserError(
                f"model card: 'confidence' has the exponent {exponent:g}, the length {length:g} and {len(counted_as)} "
                f"characters; the model has {characters}, the exponent must be above 0, and the length 0 to 1; copy "
                "the model anew"
            )
        return cls(exponent, counted_as, length, bool(of_paths))

    def to_card(self) -> dict[str, Any]:
        """``{"confidence": {"exponent": ..., "counted_as": ..., "length": ..., "of_paths": ...}}``, for the card."""
        numbers = {"exponent": round(self.exponent, 6), "length": round(self.length, 6)}
        return {"confidence": {**numbers, "counted_as": self.counted_as, "of_paths": self.of_paths}}

    def product(self, word: Float[np.ndarray, "t classes"]) -> float:
        """p of a word that was read place by place, 0 to 1: the product of the probabilities of whatever counts as what
        was read there.

        - For a character that counts, all characters that count as it;
        - for one that does not count, all that do not;
        - behind the last character that counts, all that do not count, and the end.

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

    def path_probabilities(
        self, paths: Float[np.ndarray, "n t classes"], words: Sequence[Sequence[int]]
    ) -> Float[np.ndarray, " n"]:
        """p of words that a CTC network read, 0 to 1 each: the sum over their paths.

        These are the forward variables of Graves et al., "Connectionist Temporal Classification", ICML 2006, section
        4.1, with the characters that count as one as one label, and those that do not count as blanks. Neighbors that
        count as the same but are not, as in ``Aa``, are labels of their own: a path goes from the one to the other
        without a blank between.

        Args:
            paths: for each position the probabilities of the blank (class 0) and of the characters.
            words: the classes of the characters of each word.
        """
        labels = [self._labels(word) for word in words]
        states = 1 + 2 * max(map(len, labels), default=0)
        shown = np.zeros((len(words), paths.shape[1], states))
        steps = np.zeros((len(words), states), bool)  # into which states a path comes from the label before
        for row, (path, own) in enumerate(zip(paths, labels, strict=True)):
            for place, classes in enumerate(own):
                shown[row, :, 2 * place + 1] = path[:, classes].sum(1, dtype=np.float64)
                steps[row, 2 * place + 1] = place > 0 and not np.array_equal(classes, own[place - 1])
            shown[row, :, : 2 * len(own) + 1 : 2] = path[:, self._blanks].sum(1, dtype=np.float64)[:, None]
        reached = np.zeros((len(words), states))
        reached[:, 0] = 1.0
        for place in range(paths.shape[1]):
            arrived = reached.copy()
            arrived[:, 1:] += reached[:, :-1]
            arrived[:, 2:] += steps[:, 2:] * reached[:, :-2]
            reached = arrived * shown[:, place]
        rows, last = np.arange(len(words)), 2 * np.array([len(own) for own in labels], np.int64)
        return np.minimum(reached[rows, last] + (last > 0) * reached[rows, last - 1], 1.0)

    def scale(self, probability: float, characters: int) -> float:
        """The confidence, 0 to 1, from p and the number of characters of the word."""
        return float(probability ** (self.exponent * (1 + characters) ** -self.length))

    def _labels(self, word: Sequence[int]) -> list[Int64[np.ndarray, " members"]]:
        """The classes of each label of a word."""
        if not self.counted_as:
            return [np.array([symbol]) for symbol in word]
        groups = self._groups[np.asarray(word, np.int64)]
        labels = []
        for place, (symbol, group) in enumerate(zip(word, groups.tolist(), strict=True)):
            beside = [other for other in (place - 1, place + 1) if 0 <= other < len(word) and groups[other] == group]
            if group > _UNCOUNTED:
                alone = any(word[other] != symbol for other in beside)
                labels.append(np.array([symbol]) if alone else np.flatnonzero(self._groups == group))
        return labels

    @cached_property
    def _blanks(self) -> Int64[np.ndarray, " members"]:
        """The classes that a path shows where nothing counts."""
        return np.flatnonzero(self._groups <= _UNCOUNTED) if self.counted_as else np.array([_END])

    @cached_property
    def _groups(self) -> Int64[np.ndarray, " classes"]:
        """Of each class what it counts as, as a number."""
        characters = np.array(list(self.counted_as))
        numbers = np.unique(characters, return_inverse=True)[1] + _UNCOUNTED + 1
        return np.concatenate([[_END], np.where(characters == UNCOUNTED, _UNCOUNTED, numbers)])
