"""Words drawn without replacement: each epoch takes every entry of the lists once, in a seeded order."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain

from dptr.text.word_lists import WordList
from dptr.utils.permutations import seeded_order


class ShuffledEpochs:
    """The entries of word lists, shuffled anew in each epoch. A word that is listed twice comes twice an epoch.

    It takes 8 bytes per distinct word, and ``seeded_order`` caches 8 bytes per entry for each of the last few epochs.

    Args:
        lists: word lists with ``counts``, with at least one word in all.
        seed: the seed of the orders.
    """

    def __init__(self, lists: Sequence[WordList], seed: int) -> None:
        self.lists, self.seed = tuple(lists), seed
        self._entry_ends = array("q", accumulate(chain.from_iterable(source.counts for source in lists)))
        self._first_words = [0, *accumulate(len(source.words) for source in lists)]  # index of each list's first word

    def __len__(self) -> int:
        """The number of entries of an epoch."""
        return self._entry_ends[-1]

    def word_at(self, index: int) -> tuple[WordList, str]:
        """The word at ``index`` >= 0 in the sequence of all epochs, and the list that it is from."""
        epoch, position = divmod(index, len(self))
        entry = int(seeded_order(self.seed, epoch, len(self))[position])
        word = bisect_right(self._entry_ends, entry)
        list_index = bisect_right(self._first_words, word) - 1
        source = self.lists[list_index]
        return source, source.words[word - self._first_words[list_index]]
