"""Streaming of words from shards, for corpora of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from dptr.shards.order import EpochOrder
from dptr.shards.rows import Rows
from dptr.shards.shard_set import ShardSet
from dptr.shards.survey import LEFT_OUT, Survey, Verdict, survey
from dptr.text.word_lists import count_drops

WINDOW = 1 << 18  # rows that are shuffled together, about 5 MB
TRAINED, HELD_OUT = 0, 1  # classes of words
SPLITS = {"train": (TRAINED,), "heldout": (HELD_OUT,), "all": (TRAINED, HELD_OUT)}
REDRAW = 1 << 40  # distance between the indices of an entry and of the entries that may replace it
_CACHED_CHUNKS = 64  # the most chunks in memory

Read = Callable[[str], tuple[str, str | None]]  # from an entry to its word, and the reason to drop it or None
Check = Callable[[Sequence[str]], Iterable[str | None]]  # from words to the reason to drop each of them, or None


@dataclass(frozen=True, eq=False)
class StreamedWords:
    """A source that goes through all words of shards, in a new seeded order each epoch.

    Attributes:
        name: for the log.
        found: the survey of the shards: which rows are used, and why others are not.
        order: the order of the rows of the split.
        language: code of the language whose case rules apply.
        styled: whether case styles and signs are applied. They are not applied to labels of pictures.
        restyled: whether an entry that does not fit may be used in another case.
    """

    name: str
    found: Survey
    order: EpochOrder = field(repr=False)
    language: str
    styled: bool
    restyled: bool

    @property
    def dropped(self) -> dict[str, int]:
        """The number of rows dropped in all splits, by reason."""
        return {reason: count for reason, (count, _) in self.found.drops.items()}

    def entry_at(self, index: int) -> str:
        """The entry at ``index`` >= 0. At ``index + n * REDRAW`` is the n-th entry after it, which may replace it."""
        attempt, index = divmod(index, REDRAW)
        chunk, row = self.order.locate(index + attempt)
        return _read(self.found.shards, chunk).labels[row] or ""

    def describe(self) -> str:
        """The number of entries and of words, and what was left out, for the log."""
        rows = f"{self.name}: {len(self.found.shards):,} entries, {self.order.length:,} words in this split, streamed"
        return rows + count_drops(self.dropped, "; left out: ", "")


def order_words(
    shards: ShardSet, split: str, seed: int, read: Read, holds: Callable[[str], bool], check: Check | None, cache: str,
    key: str,
) -> tuple[Survey, EpochOrder]:  # fmt: skip
    """Survey shards. Returns the survey, and the order of the words of a split, which may be empty.

    Args:
        shards: shards with labels.
        split: a key of ``SPLITS``.
        seed: the seed of the order.
        read: converts an entry to a word.
        holds: whether a word is held out.
        check: a further condition on words. With it, the survey is not cached.
        cache: the folder of cached surveys; "" keeps the survey in memory.
        key: identifies the settings that ``read`` and ``holds`` depend on.

    Raises:
        UserError: see ``survey``.
    """

    def judge(rows: Rows) -> Iterable[Verdict]:
        words = [read(label or "") for label in rows.labels]
        fitting = [word for word, reason in words if reason is None]
        limits = iter(check(fitting)) if check else iter([None] * len(fitting))
        for label, (word, reason) in zip(rows.labels, words, strict=True):
            reason = reason or next(limits)
            if reason:
                yield reason, repr(label or ""), 0
            else:
                yield (HELD_OUT if holds(word) else TRAINED), "", 0

    found = survey(shards, judge, False, "" if check else cache, f"words {key}", "corpus.cache")
    classes = SPLITS[split]

    counts = found.count(lambda chunk: (codes := found.codes_of(chunk))[codes < LEFT_OUT], 2)[:, classes].sum(1)
    return found, EpochOrder(shards.chunks[:, 3], counts, partial(_used_rows, found, classes), seed, WINDOW)


def _used_rows(found: Survey, classes: tuple[int, ...], chunk: int) -> np.ndarray:
    return np.flatnonzero(np.isin(found.codes_of(chunk), classes))


@lru_cache(maxsize=_CACHED_CHUNKS)
def _read(shards: ShardSet, chunk: int) -> Rows:
    return shards.read(chunk, pictures=False)
