"""Constrained reading with autoregressive decoders: beam search, repeated with a wider beam if it was not exact.

The *language* of an automaton is the set of words that it accepts (those of a pattern or a lexicon). The probability of
a word is the product of those of its characters, each given the ones before it, and of the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from dptr.inference.restrict import Restriction
from dptr.inference.trellis import FoundWord

WIDTHS = 8, 64
"""Widths of the beam: at first, and for crops in which a likelier word may have been discarded."""

HOPELESS = 0.9  # a crop with this probability of words outside the language is not searched again


@dataclass(frozen=True, eq=False)
class Rules:
    """The automaton and the probabilities of a search; ``dptr.models.decoders.search.Guide`` is the same in tensors.

    Attributes:
        next: the state after each class in each state, -1 = not allowed. State 0 is the start. The last state is the
            end of a word: class 0 leads to it, and stays in it.
        missing: the least number of characters from each state until a word may end; -1 for the last state.
        restriction: of the probabilities of each step.
        temperature: > 0, of the softmax.
    """

    next: Int32[np.ndarray, "states classes"]
    missing: Int64[np.ndarray, " states"]
    restriction: Restriction
    temperature: float

    def arrays(self) -> tuple[np.ndarray, ...]:
        """``next``, ``missing``, ``keep``, ``gain``, ``other``, and the temperature, as for a backend."""
        restriction = self.restriction
        return (
            self.next,
            self.missing,
            restriction.keep,
            restriction.gain,
            restriction.other,
            np.array(self.temperature, np.float32),
        )


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """The k likeliest prefixes in each of n crops after a search, in order of probability; the first has ended.

    Attributes:
        symbols, chances: the class at each position, and its probability; 0 and 1 after the end.
        scores: log-probability of each prefix.
        ended: whether the prefix is a word of the language.
        left: total probability, 0 to 1, of the continuations outside the language.
        cut: the largest score of a discarded prefix.
    """

    symbols: Int64[np.ndarray, "n k t"]
    chances: Float32[np.ndarray, "n k t"]
    scores: Float32[np.ndarray, "n k"]
    ended: Bool[np.ndarray, "n k"]
    left: Float32[np.ndarray, " n"]
    cut: Float32[np.ndarray, " n"]

    def is_certain(self, index: int) -> bool:
        """Whether the first word is the likeliest of the language, since no discarded prefix was likelier."""
        return bool(self.cut[index] <= self.scores[index, 0])

    def best_word(self, index: int) -> FoundWord:
        """The first word. Its ``outside`` ignores prefixes that neither ended nor left the language."""
        symbols = self.symbols[index, 0].tolist()
        length = symbols.index(0)
        inside = float(np.exp(self.scores[index][self.ended[index]], dtype=np.float64).sum())
        left = float(self.left[index])
        chances = tuple(self.chances[index, 0, : length + 1].tolist())
        return FoundWord(tuple(symbols[:length]), chances, left / max(left + inside, np.finfo(np.float64).tiny))


class Searching(Protocol):
    """A backend that searches as it reads: ``dptr.inference.backend.Backend``."""

    def search(self, crops: np.ndarray, rules: Rules, width: int, /) -> Hypotheses: ...


def search_words(backend: Searching, crops: UInt8[np.ndarray, "n h w 3"], rules: Rules) -> list[FoundWord]:
    """The likeliest word of the language in each crop; it is approximate only if ``WIDTHS[-1]`` is too narrow."""
    words: dict[int, FoundWord] = {}
    remaining = np.arange(len(crops))
    for width in WIDTHS:
        if not len(remaining):
            break
        hypotheses = backend.search(crops[remaining], rules, width)
        words.update({int(index): hypotheses.best_word(row) for row, index in enumerate(remaining)})
        is_open = [
            not hypotheses.is_certain(row) and words[int(index)].outside < HOPELESS
            for row, index in enumerate(remaining)
        ]
        remaining = remaining[is_open]
    return [words[index] for index in range(len(crops))]
