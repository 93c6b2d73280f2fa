"""Words drawn without replacement: in each epoch every entry of the lists once, in a seeded order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

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
        counts = np.fromiter(chain.from_iterable(source.counts for source in lists), np.int64)
        self._ends = np.cumsum(counts)
        self._first = np.cumsum([0, *(len(source.words) for source in lists)])  # of each list, among all words

    def __len__(self) -> int:
        """Entries of an epoch."""
        return int(self._ends[-1])

    def word_at(self, index: int) -> tuple[WordList, str]:
        """The word at ``index`` >= 0 of all epochs, and its list."""
        epoch, place = divmod(index, len(self))
        entry = seeded_order(self.seed, epoch, len(self))[place]
        word = int(np.searchsorted(self._ends, entry, side="right"))
        number = int(np.searchsorted(self._first, word, side="right")) - 1
        source = self.lists[number]
        return source, source.words[word - int(self._first[number])]
