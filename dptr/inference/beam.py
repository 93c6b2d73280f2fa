"""Constrained reading of decoders that read left to right: beam search, with a wider beam where the first is not exact.

The words that an automaton accepts (a pattern, a lexicon) are its *language* here.

The probability of a word is the product of those of its characters, each given the ones before it, and of the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from dptr.inference.restrict import Restriction
from dptr.inference.trellis import Found

WIDTHS = 8, 64
"""Prefixes that are kept: first, and for crops in which a likelier word may have been given up."""

HOPELESS = 0.9  # of a crop, what is surely outside the language; from there on it is not searched again


@dataclass(frozen=True, eq=False)
class Rules:
    """What a search follows; ``dptr.models.decoders.search.Guide`` is the same in tensors.

    Attributes:
        next: the state after each class in each state, -1 = none. State 0 is the start, the last one the end of a word,
            which class 0 leads to and stays in.
        missing: how many characters each state is away from where a word may end; of the last state -1.
        restriction: what becomes of the probabilities of each step.
        temperature: > 0, of the softmax.
    """

    next: Int32[np.ndarray, "states classes"]
    missing: Int64[np.ndarray, " states"]
    restriction: Restriction
    temperature: float

    def arrays(self) -> tuple[np.ndarray, ...]:
        """``next``, ``missing``, ``keep``, ``gain``, ``other`` and the temperature, as a backend takes them."""
        own = self.restriction
        return self.next, self.missing, own.keep, own.gain, own.other, np.array(self.temperature, np.float32)


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """What a search of k prefixes found in n crops, the likeliest first; that one has ended.

    Attributes:
        symbols, chances: of each position its class and the probability of that; 0 and 1 after the end.
        scores: logarithm of a prefix's probability.
        ended: whether it is a word of the language.
        left: 0 to 1, the probability of what was found not to be in the language.
        cut: the largest score of a prefix that was given up.
    """

    symbols: Int64[np.ndarray, "n k t"]
    chances: Float32[np.ndarray, "n k t"]
    scores: Float32[np.ndarray, "n k"]
    ended: Bool[np.ndarray, "n k"]
    left: Float32[np.ndarray, " n"]
    cut: Float32[np.ndarray, " n"]

    def is_certain(self, index: int) -> bool:
        """Whether no word of the language is likelier than the first: no prefix that was given up was."""
        return bool(self.cut[index] <= self.scores[index, 0])

    def found(self, index: int) -> Found:
        """The first word. What was read neither to an end nor out of the language is shared out as the rest is."""
        symbols = self.symbols[index, 0].tolist()
        length = symbols.index(0)
        inside = float(np.exp(self.scores[index][self.ended[index]], dtype=np.float64).sum())
        left = float(self.left[index])
        chances = tuple(self.chances[index, 0, : length + 1].tolist())
        return Found(tuple(symbols[:length]), chances, left / max(left + inside, np.finfo(np.float64).tiny))


class Searching(Protocol):
    """A backend that searches as it reads: ``dptr.inference.backend.Backend``."""

    def search(self, crops: np.ndarray, rules: Rules, width: int, /) -> Hypotheses: ...


def search_words(backend: Searching, crops: UInt8[np.ndarray, "n h w 3"], rules: Rules) -> list[Found]:
    """The likeliest word of the language in each crop.

    It surely is that, unless ``WIDTHS[-1]`` prefixes do not suffice; then it is the best word that they lead to.
    """
    found: dict[int, Found] = {}
    rest = np.arange(len(crops))
    for width in WIDTHS:
        if not len(rest):
            break
        hypotheses = backend.search(crops[rest], rules, width)
        found.update({int(index): hypotheses.found(place) for place, index in enumerate(rest)})
        again = [
            not hypotheses.is_certain(place) and found[int(index)].outside < HOPELESS
            for place, index in enumerate(rest)
        ]
        rest = rest[again]
    return [found[index] for index in range(len(crops))]
