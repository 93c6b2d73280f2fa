"""Confidence of readings: temperature scaling, and the confidence of a word as a model's card calibrates it.

``dptr.evaluation.calibration`` fits both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64

from dptr.utils.errors import UserError

UNCOUNTED = "\n"  # marks ignored characters in ``WordConfidence.counted_as``; no charset has it
_END, _UNCOUNTED = 0, 1  # groups of the end and of ignored characters; those of other characters follow


def apply_temperature(
    probabilities: Float[np.ndarray, "*b classes"], temperature: float
) -> Float[np.ndarray, "*b classes"]:
    """Turn softmax(logits) into softmax(logits / ``temperature``); the order of the classes stays the same.

    Args:
        probabilities: 0 to 1, summing to 1 over the classes.
        temperature: > 0; above 1 it flattens the distribution, below 1 it sharpens it.
    """
    if temperature == 1:
        return probabilities
    scaled = probabilities ** (1 / temperature)
    return scaled / scaled.sum(-1, keepdims=True)


@dataclass(frozen=True)
class WordConfidence:
    """The probability that a word is right under a protocol that equates some characters and ignores others.

    Word accuracy ignores case and signs. A reader that is unsure between ``o`` and ``O`` is sure of such a word. So the
    confidence of a word of n characters is ``p ** (exponent * (1 + n) ** -length)``, where p is the probability of all
    readings that are equal to the word under the protocol:

    - for a CTC network, the sum over all paths that spell one of them (``path_probabilities``);
    - for others, the product over the positions of the word (``product``).

    This is ours, except for the sum over paths. docs/evidence/confidence.md has what it gains.

    Attributes:
        exponent: > 0; above 1 it lowers confidences, below 1 it raises them.
        counted_as: for each character of the model, in order, the representative of the characters equal to it, or
            ``UNCOUNTED`` for ignored ones; empty = all characters are distinct.
        length: 0 to 1. At 0 the length of the word has no effect. Above 0 it raises confidences of long words: errors
            in a line are correlated, so p is lower than the share of lines that are right. At 1 the confidence is about
            the geometric mean over characters.
        of_paths: whether p is the sum over paths. Cards of earlier versions lack this and ``length``.
    """

    exponent: float = 1.0
    counted_as: str = ""
    length: float = 0.0
    of_paths: bool = False

    @classmethod
    def from_card(cls, card: Mapping[str, Any], characters: int) -> WordConfidence | None:
        """Read ``confidence`` from the card of a model with this number of characters; None if the card has none.

        Raises:
            UserError: the entry is not one that ``to_card`` writes.
        """
        if "confidence" not in card:
            return None
        try:
            entry = card["confidence"]
            exponent, counted_as = float(entry["exponent"]), str(entry["counted_as"])
            length, of_paths = float(entry.get("length", 0.0)), entry.get("of_paths", False)
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
        """p of a word from the probabilities of its positions, 0 to 1: a product over positions of sums over classes.

        - At a counted character: all characters that are equal to it;
        - at an ignored character: all ignored characters;
        - after the last counted character: all ignored characters, and the end.

        Args:
            word: probabilities at the characters of the word, and at its end if it has one; the likeliest class of each
                row is the one that was read.
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
        """p of words that a CTC network read, 0 to 1 each: the sum over all paths that spell a word equal to it.

        It is computed with the forward variables of Graves et al., "Connectionist Temporal Classification", ICML 2006,
        section 4.1. Here a label has a state for each character that is equal to it: ``a`` twice in a row is one
        letter, but ``a`` and ``A`` in a row are two. Ignored characters are blanks.

        Args:
            paths: for each position, the probabilities of the blank (class 0) and of the characters.
            words: the classes of the characters of each word.
        """
        groups = self._groups if self.counted_as else np.append(_END, np.arange(1, paths.shape[2]) + _UNCOUNTED)
        members = self._members if self.counted_as else np.append([0, 0], np.arange(1, paths.shape[2]))[:, None]
        read = (groups[np.asarray(word, np.int64)] for word in words)
        labels, lengths = _pad([own[own > _UNCOUNTED] for own in read])
        classes = members[labels]
        classes = classes[..., : max(1, int((classes > 0).sum(-1).max(initial=0)))]
        rows = np.arange(len(words))[:, None, None]
        shown = np.ascontiguousarray(np.moveaxis(paths[rows, :, classes], -1, 0), np.float64)
        shown *= classes > 0
        blank = paths[..., groups <= _UNCOUNTED].sum(-1, dtype=np.float64).T
        return np.minimum(_sum_paths(labels, lengths, shown, blank), 1.0)

    def fold(self, symbols: Sequence[int]) -> tuple[int, ...]:
        """What the protocol compares of a word: the groups of its counted characters.

        Args:
            symbols: the classes of its characters.
        """
        if not self.counted_as:
            return tuple(symbols)
        return tuple(group for group in self._groups[np.asarray(symbols, np.int64)].tolist() if group > _UNCOUNTED)

    def scale(self, probability: float, characters: int) -> float:
        """The confidence, 0 to 1, from p and the word's number of characters."""
        return float(probability ** (self.exponent * (1 + characters) ** -self.length))

    @cached_property
    def _members(self) -> Int64[np.ndarray, "groups members"]:
        """The classes of each group of equal characters, padded with 0."""
        found = [np.flatnonzero(self._groups == group) for group in range(self._groups.max() + 1)]
        members = np.zeros((len(found), max(map(len, found))), np.int64)
        for group in range(_UNCOUNTED + 1, len(found)):
            members[group, : len(found[group])] = found[group]
        return members

    @cached_property
    def _groups(self) -> Int64[np.ndarray, " classes"]:
        """The group of each class: classes of equal characters have the same."""
        characters = np.array(list(self.counted_as))
        numbers = np.unique(characters, return_inverse=True)[1] + _UNCOUNTED + 1
        return np.concatenate([[_END], np.where(characters == UNCOUNTED, _UNCOUNTED, numbers)])


def _pad(labels: Sequence[Int64[np.ndarray, " length"]]) -> tuple[Int64[np.ndarray, "n l"], Int64[np.ndarray, " n"]]:
    """Labels in rows, padded with 0, and their lengths."""
    lengths = np.array([len(own) for own in labels], np.int64)
    padded = np.zeros((len(labels), lengths.max(initial=0)), np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate([*labels, np.empty(0, np.int64)])
    return padded, lengths


def _sum_paths(
    labels: Int64[np.ndarray, "n l"],
    lengths: Int64[np.ndarray, " n"],
    shown: Float64[np.ndarray, "t n l members"],
    blank: Float64[np.ndarray, "t n"],
) -> Float64[np.ndarray, " n"]:
    """The sum over all paths of t positions that spell the labels, by the forward variables of CTC.

    Args:
        labels: groups of characters, 0 after the last; equal ones have equal ``shown``.
        shown: the probability of each member of a label's group; 0 where it has fewer.
        blank: the probability of a blank.
    """
    twice = np.nonzero((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] > 0))
    again, before = (twice[0], twice[1] + 1), twice
    spelled = np.zeros(shown.shape[1:])  # forward variables of paths that end in a label, by label and character
    done = np.zeros((len(labels), labels.shape[1] + 1))  # of paths that end in a blank, by number of labels before
    done[:, 0] = 1.0
    sums = np.zeros_like(done)
    for shown_here, blank_here in zip(shown, blank, strict=True):
        done += sums
        arrived = spelled + done[:, :-1, None]
        arrived[again] -= spelled[before]  # a repeat of the same character is not a second letter
        spelled = np.maximum(arrived, 0.0, out=arrived) if len(twice[0]) else arrived
        spelled *= shown_here
        done *= blank_here[:, None]
        spelled.sum(-1, out=sums[:, 1:])
    rows = np.arange(len(labels))
    return done[rows, lengths] + sums[rows, lengths]
