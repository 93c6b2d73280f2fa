"""Deterministic finite automata over the symbols of a charset, for constrained reading.

Regular expressions (``dptr.text.regular``) are compiled to them by subset construction and Moore's partition refinement
(Hopcroft, Motwani, Ullman, "Introduction to Automata Theory, Languages, and Computation", sections 2.5 and 4.4). Word
lists (``dptr.text.lexicon``) are compiled to them, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64

LARGEST = 20_000  # the most states of an automaton of an expression; ``TooLarge`` beyond
EDGES = 500_000  # the most edges of such an automaton, one for each symbol of each state
STEPS = 9_000_000  # the most steps of its construction; they take a few seconds

Masks = list[tuple[int, int]]
"""Transitions of one state: (set of symbols, next state). A set is a bit mask, in which bit s stands for symbol s."""

Spend = Callable[[int], None]
"""Counts steps of work; raises ``TooLarge`` beyond ``STEPS``."""

Merged = tuple[tuple[int, int], ...]
"""Transitions of one state with disjoint sets, one for each next state, in a fixed order."""


class TooLarge(Exception):
    """An automaton would have more than ``LARGEST`` states or ``EDGES`` edges, or take more than ``STEPS`` steps."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """A deterministic automaton. State 0 is the start. An accepting state can be reached from each state.

    Attributes:
        sources: the state that each edge leaves.
        symbols: the symbol of each edge; no two edges of a state have the same symbol.
        targets: the state that each edge enters.
        accepting: whether each state accepts. An automaton without states accepts no word.
    """

    sources: Int64[np.ndarray, " edges"]
    symbols: Int64[np.ndarray, " edges"]
    targets: Int64[np.ndarray, " edges"]
    accepting: Bool[np.ndarray, " states"]

    def accepts(self, word: Sequence[int]) -> bool:
        """Whether the automaton accepts a sequence of symbols."""
        state = 0
        for symbol in word:
            state = self.table.get((state, symbol), -1)
        return bool(0 <= state < len(self.accepting) and self.accepting[state])

    @cached_property
    def table(self) -> dict[tuple[int, int], int]:
        """The next state by (state, symbol)."""
        edges = zip(self.sources.tolist(), self.symbols.tolist(), self.targets.tolist(), strict=True)
        return {(source, symbol): target for source, symbol, target in edges}


@dataclass
class Nondeterministic:
    """A nondeterministic automaton.

    Attributes:
        masks: transitions of each state.
        silent: for each state, the states that it leads to without a symbol (epsilon transitions).
        steps: the steps of work that are left.
    """

    masks: list[Masks] = field(default_factory=list)
    silent: list[list[int]] = field(default_factory=list)
    steps: int = STEPS

    def add_state(self) -> int:
        """Add a state without transitions, and return its number.

        Raises:
            TooLarge: there are ``LARGEST`` states already.
        """
        if len(self.masks) >= LARGEST:
            raise TooLarge
        self.masks.append([])
        self.silent.append([])
        return len(self.masks) - 1

    def spend(self, steps: int) -> None:
        """Count steps of work.

        Raises:
            TooLarge: no steps are left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TooLarge

    def shortest(self, start: int, end: int) -> int | None:
        """The length of the shortest word that leads from ``start`` to ``end``; None if there is none.

        Raises:
            TooLarge: see ``spend``.
        """
        found, depth = self.close([start]), 0
        known = set(found)
        while found:
            if end in found:
                return depth
            found = self.close({target for state in found for mask, target in self.masks[state] if mask} - known)
            known |= found
            depth += 1
        return None

    def close(self, states: Iterable[int]) -> frozenset[int]:
        """The epsilon closure: ``states`` and all states that can be reached from them without a symbol.

        Raises:
            TooLarge: see ``spend``.
        """
        found = set(states)
        waiting = list(found)
        while waiting:
            reached = self.silent[waiting.pop()]
            self.spend(1 + len(reached))
            for state in reached:
                if state not in found:
                    found.add(state)
                    waiting.append(state)
        return frozenset(found)


def determinize(automaton: Nondeterministic, start: int, end: int, longest: int | None = None) -> Automaton:
    """The minimal deterministic automaton of the words that lead from ``start`` to ``end``.

    Args:
        automaton: a nondeterministic automaton.
        start, end: states of it.
        longest: the most symbols of a word that matters. It is undefined which longer words are accepted. None = no
            limit.

    Raises:
        TooLarge: more than ``LARGEST`` states during the construction, ``EDGES`` edges, or ``STEPS`` steps.
    """
    first = automaton.close([start])
    numbers = {first: 0}
    waiting = deque([(first, 0)])
    masks: list[Masks] = []
    while waiting:
        states, depth = waiting.popleft()
        masks.append([])
        if depth == longest:
            continue
        edges = [edge for state in states for edge in automaton.masks[state]]
        for mask, targets in _split(edges, automaton.spend):
            target = automaton.close(targets)
            if target not in numbers:
                if len(numbers) >= LARGEST:
                    raise TooLarge
                numbers[target] = len(numbers)
                waiting.append((target, depth + 1))
            masks[-1].append((mask, numbers[target]))
    return minimize(masks, [end in states for states in numbers], automaton.spend)


def minimize(masks: Sequence[Masks], accepting: Sequence[bool], spend: Spend) -> Automaton:
    """The minimal automaton that accepts the same words as a deterministic one.

    Args:
        masks: transitions of each state, whose sets of symbols must be disjoint.
        accepting: whether each state accepts.
        spend: counts the steps of work.

    Raises:
        TooLarge: the result has more than ``EDGES`` edges, or ``spend`` raises it.
    """
    live = _find_live_states(masks, accepting)
    if 0 not in live:
        return make_automaton([], [])
    live_edges = [[(mask, target) for mask, target in edges if target in live] for edges in masks]
    groups = [int(accepts) for accepts in accepting]
    count, size = 0, len(live_edges) + sum(map(len, live_edges))
    while len(set(groups)) > count:
        spend(3 * size)  # a step of refinement takes longer than one of the construction
        count = len(set(groups))
        numbers: dict[tuple[int, Merged], int] = {}
        groups = [
            numbers.setdefault((groups[state], _merge((mask, groups[target]) for mask, target in edges)), len(numbers))
            for state, edges in enumerate(live_edges)
        ]
    merged: dict[int, int] = {}  # group -> one of its states
    for state in [0, *sorted(live)]:
        merged.setdefault(groups[state], state)
    if sum(mask.bit_count() for state in merged.values() for mask, _ in live_edges[state]) > EDGES:
        raise TooLarge
    order = {group: number for number, group in enumerate(merged)}
    return make_automaton(
        [
            [
                (mask, order[group])
                for mask, group in _merge((mask, groups[target]) for mask, target in live_edges[state])
            ]
            for state in merged.values()
        ],
        [accepting[state] for state in merged.values()],
    )


def make_automaton(masks: Sequence[Iterable[tuple[int, int]]], accepting: Sequence[bool]) -> Automaton:
    """Build an automaton from the transitions of each state, without minimization."""
    edges = [
        (source, symbol, target)
        for source, transitions in enumerate(masks)
        for mask, target in transitions
        for symbol in list_symbols(mask)
    ]
    columns = np.array(edges, np.int64).reshape(-1, 3).T
    return Automaton(columns[0], columns[1], columns[2], np.array(accepting, bool))


def steps_to_end(automaton: Automaton, longest: int) -> Int64[np.ndarray, " states"]:
    """The least number of symbols from each state to an accepting one, at most ``longest`` + 1."""
    steps = np.where(automaton.accepting, 0, longest + 1)
    for _ in range(longest):
        nearer = steps.copy()
        np.minimum.at(nearer, automaton.sources, steps[automaton.targets] + 1)
        if (nearer == steps).all():
            break
        steps = nearer
    return steps


def list_symbols(mask: int) -> Iterator[int]:
    """The symbols of a set, in ascending order."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _split(edges: Masks, spend: Spend) -> list[tuple[int, list[int]]]:
    """Split overlapping sets of symbols into disjoint ones, each with all states that it leads to."""
    targets_of: dict[int, list[int]] = {}
    for mask, target in edges:
        targets_of.setdefault(mask, []).append(target)
    parts: list[tuple[int, list[int]]] = []
    for mask, new_targets in targets_of.items():
        divided = []
        for part, targets in parts:
            overlap = part & mask
            if overlap:
                spend(len(targets))
                divided.append((overlap, [*targets, *new_targets]))
            if part != overlap:
                divided.append((part ^ overlap, targets))
            mask &= ~part
        spend(len(parts))
        parts = [*divided, (mask, new_targets)] if mask else divided
    return parts


def _merge(edges: Iterable[tuple[int, int]]) -> Merged:
    """Merge the sets of symbols with the same target, in a fixed order."""
    sets: dict[int, int] = {}
    for mask, target in edges:
        sets[target] = sets.get(target, 0) | mask
    return tuple(sorted((mask, target) for target, mask in sets.items()))


def _find_live_states(masks: Sequence[Masks], accepting: Sequence[bool]) -> set[int]:
    """The states from which an accepting one can be reached."""
    predecessors: list[list[int]] = [[] for _ in masks]
    for source, edges in enumerate(masks):
        for _, target in edges:
            predecessors[target].append(source)
    waiting = [state for state, accepts in enumerate(accepting) if accepts]
    live = set(waiting)
    while waiting:
        for state in predecessors[waiting.pop()]:
            if state not in live:
                live.add(state)
                waiting.append(state)
    return live
