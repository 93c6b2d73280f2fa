"""Deterministic finite automata over the symbols of a charset, for constrained reading.

Regular expressions (``dptr.text.regular``) and lists of words (``dptr.text.lexicon``) are compiled to them by subset
construction and Moore's partition refinement (Hopcroft, Motwani, Ullman, "Introduction to Automata Theory, Languages,
and Computation", sections 2.5 and 4.4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int64

LARGEST = 20_000  # states of an automaton of an expression; larger ones are refused
EDGES = 500_000  # of such an automaton, one for each symbol of each state
STEPS = 9_000_000  # of the construction; they take a few seconds

Masks = list[tuple[int, int]]
"""Transitions of one state: (set of symbols, next state). Bit s of a set is symbol s."""


Spend = Callable[[int], None]
"""Counts steps of work; raises ``TooLarge`` beyond ``STEPS``."""

Merged = tuple[tuple[int, int], ...]
"""Transitions with disjoint sets, one for each next state, in a fixed order."""


class TooLarge(Exception):
    """An automaton would have more than ``LARGEST`` states or ``EDGES`` edges, or take more than ``STEPS`` to make."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """A deterministic automaton; its start is state 0. From each state some accepting one can be reached.

    Attributes:
        sources, symbols, targets: of each edge; no two edges of a state have the same symbol.
        accepting: whether each state accepts. An automaton without states accepts nothing.
    """

    sources: Int64[np.ndarray, " edges"]
    symbols: Int64[np.ndarray, " edges"]
    targets: Int64[np.ndarray, " edges"]
    accepting: Bool[np.ndarray, " states"]

    def accepts(self, word: Sequence[int]) -> bool:
        """Whether a sequence of symbols is in the language."""
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
        silent: states that each leads to without a symbol (epsilon transitions).
        steps: of work that are left.
    """

    masks: list[Masks] = field(default_factory=list)
    silent: list[list[int]] = field(default_factory=list)
    steps: int = STEPS

    def add_state(self) -> int:
        """Add a state without transitions.

        Raises:
            TooLarge: there are ``LARGEST`` already.
        """
        if len(self.masks) >= LARGEST:
            raise TooLarge
        self.masks.append([])
        self.silent.append([])
        return len(self.masks) - 1

    def spend(self, steps: int) -> None:
        """Count some work.

        Raises:
            TooLarge: that was too much.
        """
        self.steps -= steps
        if self.steps < 0:
            raise TooLarge

    def shortest(self, start: int, end: int) -> int | None:
        """The length of the shortest word from ``start`` to ``end``; None if there is none."""
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
        """``states`` and all that can be reached from them without a symbol (the epsilon closure).

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
    """The minimal automaton of the words that lead from ``start`` to ``end``.

    Args:
        longest: number of symbols; which longer words are accepted is undefined. None = no limit.

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
        leads = [edge for state in states for edge in automaton.masks[state]]
        for mask, targets in _split(leads, automaton.spend):
            target = automaton.close(targets)
            if target not in numbers:
                if len(numbers) >= LARGEST:
                    raise TooLarge
                numbers[target] = len(numbers)
                waiting.append((target, depth + 1))
            masks[-1].append((mask, numbers[target]))
    return minimize(masks, [end in states for states in numbers], automaton.spend)


def minimize(masks: Sequence[Masks], accepting: Sequence[bool], spend: Spend) -> Automaton:
    """The minimal automaton of the same words; the sets of symbols of each state must be disjoint.

    Raises:
        TooLarge: it has more than ``EDGES`` edges, or ``spend`` raises it.
    """
    live = _live_states(masks, accepting)
    if 0 not in live:
        return make_automaton([], [])
    kept = [[(mask, target) for mask, target in edges if target in live] for edges in masks]
    groups = [int(accepts) for accepts in accepting]
    count, size = 0, len(kept) + sum(map(len, kept))
    while len(set(groups)) > count:
        spend(3 * size)  # these steps cost more
        count = len(set(groups))
        numbers: dict[tuple[int, Merged], int] = {}
        groups = [
            numbers.setdefault((groups[state], _merge((mask, groups[target]) for mask, target in edges)), len(numbers))
            for state, edges in enumerate(kept)
        ]
    merged: dict[int, int] = {}  # group -> a state of it
    for state in [0, *sorted(live)]:
        merged.setdefault(groups[state], state)
    if sum(mask.bit_count() for state in merged.values() for mask, _ in kept[state]) > EDGES:
        raise TooLarge
    order = {group: number for number, group in enumerate(merged)}
    return make_automaton(
        [
            [(mask, order[group]) for mask, group in _merge((mask, groups[target]) for mask, target in kept[state])]
            for state in merged.values()
        ],
        [accepting[state] for state in merged.values()],
    )


def make_automaton(masks: Sequence[Iterable[tuple[int, int]]], accepting: Sequence[bool]) -> Automaton:
    """An automaton from the transitions of each state, without minimization."""
    edges = [
        (source, symbol, target)
        for source, leads in enumerate(masks)
        for mask, target in leads
        for symbol in list_symbols(mask)
    ]
    columns = np.array(edges, np.int64).reshape(-1, 3).T
    return Automaton(columns[0], columns[1], columns[2], np.array(accepting, bool))


def steps_to_end(automaton: Automaton, longest: int) -> Int64[np.ndarray, " states"]:
    """The least number of symbols from each state to an accepting one; ``longest`` + 1 if it is larger."""
    steps = np.where(automaton.accepting, 0, longest + 1)
    for _ in range(longest):
        nearer = steps.copy()
        np.minimum.at(nearer, automaton.sources, steps[automaton.targets] + 1)
        if (nearer == steps).all():
            break
        steps = nearer
    return steps


def list_symbols(mask: int) -> Iterator[int]:
    """The symbols of a set, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _split(edges: Masks, spend: Spend) -> list[tuple[int, list[int]]]:
    """Split overlapping sets of symbols into disjoint ones, each with all of its target states."""
    alike: dict[int, list[int]] = {}
    for mask, target in edges:
        alike.setdefault(mask, []).append(target)
    parts: list[tuple[int, list[int]]] = []
    for mask, added in alike.items():
        divided = []
        for part, targets in parts:
            both = part & mask
            if both:
                spend(len(targets))
                divided.append((both, [*targets, *added]))
            if part != both:
                divided.append((part ^ both, targets))
            mask &= ~part
        spend(len(parts))
        parts = [*divided, (mask, added)] if mask else divided
    return parts


def _merge(edges: Iterable[tuple[int, int]]) -> Merged:
    """Merge the sets of symbols with the same target, in a fixed order."""
    sets: dict[int, int] = {}
    for mask, target in edges:
        sets[target] = sets.get(target, 0) | mask
    return tuple(sorted((mask, target) for target, mask in sets.items()))


def _live_states(masks: Sequence[Masks], accepting: Sequence[bool]) -> set[int]:
    """The states from which an accepting one can be reached."""
    before: list[list[int]] = [[] for _ in masks]
    for source, edges in enumerate(masks):
        for _, target in edges:
            before[target].append(source)
    waiting = [state for state, accepts in enumerate(accepting) if accepts]
    live = set(waiting)
    while waiting:
        for state in before[waiting.pop()]:
            if state not in live:
                live.add(state)
                waiting.append(state)
    return live
