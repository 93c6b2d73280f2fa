"""What two recognizers read of labeled crops: which words changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.labeled import LabeledDataset, open_labeled
from dptr.evaluation.metrics import PROTOCOLS, validation_protocol
from dptr.inference.reader import Reader
from dptr.text.charset import normalize_label
from dptr.utils.errors import UserError

CHANGED = 200  # words that are listed at most
SHARE = 0.15  # of the crops that is held out, about, as ``dptr finetune`` does


@dataclass(frozen=True)
class Changed:
    """A word that is read otherwise; ``name`` is its crop's in the data set."""

    name: str
    label: str
    before: str
    after: str
    right_before: bool
    right_after: bool


@dataclass(frozen=True)
class Compared:
    """Two recognizers on the same crops.

    Attributes:
        words: how many crops.
        before, after: word accuracy, 0 to 1.
        protocol: how words were compared, a key of ``dptr.evaluation.metrics.PROTOCOLS``; labels of which it leaves
            nothing, such as signs alone, as they stand.
        held_out: whether the training did not learn from these crops; it chose its best state by them.
        changes: how many words are read otherwise.
        changed: the first of them, those that were right before and are not any more first.
    """

    words: int
    before: float
    after: float
    protocol: str
    held_out: bool
    changes: int
    changed: tuple[Changed, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def hold_out(crops: Path) -> float:
    """The share of labeled crops to hold out, so that at least one is, and one is not.

    Raises:
        UserError: there are less than two different crops.
    """
    dataset = open_labeled(crops)
    hashes = sorted({hash_picture(dataset.image_bytes(index)) for index in range(len(dataset))})
    if len(hashes) < 2:
        raise UserError(f"{len(hashes)} labeled word: one is held out, so two are needed; label more")
    values = np.array(hashes, np.uint32)
    held = int(is_held_out(values, SHARE).sum())
    if 0 < held < len(hashes):
        return SHARE
    return (hashes[0] + 1) / 2.0**32  # the one of the lowest hash, which comes first among those held out


def compare(before: Reader, after: Reader, crops: Path, share: float) -> Compared:
    """Read crops with two recognizers.

    Args:
        share: of the crops, those that ``dptr finetune`` held out with it; 0 = all.

    Raises:
        UserError: the crops cannot be opened.
    """
    dataset = open_labeled(crops)
    indices = _chosen(dataset, share)
    protocol = validation_protocol(after.tokenizer.charset)
    fold = PROTOCOLS[protocol]
    right = [0, 0]
    changed: list[Changed] = []
    for index, *texts in zip(indices, _read(before, dataset, indices), _read(after, dataset, indices), strict=True):
        label = dataset.label(index)
        own = fold if fold(label) else normalize_label
        correct = [own(text) == own(label) for text in texts]
        right = [count + one for count, one in zip(right, correct, strict=True)]
        if texts[0] != texts[1]:
            changed.append(Changed(dataset.key(index), label, texts[0], texts[1], correct[0], correct[1]))
    changed.sort(key=lambda word: (word.right_after, not word.right_before))
    count = max(1, len(indices))
    return Compared(
        len(indices), right[0] / count, right[1] / count, protocol, bool(share), len(changed), tuple(changed[:CHANGED])
    )


def _chosen(dataset: LabeledDataset, share: float) -> list[int]:
    if not share:
        return list(range(len(dataset)))
    hashes = np.array([hash_picture(dataset.image_bytes(index)) for index in range(len(dataset))], np.uint32)
    return [int(index) for index in np.flatnonzero(is_held_out(hashes, share))]


def _read(reader: Reader, dataset: LabeledDataset, indices: Sequence[int]) -> Iterator[str]:
    for outcome in reader.stream(dataset.image_bytes(index) for index in indices):
        yield "" if isinstance(outcome, UserError) else outcome.text
