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
        """p of words that a CTC network read, 0 to 1 each: the sum over all paths that spell what counts as the word.

        These are the forward variables of Graves et al., "Connectionist Temporal Classification", ICML 2006, section
        4.1, where a label has a state for each character that counts as it: ``a`` twice in a row is one letter, ``a``
        and ``A`` in a row are two. Characters that do not count are blanks.

        Args:
            paths: for each position the probabilities of the blank (class 0) and of the characters.
            words: the classes of the characters of each word.
        """
        groups = self._groups if self.counted_as else np.append(_END, np.arange(1, paths.shape[2]) + _UNCOUNTED)
        read = [own[own > _UNCOUNTED] for own in (groups[np.asarray(word, np.int64)] for word in words)]
        lengths = np.array([len(own) for own in read], np.int64)
        labels = np.zeros((len(words), lengths.max(initial=0)), np.int64)
        labels[np.arange(labels.shape[1]) < lengths[:, None]] = np.concatenate([*read, np.empty(0, np.int64)])
        members = self._members if self.counted_as else np.append([0, 0], np.arange(1, paths.shape[2]))[:, None]
        classes = members[labels]
        classes = classes[..., : max(1, int((classes > 0).sum(-1).max(initial=0)))]
        rows = np.arange(len(words))
        shown = np.ascontiguousarray(np.moveaxis(paths[rows[:, None, None], :, classes], -1, 0), np.float64)
        shown *= classes > 0
        blank = paths[..., groups <= _UNCOUNTED].sum(-1, dtype=np.float64).T[..., None]
        twice = np.nonzero((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0))
        again, before = (twice[0], twice[1] + 1), twice
        spelled = np.zeros(classes.shape)  # by label, the last one, and the character that shows it
        done = np.zeros((len(words), labels.shape[1] + 1))  # by the number of labels, with a blank behind them
        done[:, 0] = 1.0
        sums = np.zeros_like(done)
        for place in range(paths.shape[1]):
            done += sums
            arrived = spelled + done[:, :-1, None]
            arrived[again] -= spelled[before]  # the same character goes on: no second letter
            spelled = np.maximum(arrived, 0.0, out=arrived) if len(twice[0]) else arrived
            spelled *= shown[place]
            done *= blank[place]
            spelled.sum(-1, out=sums[:, 1:])
        return np.minimum(done[rows, lengths] + sums[rows, lengths], 1.0)

    def scale(self, probability: float, characters: int) -> float:
        """The confidence, 0 to 1, from p and the number of characters of the word."""
        return float(probability ** (self.exponent * (1 + characters) ** -self.length))

    @cached_property
    def _members(self) -> Int64[np.ndarray, "groups members"]:
        """The classes of each group of characters that count, filled up with 0."""
        found = [np.flatnonzero(self._groups == group) for group in range(self._groups.max() + 1)]
        members = np.zeros((len(found), max(map(len, found))), np.int64)
        for group in range(_UNCOUNTED + 1, len(found)):
            members[group, : len(found[group])] = found[group]
        return members

    @cached_property
    def _groups(self) -> Int64[np.ndarray, " classes"]:
        """Of each class what it counts as, as a number."""
        characters = np.array(list(self.counted_as))
        numbers = np.unique(characters, return_inverse=True)[1] + _UNCOUNTED + 1
        return np.concatenate([[_END], np.where(characters == UNCOUNTED, _UNCOUNTED, numbers)])
