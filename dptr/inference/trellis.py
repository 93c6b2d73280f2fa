"""Constrained reading with parallel decoders: the likeliest word that an automaton accepts.

The *language* of an automaton is the set of words that it accepts (those of a pattern or a lexicon).

The probability of a word is the product of those of its characters, each at its position, and of the end after them.
The automaton, unrolled by position, is a trellis: each path through it is one word. So the best path is the best word
(Viterbi 1967), and the sum over all paths (the forward algorithm, Rabiner 1989, section III.A) is the probability of
the whole language. Both are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from dptr.text.automaton import Automaton, steps_to_end
from dptr.utils.errors import UserError

LARGEST = 4_000_000  # edges of a trellis; larger ones are refused
LEAST = float(np.finfo(np.float32).tiny)  # smaller probabilities are raised to it, so that all words can be compared


@dataclass(frozen=True, eq=False)
class Layer:
    """The states at one position that can be reached and lead to an end, and the edges to the next layer.

    Attributes:
        accepting: whether a word may end at each state.
        states: their indices in the automaton.
        sources, symbols: for each edge, a state of this layer, and a symbol; sorted by the state of the next layer.
        firsts: the index of the first edge to each state of the next layer.
    """

    accepting: Bool[np.ndarray, " states"]
    states: Int64[np.ndarray, " states"]
    sources: Int64[np.ndarray, " edges"]
    symbols: Int64[np.ndarray, " edges"]
    firsts: Int64[np.ndarray, " next_states"]


@dataclass(frozen=True)
class FoundWord:
    """The likeliest word of a language in one crop.

    Attributes:
        symbols: of its characters, each 1 to n.
        probabilities: of each character, and of the end.
        outside: 0 to 1, the total probability of words outside the language.
        path: for a CTC network, the probabilities by position in which the word was searched.
    """

    symbols: tuple[int, ...]
    probabilities: tuple[float, ...]
    outside: float
    path: Float[np.ndarray, "positions classes"] | None = None


def unroll(automaton: Automaton, length: int) -> list[Layer]:
    """The trellis of the words of up to ``length`` symbols; it has no layers if there are no such words.

    Raises:
        UserError: it would have more than ``LARGEST`` edges.
    """
    missing = steps_to_end(automaton, length)
    layers: list[Layer] = []
    states = np.flatnonzero(missing[:1] <= length)
    size = 0
    for place in range(length + 1):
        if not len(states):
            break
        local = np.full(len(missing), -1)
        local[states] = np.arange(len(states))
        edges = np.flatnonzero((local[automaton.sources] >= 0) & (missing[automaton.targets] < length - place))
        edges = edges[np.argsort(automaton.targets[edges], kind="stable")]
        following, firsts = np.unique(automaton.targets[edges], return_index=True)
        sources = local[automaton.sources[edges]]
        layers.append(Layer(automaton.accepting[states], states, sources, automaton.symbols[edges], firsts))
        states = following
        if (size := size + len(edges)) > LARGEST:
            raise UserError(
                f"pattern or lexicon: more than {LARGEST:,} ways to write its words; pass fewer words, or a simpler "
                "pattern"
            )
    return layers


def find_words(rows: Float[np.ndarray, "n t classes"], trellis: list[Layer]) -> list[FoundWord]:
    """Find the likeliest word in each of n crops; equally likely words are resolved deterministically.

    Args:
        rows: 0 to 1; for each position, the probabilities of the end (class 0) and of the characters. t is at least the
            number of layers.
        trellis: of the language, at least one layer.
    """
    probabilities = np.maximum(rows[:, : len(trellis)].astype(np.float64), LEAST)
    logs = np.log(probabilities)
    scores = [np.zeros((len(rows), 1))]
    sums = np.ones((len(rows), 1))
    inside = np.zeros(len(rows))
    ends = np.full((len(rows), len(trellis)), -np.inf)  # score of the best word that ends at each position
    last = np.zeros((len(rows), len(trellis)), np.int64)  # its last state
    for place, layer in enumerate(trellis):
        accepting_scores = np.where(layer.accepting, scores[-1], -np.inf)
        last[:, place] = accepting_scores.argmax(1)
        ends[:, place] = accepting_scores.max(1) + logs[:, place, 0]
        inside += (sums * layer.accepting).sum(1) * probabilities[:, place, 0]
        if len(layer.firsts):
            scores.append(_reduce(np.maximum, scores[-1][:, layer.sources] + logs[:, place, layer.symbols], layer))
            sums = _reduce(np.add, sums[:, layer.sources] * probabilities[:, place, layer.symbols], layer)
    lengths = ends.argmax(1)
    words = []
    for index, length in enumerate(lengths.tolist()):
        symbols = _trace(trellis, [score[index] for score in scores], logs[index], length, int(last[index, length]))
        chances = rows[index, np.arange(length + 1), [*symbols, 0]].tolist()
        words.append(FoundWord(symbols, tuple(chances), 1 - float(min(inside[index], 1.0))))
    return words


def _trace(
    trellis: list[Layer],
    scores: list[Float[np.ndarray, " states"]],
    logs: Float[np.ndarray, "t classes"],
    length: int,
    state: int,
) -> tuple[int, ...]:
    """The symbols of the best path to a state of the layer ``length``."""
    symbols: list[int] = []
    for place in reversed(range(length)):
        layer = trellis[place]
        end = layer.firsts[state + 1] if state + 1 < len(layer.firsts) else len(layer.sources)
        edges = slice(layer.firsts[state], end)
        best = int((scores[place][layer.sources[edges]] + logs[place, layer.symbols[edges]]).argmax())
        symbols.append(int(layer.symbols[edges][best]))
        state = int(layer.sources[edges][best])
    return tuple(reversed(symbols))


def _reduce(operation: np.ufunc, values: Float[np.ndarray, "n edges"], layer: Layer) -> Float[np.ndarray, "n next"]:
    return operation.reduceat(values, layer.firsts, axis=1)
