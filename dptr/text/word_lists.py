"""Lists of words as a source: read, kept as far as rules allow, and drawn from. Corpora of one list share it."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float64

from dptr.config.render import SourceConfig
from dptr.text.rules import Limit, Rules, Split, is_heldout
from dptr.text.sources import label_sets, read_source
from dptr.utils.errors import UserError
from dptr.utils.lmdb import is_lmdb

MOST_KEPT = 6_000_000
"""Words, of all lists together that were used last, that are kept for the next corpus; one list is, whatever its
length. A word takes some 100 bytes."""
_AT_ONCE = 10_000  # listed words that a limit judges together


@dataclass(frozen=True, eq=False)
class WordList:
    """A source that draws from a list.

    Attributes:
        name: for the log.
        entries: that were read, whatever became of them.
        words: of the split.
        cumulative: of the drawing probabilities; the last is 1.
        counts: how often each word stands in the list; empty where it is weighted by frequency.
        language: whose case rules hold.
        styled: whether case styles and signs are applied.
        dropped: entries that are left out, by reason, whatever the split.
    """

    name: str
    entries: int
    words: list[str]
    cumulative: array[float]
    counts: array[int]
    language: str
    styled: bool
    dropped: dict[str, int]

    def word_at(self, fraction: float) -> str:
        """The word at ``fraction`` in [0, 1) of the drawing probabilities."""
        return self.words[bisect_right(self.cumulative, fraction)]

    def describe(self) -> str:
        """What is in it, for the log."""
        counts = f"{self.name}: {self.entries:,} entries, {len(self.words):,} words in this split"
        return counts + count_drops(self.dropped, "; left out: ", "")


@dataclass(frozen=True, eq=False)
class _Accepted:
    """The words of a source that charset, length, and a limit allow, and what was made of them for corpora."""

    words: list[str]
    weights: Float64[np.ndarray, " words"]
    entries: int
    dropped: dict[str, int]
    held_out: dict[float, Bool[np.ndarray, " words"]] = field(default_factory=dict)
    lists: dict[tuple[Split, float], WordList] = field(default_factory=dict)
    limited: WeakKeyDictionary[Limit, _Accepted] = field(default_factory=WeakKeyDictionary)


_KEPT: OrderedDict[Hashable, _Accepted] = OrderedDict()
_KEEPING = Lock()


def open_list(source: SourceConfig, rules: Rules) -> WordList:
    """The words of a listed source that keep the rules; those of the split may be none.

    Corpora of the same list and rules share what it returns, so nobody may change it. A file that has changed is read
    again.

    Raises:
        UserError: it is missing, unreadable or malformed, or no word is left.
    """
    name = f"{source.kind}:{source.path or source.language}"
    styled = source.kind != "labels"  # labels are words as somebody wrote them
    listed = source.kind in ("wordfreq", "cldr", "hunspell")
    language = source.language if listed else rules.language_of(source.language)
    found = _open_accepted(source, rules, language, styled)
    if rules.limit:
        if rules.limit not in found.limited:
            found.limited[rules.limit] = _apply(rules.limit, found)
        found = found.limited[rules.limit]
    if not found.words:
        raise UserError(
            f"corpus source {name}: no word left{count_drops(found.dropped, ' (', ')') or ' (it holds none)'} with "
            f"{rules.describe()}; pass another list or a larger charset"
        )
    split = rules.split, rules.heldout
    if split not in found.lists:
        words, weights = _select(found, rules)
        counts = array("q", b"" if source.kind == "wordfreq" else _times(weights).tobytes())
        found.lists[split] = WordList(
            name, found.entries, words, cumulate(weights), counts, language, styled, found.dropped
        )
    return found.lists[split]


def _open_accepted(source: SourceConfig, rules: Rules, language: str, styled: bool) -> _Accepted:
    """What is kept of an earlier call, or read now."""
    own = source.model_copy(update={"weight": 1.0, "patterns": ()})
    key = own, _stamp(source), rules.charset, rules.max_length, rules.restyled, language
    with _KEEPING:
        if key in _KEPT:
            _KEPT.move_to_end(key)
            return _KEPT[key]
    found = _accept(source, rules, language, styled)
    with _KEEPING:
        _KEPT[key] = found
        while len(_KEPT) > 1 and sum(len(each.words) for each in _KEPT.values()) > MOST_KEPT:
            _KEPT.popitem(last=False)
    return found


def _stamp(source: SourceConfig) -> tuple[tuple[str, int, int, int], ...]:
    """What tells the files of a source from what they were before; empty for lists of packages."""
    if not source.path:
        return ()
    places = label_sets(source) if source.kind == "labels" else [Path(source.path)]
    files = [place / "data.mdb" if is_lmdb(place) else place for place in places]
    try:
        return tuple((str(file), *_tell_apart(os.stat(file))) for file in files)
    except OSError:  # what is wrong is said where it is read
        return ()


def _tell_apart(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_mtime_ns, state.st_size, state.st_ino


def _accept(source: SourceConfig, rules: Rules, language: str, styled: bool) -> _Accepted:
    """Words that charset and length allow, with the sum of their weights; others are counted by reason."""
    entries, left_out = read_source(source)
    weights: dict[str, float] = {}
    dropped: Counter[str] = Counter()
    total = sum(left_out.values())
    for entry, weight in entries:
        word, reason = rules.read(entry, language, styled)
        times = max(1, round(weight))
        total += times
        if reason:
            dropped[reason] += times
        else:
            weights[word] = weights.get(word, 0.0) + weight
    return _Accepted([*weights], np.array([*weights.values()], np.float64), total, {**left_out, **dropped})


def _apply(limit: Limit, found: _Accepted) -> _Accepted:
    """Those within a limit."""
    words, step = found.words, _AT_ONCE
    judged = (limit.fits(words[start : start + step]) for start in range(0, len(words), step))
    within = np.fromiter(chain.from_iterable(judged), bool, len(words))
    lost = int(_times(found.weights[~within]).sum())
    dropped = {**found.dropped, limit.reason: lost} if lost else found.dropped
    return _Accepted([*compress(words, within)], found.weights[within], found.entries, dropped)


def _select(found: _Accepted, rules: Rules) -> tuple[list[str], Float64[np.ndarray, " words"]]:
    """The words of a split, with their weights."""
    words, share = found.words, rules.heldout
    if rules.split == "all":
        return words, found.weights
    if share not in found.held_out:
        found.held_out[share] = np.fromiter((is_heldout(word, share) for word in words), bool, len(words))
    own = found.held_out[share] == (rules.split == "heldout")
    return [*compress(words, own)], found.weights[own]


def _times(weights: Float64[np.ndarray, " words"]) -> np.ndarray:
    """How many entries of its source each word stands for: a frequency, which is below 1, is of one."""
    return np.maximum(1, np.rint(weights)).astype(np.int64)


def cumulate(weights: Sequence[float] | Float64[np.ndarray, " n"]) -> array[float]:
    """Running shares of ``weights``; the last is 1."""
    total = np.cumsum(np.asarray(weights, np.float64))
    if len(total):
        total /= total[-1]
        total[-1] = 1.0
    return array("d", total.tobytes())


def count_drops(dropped: Mapping[str, int], before: str, after: str) -> str:
    """What was left out, by reason, between ``before`` and ``after``; "" where nothing was."""
    if not dropped:
        return ""
    return before + ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items())) + after
