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
REDRAW = 1 << 40  # distance between the indices that are tried instead of an unusable word
_CHUNKS = 64  # in memory at most

Read = Callable[[str], tuple[str, str | None]]  # from an entry to its word, and the reason to leave it out, or None
Check = Callable[[Sequence[str]], Iterable[str | None]]  # a further condition: from words to reasons, or None


@dataclass(frozen=True, eq=False)
class StreamedWords:
    """A source that goes through all words of shards, in a new seeded order each epoch.

    Attributes:
        name: for the log.
        language: for rules of case.
        styled: whether case styles and signs are applied; not to labels of pictures.
        restyled: whether an entry may be used in another case if it does not fit unchanged.
    """

    name: str
    found: Survey
    order: EpochOrder = field(repr=False)
    language: str
    styled: bool
    restyled: bool

    @property
    def dropped(self) -> dict[str, int]:
        """The number of rows of all splits that are left out, by reason."""
        return {reason: count for reason, (count, _) in self.found.drops.items()}

    def entry_at(self, index: int) -> str:
        """The entry at ``index`` >= 0; beyond ``REDRAW``, the next ones, which are tried instead of it."""
        attempt, index = divmod(index, REDRAW)
        chunk, row = self.order.locate(index + attempt)
        return _read(self.found.shards, chunk).labels[row] or ""

    def describe(self) -> str:
        """A description for the log."""
        rows = f"{self.name}: {len(self.found.shards):,} entries, {self.order.length:,} words in this split, streamed"
        return rows + count_drops(self.dropped, "; left out: ", "")


def order_words(
    shards: ShardSet, split: str, seed: int, read: Read, holds: Callable[[str], bool], check: Check | None, cache: str,
    key: str,
) -> tuple[Survey, EpochOrder]:  # fmt: skip
    """Survey shards, and return the result with the order of a split's words (which may be empty).

    Args:
        holds: whether a word is held out.
        check: a condition in addition to ``read``; the survey is not cached if there is one.
        key: identifies what ``read`` and ``holds`` depend on.

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
    return found, EpochOrder(shards.chunks[:, 3], counts, partial(_rows_of, found, classes), seed, WINDOW)


def _rows_of(found: Survey, classes: tuple[int, ...], chunk: int) -> np.ndarray:
    return np.flatnonzero(np.isin(found.codes_of(chunk), classes))


@lru_cache(maxsize=_CHUNKS)
def _read(shards: ShardSet, chunk: int) -> Rows:
    return shards.read(chunk, pictures=False)
