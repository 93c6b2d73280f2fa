"""Words drawn without replacement: in each epoch every entry of the lists once, in a seeded order."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain

from dptr.text.word_lists import WordList
from dptr.utils.permutations import seeded_order


class ShuffledEpochs:
    """Entries of word lists, shuffled anew each epoch; a word that stands there twice comes twice an epoch.

    It holds 8 bytes a distinct word, and ``seeded_order`` 8 bytes an entry for each of the last epochs.

    Args:
        lists: with ``counts``; at least one word in all.
        seed: of the orders.
    """

    def __init__(self, lists: Sequence[WordList], seed: int) -> None:
        self.lists, self.seed = tuple(lists), seed
        self._ends = array("q", accumulate(chain.from_iterable(source.counts for source in lists)))
        self._first = [0, *accumulate(len(source.words) for source in lists)]  # of each list, among all words

    def __len__(self) -> int:
        """Entries of an epoch."""
        return self._ends[-1]

    def word_at(self, index: int) -> tuple[WordList, str]:
        """The word at ``index`` >= 0 of all epochs, and its list."""
        epoch, place = divmod(index, len(self))
        entry = int(seeded_order(self.seed, epoch, len(self))[place])
        word = bisect_right(self._ends, entry)
        number = bisect_right(self._first, word) - 1
        source = self.lists[number]
        return source, source.words[word - self._first[number]]
