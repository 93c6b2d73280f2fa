"""Open words read again by another recognizer, so that the page asks first about what that one is least sure of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from dptr.inference.reader import Prepared, Reader
from dptr.label.item import Item
from dptr.label.pictures import Pictures
from dptr.label.store import Store
from dptr.utils.errors import UserError


def read_again(store: Store, reader: Reader, stopped: Callable[[], bool] = lambda: False) -> int:
    """Propose anew what is to be read of the words that nobody has looked at.

    None is accepted by that: how sure a recognizer that was just trained is has not been measured.

    Args:
        stopped: asked before each batch; True ends it.

    Returns:
        How many words have a new proposal.
    """
    changed = 0
    words = _prepare(store, reader)
    while not stopped() and (batch := list(islice(words, reader.batch_size))):
        readings = reader.read_prepared([prepared for _, prepared in batch])
        changed += store.propose_again(
            [(item, each.text, each.confidence) for (item, _), each in zip(batch, readings, strict=True)]
        )
    return changed


def _prepare(store: Store, reader: Reader) -> Iterator[tuple[Item, Prepared]]:
    pictures = Pictures(store)
    for item in store.each(["open"]):
        try:
            yield item, reader.prepare(pictures.cut(item))
        except UserError:  # a photograph that is gone: the page says so when its turn comes
            continue
