"""Compares two recognizers on the same labeled crops: word accuracies, and the words that they read differently."""

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

CHANGED = 200  # words listed in a comparison
SHARE = 0.15  # approximate share of the crops to hold out, as in ``dptr finetune``


@dataclass(frozen=True)
class Changed:
    """A word that the two recognizers read differently.

    Attributes:
        name: the key of its crop in the data set.
        label: the correct text.
        before, after: the text that each recognizer read.
        right_before, right_after: whether that text matches the label under the protocol of the comparison.
    """

    name: str
    label: str
    before: str
    after: str
    right_before: bool
    right_after: bool


@dataclass(frozen=True)
class Compared:
    """The comparison of two recognizers on the same crops.

    Attributes:
        words: how many crops were read.
        before, after: the word accuracy of each recognizer, 0 to 1.
        protocol: how texts were compared: a key of ``dptr.evaluation.metrics.PROTOCOLS``. A label that becomes empty
            under the protocol, such as one of punctuation alone, is compared as it is written.
        held_out: whether these crops were held out of the training. The training still selected its best state on them.
        changes: how many words the two read differently.
        changed: these words, ``CHANGED`` at most. Words that became wrong come first.
    """

    words: int
    before: float
    after: float
    protocol: str
    held_out: bool
    changes: int
    changed: tuple[Changed, ...]

    def to_dict(self) -> dict[str, Any]:
        """The attributes as a JSON object."""
        return asdict(self)


def hold_out(crops: Path) -> float:
    """The share of labeled crops to hold out, 0 to 1: at least one crop is held out, and at least one is not.

    Raises:
        UserError: there are fewer than two different crops, or the crops cannot be opened.
    """
    dataset = open_labeled(crops)
    hashes = sorted({hash_picture(dataset.image_bytes(index)) for index in range(len(dataset))})
    if len(hashes) < 2:
        raise UserError(f"{len(hashes)} labeled word: one is held out, so two are needed; label more")
    values = np.array(hashes, np.uint32)
    count_held_out = int(is_held_out(values, SHARE).sum())
    if 0 < count_held_out < len(hashes):
        return SHARE
    return (hashes[0] + 1) / 2.0**32  # holds out exactly the crop of the lowest hash


def compare(before: Reader, after: Reader, crops: Path, share: float) -> Compared:
    """Read the same crops with two recognizers, and compare the texts.

    Args:
        before, after: the recognizers; the charset of ``after`` decides the protocol.
        crops: a folder or file of labeled crops.
        share: the share that ``dptr finetune`` held out, 0 to 1: only the held-out crops are read. 0 = all crops.

    Raises:
        UserError: the crops cannot be opened.
    """
    dataset = open_labeled(crops)
    indices = _select_indices(dataset, share)
    protocol = validation_protocol(after.tokenizer.charset)
    fold = PROTOCOLS[protocol]
    right = [0, 0]
    changed: list[Changed] = []
    for index, *texts in zip(
        indices, _read_texts(before, dataset, indices), _read_texts(after, dataset, indices), strict=True
    ):
        label = dataset.label(index)
        normalize = fold if fold(label) else normalize_label
        correct = [normalize(text) == normalize(label) for text in texts]
        right = [count + is_correct for count, is_correct in zip(right, correct, strict=True)]
        if texts[0] != texts[1]:
            changed.append(Changed(dataset.key(index), label, texts[0], texts[1], correct[0], correct[1]))
    changed.sort(key=lambda word: (word.right_after, not word.right_before))
    count = max(1, len(indices))
    return Compared(
        len(indices), right[0] / count, right[1] / count, protocol, bool(share), len(changed), tuple(changed[:CHANGED])
    )


def _select_indices(dataset: LabeledDataset, share: float) -> list[int]:
    if not share:
        return list(range(len(dataset)))
    hashes = np.array([hash_picture(dataset.image_bytes(index)) for index in range(len(dataset))], np.uint32)
    return [int(index) for index in np.flatnonzero(is_held_out(hashes, share))]


def _read_texts(reader: Reader, dataset: LabeledDataset, indices: Sequence[int]) -> Iterator[str]:
    """The text of each crop, in order; empty for a crop that cannot be decoded."""
    for outcome in reader.stream(dataset.image_bytes(index) for index in indices):
        yield "" if isinstance(outcome, UserError) else outcome.text
