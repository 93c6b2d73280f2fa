"""A set of labels out: a folder with ``labels.tsv`` or an LMDB, which trainings read, or JSON of Label Studio."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dptr.data.crops import UNREADABLE
from dptr.data.importers.common import usable
from dptr.data.importers.output import Sample, own_dataset, replace_dataset, write_dataset
from dptr.data.report import DropReport
from dptr.label.check import summarize
from dptr.label.item import ACCEPTED, State
from dptr.label.pictures import Pictures, encode_crop, name_of
from dptr.label.store import Store
from dptr.utils.errors import UserError
from dptr.utils.outputs import lies_in

Done = Callable[[int], None]


def export_crops(
    store: Store,
    out: Path,
    drops: DropReport,
    states: Sequence[State] = ACCEPTED,
    replace: bool = True,
    done: Done = lambda words: None,
) -> int:
    """Write the accepted words, each cut out and straightened, as labeled crops.

    The record beside them says what a sample told of the words that were accepted unseen (``dptr.label.check``).

    Args:
        out: an LMDB where it ends in ``.lmdb``, else a folder with ``labels.tsv`` and ``images``.
        drops: counts what is left out: words whose photograph cannot be opened any more.
        states: of the words that are written.
        replace: whether an earlier export of this function, which nobody changed since, is replaced.
        done: called with the number of words so far.

    Returns:
        The number of words.

    Raises:
        UserError: no word is accepted or can be cut out, ``out`` holds something else, or the disk is full.
    """
    if out.suffix == ".tsv":
        raise UserError(f"{out}: a folder is written, with labels.tsv in it; pass a folder")
    if out.resolve() == store.folder.resolve() or lies_in(store.path, out):
        raise UserError(f"{out}: holds the set itself; pass another folder")
    older = own_dataset(out, changed=False) if replace else []
    samples = _samples(store, states, drops)
    first = next(samples, None)
    if first is None:
        reasons = "; ".join(drops.lines(show=1)) or "none is accepted yet"
        raise UserError(f"{store.folder}: no word to export ({reasons}); label some, or lower the threshold")

    def counted() -> Iterator[Sample]:
        for count, sample in enumerate(chain([first], samples), 1):
            yield sample
            done(count)

    def describe(count: int) -> dict[str, Any]:
        checked = summarize(store)
        told = {} if checked is None else {"checked": checked.to_dict()}
        return {"kind": "label", "source": str(store.folder), "words": count, "dropped": drops.to_json(), **told}

    if older:
        return replace_dataset(out, counted(), describe, older)
    if out.is_dir() and not os.listdir(out):
        out.rmdir()
    return write_dataset(out, counted(), describe)


def _samples(store: Store, states: Sequence[State], drops: DropReport) -> Iterator[Sample]:
    pictures = Pictures(store)
    for item in store.each(states):
        key = f"word {item.id} of {name_of(item.photo)}"
        if not usable(item.text, key, drops):
            continue
        try:
            yield encode_crop(pictures.cut(item)), item.text
        except UserError as error:
            drops.add(UNREADABLE, key, str(error))
