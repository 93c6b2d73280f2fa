"""What a corpus draws from: lists of words, and generators of strings."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class WordList:
    """A source that draws from a list."""

    name: str
    entries: int  # read, whatever became of them
    words: list[str]  # of this split
    cumulative: array[float]  # of the drawing probabilities; the last is 1
    counts: array[int]  # how often each word stands in the list; empty where it is weighted by frequency
    language: str  # whose case rules hold
    styled: bool  # case styles and signs are applied
    dropped: dict[str, int]

    def word_at(self, fraction: float) -> str:
        """The word at ``fraction`` in [0, 1) of the drawing probabilities."""
        return self.words[bisect_right(self.cumulative, fraction)]

    def describe(self) -> str:
        counts = f"{self.name}: {self.entries:,} entries, {len(self.words):,} words in this split"
        return counts + count_drops(self.dropped, "; left out: ", "")


@dataclass(frozen=True)
class PatternList:
    """A source that draws from generators, endlessly."""

    name: str
    patterns: tuple[str, ...]
    dropped: dict[str, int]

    def describe(self) -> str:
        return f"{self.name}: {', '.join(self.patterns)}" + count_drops(self.dropped, "; left out: ", "")


def cumulate(weights: list[float]) -> array[float]:
    """Running shares of ``weights``; the last is 1."""
    total = list(accumulate(weights))
    return array("d", [value / total[-1] for value in total[:-1]] + [1.0] if total else [])


def count_drops(dropped: Mapping[str, int], before: str, after: str) -> str:
    """What was left out, by reason, between ``before`` and ``after``; "" where nothing was."""
    if not dropped:
        return ""
    return before + ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items())) + after
