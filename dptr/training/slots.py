"""Memories of words that are never rendered: each character's slot is borrowed from a picture of another word.

Behind an FMU, slot i of the memory shows the i-th character of the picture, and some of what stands beside it. So a
slot serves another word best where the same character stands at the same place between the same neighbors. Speech
synthesis calls this unit selection (Hunt and Black, "Unit selection in a concatenative speech synthesis system", ICASSP
1996). The weights below were chosen on three lists of words; a cost for joining slots of different pictures brought
nothing (docs/LOG.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

NEIGHBOR, SECOND_NEIGHBOR = 1.0, 0.3  # cost of each neighbor that differs, next to the character and beyond it
LENGTH, LARGEST_DIFFERENCE = 0.15, 6  # cost of each character by which the lengths differ, and how many are counted
JITTER = 0.3  # largest random cost, so that a word borrows from other pictures each time
REACH = 2  # neighbors on each side that are compared
_SIDES = np.array([-2, -1, 1, 2])
_WEIGHTS = np.array([SECOND_NEIGHBOR, NEIGHBOR, NEIGHBOR, SECOND_NEIGHBOR])  # of the neighbors at _SIDES


class SlotBank:
    """Slots of pictures of known words, from which memories of other words are composed."""

    def __init__(self, memory: Sequence[Float[Tensor, "q d"]], words: Sequence[str]) -> None:
        """
        Args:
            memory: the slots of a picture of each word; q >= the longest word.
            words: in the order of the slots (``Tokenizer.write``).
        """
        self._memory = memory
        self._codes = _contexts(words)
        self._lengths = np.array([len(word) for word in words])
        rows: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        for row, word in enumerate(words):
            for place, character in enumerate(word):
                rows[place, character].append(row)
        self._rows = {key: np.array(found) for key, found in rows.items()}

    def find_gap(self, word: str) -> str:
        """Why no memory of ``word`` can be composed; empty if one can."""
        for place, character in enumerate(word):
            if (place, character) not in self._rows:
                return f"no picture of another word shows '{character}' as character {place + 1}"
        if not (self._lengths == len(word)).any():
            return f"no picture shows a word of {len(word)} characters"
        return ""

    def compose(self, word: str, rng: np.random.Generator) -> Float[Tensor, "q d"]:
        """A memory of ``word``, non-empty and in the order of the slots, of other slots with each call.

        The slots behind the word are those of a picture of a word of the same length: that of the last character if it
        is one.

        Raises:
            ValueError: see ``find_gap``.
        """
        if gap := self.find_gap(word):
            raise ValueError(f"{word!r}: {gap}")
        context = _contexts([word])[0]
        chosen = [self._choose(word, place, context, rng) for place in range(len(word))]
        last = chosen[-1]
        if self._lengths[last] != len(word):
            last = int(rng.choice(np.flatnonzero(self._lengths == len(word))))
        memory = self._memory[last].clone()
        for place, row in enumerate(chosen):
            memory[place] = self._memory[row][place]
        return memory

    def _choose(self, word: str, place: int, context: Int64[np.ndarray, " w"], rng: np.random.Generator) -> int:
        """The row whose slot ``place`` fits ``word`` best; ``context`` is that of the word."""
        rows = self._rows[place, word[place]]
        columns = place + REACH + _SIDES
        differs = self._codes[rows[:, None], columns] != context[columns]
        too_long = np.minimum(np.abs(self._lengths[rows] - len(word)), LARGEST_DIFFERENCE)
        cost = differs @ _WEIGHTS + LENGTH * too_long + JITTER * rng.random(len(rows))
        return int(rows[cost.argmin()])


def _contexts(words: Sequence[str]) -> Int64[np.ndarray, "n w"]:
    """Code points of each word, after ``REACH`` zeros and before as many and more."""
    codes = np.zeros((len(words), max(map(len, words), default=0) + 2 * REACH), np.int64)
    for row, word in enumerate(words):
        codes[row, REACH : REACH + len(word)] = [ord(character) for character in word]
    return codes
