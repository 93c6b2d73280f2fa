"""Word lists as a source of a corpus: reading, filtering by rules, and drawing. Corpora of the same list share it."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
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
"""The most words that are cached for later corpora, over all lists; a word takes some 100 bytes.

The lists that were used least recently are evicted first. The last one stays, whatever its length."""
_BATCH = 10_000  # words that a limit judges at once


@dataclass(frozen=True, eq=False)
class WordList:
    """A source that draws words from a list.

    Attributes:
        name: kind and path or language, for the log.
        entries: number of entries read, dropped ones included.
        words: the distinct words of the split.
        cumulative: cumulative drawing probabilities of ``words``; the last is 1.
        counts: number of entries for each word; empty if frequencies (wordfreq's) weight the words.
        language: code of the language whose case rules apply.
        styled: whether case styles and signs are applied.
        dropped: number of entries dropped in all splits, by reason.
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
        """The word at ``fraction`` in [0, 1) of the cumulative drawing probabilities."""
        return self.words[bisect_right(self.cumulative, fraction)]

    def weighted_words(self, total: float) -> Iterator[tuple[str, float]]:
        """Each word and its weight; the weights sum to ``total``."""
        weights = np.diff(np.frombuffer(self.cumulative), prepend=0.0)
        yield from zip(self.words, (weights * (total / weights.sum())).tolist(), strict=True)

    def describe(self) -> str:
        """The number of entries and of words, and what was left out, for the log."""
        text = f"{self.name}: {self.entries:,} entries, {len(self.words):,} words in this split"
        return text + count_drops(self.dropped, "; left out: ", "")


@dataclass(frozen=True, eq=False)
class _UsableWords:
    """The words of a source that meet charset, length, and limit, with results that corpora share.

    Attributes:
        words: distinct words.
        weights: the sum of the weights of each word's entries.
        entries: number of entries read.
        dropped: number of entries dropped, by reason.
        held_out: by share, whether each word is held out.
        lists: word lists, by split and share.
        limited: the words that meet a limit, by limit.
    """

    words: list[str]
    weights: Float64[np.ndarray, " words"]
    entries: int
    dropped: dict[str, int]
    held_out: dict[float, Bool[np.ndarray, " words"]] = field(default_factory=dict)
    lists: dict[tuple[Split, float], WordList] = field(default_factory=dict)
    limited: WeakKeyDictionary[Limit, _UsableWords] = field(default_factory=WeakKeyDictionary)


_CACHE: OrderedDict[Hashable, _UsableWords] = OrderedDict()
_CACHE_LOCK = Lock()


def open_list(source: SourceConfig, rules: Rules) -> WordList:
    """Open a word list. It has the words that meet the rules; its split may be empty.

    Corpora with the same list and rules share the result, so it must not be changed. A file that has changed is read
    again.

    Raises:
        UserError: the source is missing, unreadable or malformed, or no word meets charset, length, and limit.
    """
    name = f"{source.kind}:{source.path or source.language}"
    styled = source.kind != "labels"  # labels are drawn as they were written
    listed = source.kind in ("wordfreq", "cldr", "hunspell")
    language = source.language if listed else rules.language_of(source.language)
    usable = _load_usable_words(source, rules, language, styled)
    if rules.limit:
        if rules.limit not in usable.limited:
            usable.limited[rules.limit] = _apply_limit(rules.limit, usable)
        usable = usable.limited[rules.limit]
    if not usable.words:
        raise UserError(
            f"corpus source {name}: no word left{count_drops(usable.dropped, ' (', ')') or ' (it holds none)'} with "
            f"{rules.describe()}; pass another list or a larger charset"
        )
    split = rules.split, rules.heldout
    if split not in usable.lists:
        words, weights = _select_split(usable, rules)
        counts = array("q", b"" if source.kind == "wordfreq" else _count_entries(weights).tobytes())
        usable.lists[split] = WordList(
            name, usable.entries, words, cumulate(weights), counts, language, styled, usable.dropped
        )
    return usable.lists[split]


def _load_usable_words(source: SourceConfig, rules: Rules, language: str, styled: bool) -> _UsableWords:
    """The usable words of a source, from the cache or read now."""
    unweighted = source.model_copy(update={"weight": 1.0, "patterns": ()})
    key = unweighted, _fingerprint(source), rules.charset, rules.max_length, rules.restyled, language
    with _CACHE_LOCK:
        if key in _CACHE:
            _CACHE.move_to_end(key)
            return _CACHE[key]
    usable = _read_usable_words(source, rules, language, styled)
    with _CACHE_LOCK:
        _CACHE[key] = usable
        while len(_CACHE) > 1 and sum(len(each.words) for each in _CACHE.values()) > MOST_KEPT:
            _CACHE.popitem(last=False)
    return usable


def _fingerprint(source: SourceConfig) -> tuple[tuple[str, int, int, int], ...]:
    """The state of a source's files, which shows whether they changed; empty for a source without a path."""
    if not source.path:
        return ()
    places = label_sets(source) if source.kind == "labels" else [Path(source.path)]
    files = [place / "data.mdb" if is_lmdb(place) else place for place in places]
    try:
        return tuple((str(file), *_file_state(os.stat(file))) for file in files)
    except OSError:  # reading reports the error
        return ()


def _file_state(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_mtime_ns, state.st_size, state.st_ino


def _read_usable_words(source: SourceConfig, rules: Rules, language: str, styled: bool) -> _UsableWords:
    """Read the words of a source that meet charset and length, and count the other entries by reason."""
    entries, left_out = read_source(source)
    weights: dict[str, float] = {}
    dropped: Counter[str] = Counter()
    total = sum(left_out.values())
    for entry, weight in entries:
        word, reason = rules.read(entry, language, styled)
        count = max(1, round(weight))
        total += count
        if reason:
            dropped[reason] += count
        else:
            weights[word] = weights.get(word, 0.0) + weight
    return _UsableWords([*weights], np.array([*weights.values()], np.float64), total, {**left_out, **dropped})


def _apply_limit(limit: Limit, usable: _UsableWords) -> _UsableWords:
    """The words that meet a limit."""
    words, step = usable.words, _BATCH
    verdicts = (limit.fits(words[start : start + step]) for start in range(0, len(words), step))
    fitting = np.fromiter(chain.from_iterable(verdicts), bool, len(words))
    misfits = int(_count_entries(usable.weights[~fitting]).sum())
    dropped = {**usable.dropped, limit.reason: misfits} if misfits else usable.dropped
    return _UsableWords([*compress(words, fitting)], usable.weights[fitting], usable.entries, dropped)


def _select_split(usable: _UsableWords, rules: Rules) -> tuple[list[str], Float64[np.ndarray, " words"]]:
    """The words of the split, with their weights."""
    words, share = usable.words, rules.heldout
    if rules.split == "all":
        return words, usable.weights
    if share not in usable.held_out:
        usable.held_out[share] = np.fromiter((is_heldout(word, share) for word in words), bool, len(words))
    in_split = usable.held_out[share] == (rules.split == "heldout")
    return [*compress(words, in_split)], usable.weights[in_split]


def _count_entries(weights: Float64[np.ndarray, " words"]) -> np.ndarray:
    """The number of entries that each word stands for: its weight, rounded; 1 for a frequency, which is below 1."""
    return np.maximum(1, np.rint(weights)).astype(np.int64)


def cumulate(weights: Sequence[float] | Float64[np.ndarray, " n"]) -> array[float]:
    """Cumulative shares of ``weights``; the last is 1, and no weights give an empty array."""
    total = np.cumsum(np.asarray(weights, np.float64))
    if len(total):
        total /= total[-1]
        total[-1] = 1.0
    return array("d", total.tobytes())


def count_drops(dropped: Mapping[str, int], before: str, after: str) -> str:
    """Counts of what was left out, by reason, between ``before`` and ``after``; "" if nothing was."""
    if not dropped:
        return ""
    return before + ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items())) + after
