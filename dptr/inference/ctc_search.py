"""Constrained reading with CTC decoders: the likeliest path of a word that an automaton accepts.

The *language* of an automaton is the set of words that it accepts (those of a pattern or a lexicon).

A path has a label or a blank at each position; merging repeats and dropping blanks gives its word (Graves et al. 2006).
The automaton is composed with this rule: at each position, a path is at a state after a blank, or in a run of the
symbol that led to the state. The same symbol continues the run; any other one begins the next. The best path (Viterbi)
and the sum over all paths of all words (the forward variables of Graves et al., section 4.1) are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from dptr.inference.trellis import LEAST, FoundWord, Layer
from dptr.text.automaton import Automaton

_MEMORY = 8_000_000  # scores in memory at once


@dataclass(frozen=True, eq=False)
class Paths:
    """A trellis, or an automaton, composed with CTC's rule. Nodes are the states of the automaton, or those of the
    trellis, layer by layer; the start is node 0.

    Attributes:
        accepting: whether a word may end at each node.
        run_nodes, run_symbols: for each run, the node that it leads to, and its symbol; sorted by node.
        edge_sources, edge_runs: for each edge, the node that it leaves, and its run; sorted by run, at least one each.
        edge_twins: for each edge, the run with the same symbol that leads to its source, from which it cannot be
            entered without a blank; the number of runs if there is none.
        reached, reached_firsts: the nodes that runs lead to, and the index of the first run of each.
        run_firsts: the index of the first edge of each run.
    """

    accepting: Bool[np.ndarray, " nodes"]
    run_nodes: Int64[np.ndarray, " runs"]
    run_symbols: Int64[np.ndarray, " runs"]
    edge_sources: Int64[np.ndarray, " edges"]
    edge_runs: Int64[np.ndarray, " edges"]
    edge_twins: Int64[np.ndarray, " edges"]
    reached: Int64[np.ndarray, " reached"]
    reached_firsts: Int64[np.ndarray, " reached"]
    run_firsts: Int64[np.ndarray, " runs"]


def compose(trellis: list[Layer]) -> Paths:
    """The paths of the words of a trellis of at least one layer."""
    offsets = np.cumsum([0, *(len(layer.states) for layer in trellis)])
    sources, targets, symbols = [], [], []
    for layer, offset, next_offset in zip(trellis, offsets[:-1], offsets[1:], strict=True):
        counts = np.diff([*layer.firsts, len(layer.sources)])
        sources.append(offset + layer.sources)
        targets.append(next_offset + np.repeat(np.arange(len(layer.firsts)), counts))
        symbols.append(layer.symbols)
    return _compose(
        np.concatenate([layer.accepting for layer in trellis]), *map(np.concatenate, (sources, targets, symbols))
    )


def compose_words(automaton: Automaton) -> Paths:
    """The paths of all words of a non-empty automaton, of any length, with far fewer nodes than those of a trellis."""
    return _compose(automaton.accepting, automaton.sources, automaton.targets, automaton.symbols)


def _compose(
    accepting: Bool[np.ndarray, " nodes"],
    edge_sources: Int64[np.ndarray, " edges"],
    edge_targets: Int64[np.ndarray, " edges"],
    edge_symbols: Int64[np.ndarray, " edges"],
) -> Paths:
    base = int(edge_symbols.max(initial=0)) + 1
    runs, edge_runs = np.unique(edge_targets * base + edge_symbols, return_inverse=True)
    own_runs = edge_sources * base + edge_symbols
    places = np.minimum(np.searchsorted(runs, own_runs), max(len(runs) - 1, 0))
    twins = np.where(runs[places] == own_runs, places, len(runs)) if len(runs) else places
    order = np.argsort(edge_runs, kind="stable")
    reached, reached_firsts = np.unique(runs // base, return_index=True)
    return Paths(
        accepting, runs // base, runs % base, edge_sources[order], edge_runs[order], twins[order], reached,
        reached_firsts, np.searchsorted(edge_runs[order], np.arange(len(runs))),
    )  # fmt: skip


def find_paths(rows: Float[np.ndarray, "n t classes"], paths: Paths) -> list[FoundWord]:
    """The word of the likeliest path in each of n crops; ties are resolved deterministically.

    The probability of a character is that of its likeliest position; that of the end is the least of all blanks
    (``dptr.models.decoders.ctc.collapse``).

    Args:
        rows: 0 to 1, for each position, the probabilities of the blank (class 0) and of the characters.
        paths: with an accepting node that t positions reach.
    """
    never = np.full(len(paths.accepting), np.inf)
    return [each for each in find_complete_paths(rows, paths, never) if each is not None]


def find_complete_paths(
    rows: Float[np.ndarray, "n t classes"], paths: Paths, missing: Shaped[np.ndarray, " nodes"]
) -> list[FoundWord | None]:
    """``find_paths``; None where a word that ends behind the last position may be likelier.

    Each of its characters there would have the least probability, ``LEAST``.

    Args:
        missing: the least number of characters from each node until a word may end.
    """
    size = (len(paths.accepting) + len(paths.run_nodes)) * (rows.shape[1] + 1)
    step = max(1, _MEMORY // size)
    return [each for first in range(0, len(rows), step) for each in _find(rows[first : first + step], paths, missing)]


def _find(
    rows: Float[np.ndarray, "n t classes"], paths: Paths, missing: Shaped[np.ndarray, " nodes"]
) -> list[FoundWord | None]:
    shares = np.maximum(rows.astype(np.float64), LEAST)
    inside = _sum_paths(shares, paths)
    blanks, runs = _best_paths(np.log(shares), paths)
    scores = np.maximum(blanks[-1], _by_node(np.maximum, runs[-1], paths, -np.inf))
    complete = np.where(paths.accepting, scores, -np.inf).max(1)
    unfinished = np.where(paths.accepting, -np.inf, scores + missing * np.log(LEAST)).max(1)
    words: list[FoundWord | None] = []
    for index in range(len(rows)):
        if unfinished[index] > complete[index] or complete[index] == -np.inf:
            words.append(None)
            continue
        labels = _trace([each[index] for each in blanks], [each[index] for each in runs], paths)
        symbols, chances = _collapse(labels, rows[index])
        words.append(FoundWord(symbols, chances, 1 - float(min(inside[index], 1.0))))
    return words


def _sum_paths(shares: Float[np.ndarray, "n t classes"], paths: Paths) -> Float[np.ndarray, " n"]:
    """The total probability of all paths of all words."""
    blank, run = _start(len(shares), paths, 0.0, 1.0)
    for place in range(shares.shape[1]):
        arrived = _by_node(np.add, run, paths, 0.0)
        others = arrived[:, paths.edge_sources] - np.pad(run, ((0, 0), (0, 1)))[:, paths.edge_twins]
        entering = blank[:, paths.edge_sources] + np.maximum(others, 0.0)
        blank = shares[:, place, :1] * (blank + arrived)
        run = shares[:, place, paths.run_symbols] * (run + _by_run(np.add, entering, paths))
    return ((blank + _by_node(np.add, run, paths, 0.0)) * paths.accepting).sum(1)


def _best_paths(
    logs: Float[np.ndarray, "n t classes"], paths: Paths
) -> tuple[list[Float[np.ndarray, "n nodes"]], list[Float[np.ndarray, "n runs"]]]:
    """Scores of the best path to each node after a blank, and to each run: before each position and at the end."""
    blanks, runs = ([each] for each in _start(len(logs), paths, -np.inf, 0.0))
    for place in range(logs.shape[1]):
        blank, run = blanks[-1], runs[-1]
        first = _by_node(np.maximum, run, paths, -np.inf)
        is_first = run == first[:, paths.run_nodes]
        second = _by_node(np.maximum, np.where(is_first, -np.inf, run), paths, -np.inf)
        is_tied = _by_node(np.add, is_first.astype(float), paths, 0.0) > 1
        second = np.where(is_tied, first, second)
        is_twin_first = np.pad(is_first, ((0, 0), (0, 1)))[:, paths.edge_twins]
        others = np.where(is_twin_first, second[:, paths.edge_sources], first[:, paths.edge_sources])
        entering = np.maximum(blank[:, paths.edge_sources], others)
        blanks.append(logs[:, place, :1] + np.maximum(blank, first))
        runs.append(logs[:, place, paths.run_symbols] + np.maximum(run, _by_run(np.maximum, entering, paths)))
    return blanks, runs


def _start(
    count: int, paths: Paths, never: float, certain: float
) -> tuple[Float[np.ndarray, "n nodes"], Float[np.ndarray, "n runs"]]:
    blank = np.full((count, len(paths.accepting)), never)
    blank[:, 0] = certain
    return blank, np.full((count, len(paths.run_nodes)), never)


def _by_node(
    operation: np.ufunc, run: Float[np.ndarray, "n runs"], paths: Paths, empty: float
) -> Float[np.ndarray, "n nodes"]:
    """Reduce values of runs over those that lead to the same node."""
    arrived = np.full((len(run), len(paths.accepting)), empty)
    if len(paths.reached):
        arrived[:, paths.reached] = operation.reduceat(run, paths.reached_firsts, axis=1)
    return arrived


def _by_run(operation: np.ufunc, entering: Float[np.ndarray, "n edges"], paths: Paths) -> Float[np.ndarray, "n runs"]:
    return operation.reduceat(entering, paths.run_firsts, axis=1) if len(paths.run_firsts) else entering


def _trace(
    blanks: list[Float[np.ndarray, " nodes"]], runs: list[Float[np.ndarray, " runs"]], paths: Paths
) -> list[tuple[int, int]]:
    """The best path: for each position, its run and symbol, or (-1, 0) for a blank."""
    labels: list[tuple[int, int]] = []
    ends = np.where(paths.accepting, blanks[-1], -np.inf)
    ends_run = np.where(paths.accepting[paths.run_nodes], runs[-1], -np.inf)
    node = int(ends.argmax())
    run = int(ends_run.argmax()) if ends_run.max(initial=-np.inf) > ends.max() else -1
    for place in reversed(range(len(blanks) - 1)):
        blank, before = blanks[place], runs[place]
        labels.append((run, int(paths.run_symbols[run]) if run >= 0 else 0))
        symbol = 0
        if run >= 0:
            edges = slice(*np.searchsorted(paths.edge_runs, [run, run + 1]))
            options = [(before[run], run, int(paths.run_nodes[run]))]
            sources = paths.edge_sources[edges].tolist()
            symbol = int(paths.run_symbols[run])
        else:
            options, sources = [], [node]
        for source in sources:
            options.append((blank[source], -1, source))
            for other in range(*np.searchsorted(paths.run_nodes, [source, source + 1])):
                if paths.run_symbols[other] != symbol:
                    options.append((before[other], other, source))
        _, run, node = max(options, key=lambda option: option[0])
    return labels[::-1]


def _collapse(
    labels: list[tuple[int, int]], rows: Float[np.ndarray, "t classes"]
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The symbols of a path, and the probability of each and of the end."""
    symbols: list[int] = []
    peaks: list[float] = []
    end = 1.0
    before = -1
    for place, (run, symbol) in enumerate(labels):
        chance = float(rows[place, symbol])
        if run < 0:
            end = min(end, chance)
        elif run == before:
            peaks[-1] = max(peaks[-1], chance)
        else:
            symbols.append(symbol)
            peaks.append(chance)
        before = run
    return tuple(symbols), (*peaks, end)
