"""Exports the accepted words of a label set as labeled crops: a folder with ``labels.tsv``, or an LMDB.

Trainings read both. ``dptr.label.label_studio`` exports JSON for Label Studio.
"""

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
    """Write the accepted words as labeled crops: each word is cut out of its photograph and straightened.

    If a sample of the words accepted unseen was drawn (``dptr.label.check``), the record of the export holds its result
    as ``checked``.

    Args:
        out: an LMDB if the name ends in ``.lmdb``, otherwise a folder with ``labels.tsv`` and ``images``.
        drops: counts the words that are left out: those whose label a crop cannot have, and those that cannot be cut
            out, for example because the photograph is gone.
        states: the states of the words to write.
        replace: whether to replace an earlier export of this function that nobody has changed since.
        done: called after each word with the number of words written so far.

    Returns:
        The number of words written.

    Raises:
        UserError: no word is accepted or can be cut out, ``out`` holds something else, or the disk is full.
    """
    if out.suffix == ".tsv":
        raise UserError(f"{out}: a folder is written, with labels.tsv in it; pass a folder")
    if out.resolve() == store.folder.resolve() or lies_in(store.path, out):
        raise UserError(f"{out}: holds the set itself; pass another folder")
    earlier = own_dataset(out, changed=False) if replace else []
    samples = _cut_samples(store, states, drops)
    first = next(samples, None)
    if first is None:
        reasons = "; ".join(drops.lines(show=1)) or "none is accepted yet"
        raise UserError(f"{store.folder}: no word to export ({reasons}); label some, or lower the threshold")

    def count_samples() -> Iterator[Sample]:
        for count, sample in enumerate(chain([first], samples), 1):
            yield sample
            done(count)

    def describe(count: int) -> dict[str, Any]:
        checked = summarize(store)
        sample_result = {} if checked is None else {"checked": checked.to_dict()}
        return {
            "kind": "label",
            "source": str(store.folder),
            "words": count,
            "dropped": drops.to_json(),
            **sample_result,
        }

    if earlier:
        return replace_dataset(out, count_samples(), describe, earlier)
    if out.is_dir() and not os.listdir(out):
        out.rmdir()
    return write_dataset(out, count_samples(), describe)


def _cut_samples(store: Store, states: Sequence[State], drops: DropReport) -> Iterator[Sample]:
    pictures = Pictures(store)
    for item in store.each(states):
        key = f"word {item.id} of {name_of(item.photo)}"
        if not usable(item.text, key, drops):
            continue
        try:
            yield encode_crop(pictures.cut(item)), item.text
        except UserError as error:
            drops.add(UNREADABLE, key, str(error))
