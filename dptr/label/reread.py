"""Reads open words again with another recognizer, so that the page shows first the words that it is least sure of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from dptr.inference.reader import Prepared, Reader
from dptr.label.item import Item
from dptr.label.pictures import Pictures
from dptr.label.store import Store
from dptr.utils.errors import UserError


def read_again(store: Store, reader: Reader, stopped: Callable[[], bool] = lambda: False) -> int:
    """Replace the proposed text of each open word by what another recognizer reads.

    No word is accepted unseen, whatever its confidence: the confidence of a recognizer that was just trained has not
    been checked. Words whose crop cannot be cut out are skipped.

    Args:
        store: the label set.
        reader: the recognizer.
        stopped: called before each batch; if it returns True, no further batch is read.

    Returns:
        How many words have a new proposal.
    """
    changed = 0
    words = _prepare_crops(store, reader)
    while not stopped() and (batch := list(islice(words, reader.batch_size))):
        readings = reader.read_prepared([prepared for _, prepared in batch])
        changed += store.propose_again(
            [(item, reading.text, reading.confidence) for (item, _), reading in zip(batch, readings, strict=True)]
        )
    return changed


def _prepare_crops(store: Store, reader: Reader) -> Iterator[tuple[Item, Prepared]]:
    pictures = Pictures(store)
    for item in store.each(["open"]):
        try:
            yield item, reader.prepare(pictures.cut(item))
        except UserError:  # the page reports the missing photograph when it shows the word
            continue
