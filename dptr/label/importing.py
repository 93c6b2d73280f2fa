"""Imports words that are already labeled: from data sets of labeled crops, and from Label Studio."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from dptr.data.crops import UNREADABLE
from dptr.data.importers.common import ILLEGIBLE_TEXT
from dptr.data.labeled import open_labeled
from dptr.data.report import DropReport
from dptr.label.item import Proposal, check_text
from dptr.label.label_studio import BROKEN_LABEL, IN_SET, import_label_studio
from dptr.label.store import Store
from dptr.utils.errors import UserError
from dptr.utils.images import open_image

Done = Callable[[int], None]

NAMED_TWICE = "a picture named twice"


def import_labels(store: Store, source: Path, drops: DropReport, done: Done = lambda words: None) -> int:
    """Add labeled words to a label set. Words that are already in the set stay unchanged.

    Args:
        store: the label set.
        source: a JSON file of Label Studio, an LMDB, or a folder with ``labels.tsv``.
        drops: counts the words that are left out, by reason.
        done: called with the number of crops read so far; not called for JSON.

    Returns:
        The number of words that were added.

    Raises:
        UserError: the source is none of the three, or is damaged.
    """
    if source.suffix.lower() == ".json":
        return import_label_studio(store, source, drops)
    return import_crops(store, source, drops, done)


def import_crops(store: Store, source: Path, drops: DropReport, done: Done = lambda words: None) -> int:
    """Add labeled crops; the label set stores their pictures.

    Arguments, result, and errors are those of ``import_labels``.
    """
    dataset = open_labeled(source)
    seen: set[str] = set()
    added = 0
    for index in range(len(dataset)):
        done(index + 1)
        key = dataset.key(index)
        try:
            content = dataset.image_bytes(index)
            size = open_image(BytesIO(content)).size
        except UserError as error:
            drops.add(UNREADABLE, key, str(error))
            continue
        try:
            text = check_text(dataset.label(index))
        except UserError as error:
            drops.add(BROKEN_LABEL, key, str(error))
            continue
        if key in seen:
            drops.add(NAMED_TWICE, key, text)
            continue
        seen.add(key)
        illegible = text == ILLEGIBLE_TEXT
        word = Proposal((), "" if illegible else text, 1.0, "illegible" if illegible else "labeled")
        if store.add(os.path.join(os.path.abspath(dataset.path), key), 1, size, [word], content):
            added += 1
        else:
            drops.add(IN_SET, key, text)
    return added
