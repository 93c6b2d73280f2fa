"""Problems and statistics of labeled crops: ``dptr data check`` and ``dptr data stats``."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from dptr.data.check.near_duplicates import difference_hash, fingerprint, near_duplicates, same_pictures, thumbnail
from dptr.data.crops import UNREADABLE
from dptr.data.labeled import LabeledDataset, name_crop, open_labeled
from dptr.data.report import DropReport
from dptr.text.charset import BARE_MARK, EMPTY, MIXED, OUTSIDE, TOO_LONG, Charset, check_label, normalize_label
from dptr.utils.errors import UserError
from dptr.version import __version__

SMALLEST = 8  # pixels; a word with a shorter side below this is hardly readable
MOJIBAKE = "label damaged by a wrong encoding"
CONTROL = "control, private, or unassigned characters in the label"
TINY = "tiny picture"
TURNED = "picture taller than twice its width"
REPEATED = "the same picture twice, labeled alike"
CONTRADICTING = "the same picture twice, labeled differently"
SEEN = "also in the other set"
Progress = Callable[[str, int, int], None]


@dataclass
class Contents:
    """Statistics of data sets.

    Attributes:
        count: of crops, including unreadable ones and those without a label.
        characters, lengths: of the labels after ``normalize_label``.
        sizes: width and height in pixels of each readable picture.
    """

    paths: list[str]
    count: int = 0
    characters: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    sizes: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class NearDuplicate:
    """Two crops of the same picture; ``likeness`` is the correlation of their thumbnails, 1 for equal ones."""

    key: str
    label: str
    other_key: str
    other_label: str
    likeness: float


@dataclass
class Check:
    """The result of ``check``: statistics, problems by reason, characters outside the charset, near-duplicates."""

    contents: Contents
    problems: DropReport = field(default_factory=lambda: DropReport(listed=50))
    outside: Counter[str] = field(default_factory=Counter)
    twins: list[NearDuplicate] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The result without pictures, for JSON."""
        contents = self.contents
        return {
            "dptr": __version__,
            "paths": contents.paths,
            "count": contents.count,
            "problems": self.problems.to_json(),
            "outside_charset": dict(self.outside.most_common()),
            "twins": [vars(twin) for twin in self.twins],
            "characters": dict(contents.characters.most_common()),
            "lengths": {str(length): contents.lengths[length] for length in sorted(contents.lengths)},
            "sizes": sizes(contents),
        }

    def lines(self) -> list[str]:
        """The result as lines for the terminal."""
        contents = self.contents
        messages = [
            f"{', '.join(contents.paths)}: {contents.count:,} crops, {len(contents.characters)} different characters"
        ]
        if contents.lengths:
            messages.append(f"labels of {min(contents.lengths)} to {max(contents.lengths)} characters")
        if contents.sizes:
            messages.append("pictures, width x height: " + ", ".join(f"{k} {v}" for k, v in sizes(contents).items()))
        problems = [line.replace("dropped", "found", 1) for line in self.problems.lines()]
        messages += problems or ["no problem found"]
        if self.outside:
            named = ", ".join(f"{shown(character)} {count}" for character, count in self.outside.most_common(20))
            messages.append(f"characters outside the charset: {named}{', ...' if len(self.outside) > 20 else ''}")
        return messages


@dataclass
class _PictureIndex:
    """Fingerprints of the readable pictures, for comparison."""

    rows: list[tuple[LabeledDataset, int]] = field(default_factory=list)
    exact: list[bytes] = field(default_factory=list)
    hashes: list[Bool[np.ndarray, " 512"]] = field(default_factory=list)
    thumbnails: list[Float32[np.ndarray, " 1024"]] = field(default_factory=list)


def check(
    paths: Sequence[str | Path],
    charset: Charset | None = None,
    max_length: int = 25,
    against: Sequence[str | Path] = (),
    progress: Progress = lambda what, done, whole: None,
) -> Check:
    """Check every label and picture of data sets.

    Problems are counted by reason: unreadable, tiny, or tall pictures; empty, too long, or damaged labels; characters
    outside ``charset``; equal pictures; and near-duplicates of crops in ``against``.

    Args:
        charset: None = allow all characters.
        against: other data sets, such as test sets, whose crops a training set must not contain.

    Raises:
        UserError: no paths, or a data set that cannot be opened.
    """
    if not paths:
        raise UserError("no data set given; pass a folder with labels.tsv, or an LMDB folder")
    sets, others = [open_labeled(path) for path in paths], [open_labeled(path) for path in against]
    found = Check(Contents([str(path) for path in paths]))
    for dataset in sets:
        for index in range(len(dataset)):
            _check_label(found, dataset, index, charset, max_length)
    looks = _check_pictures(found, sets, progress, "pictures")
    for group in same_pictures(looks.exact):
        labels = {normalize_label(looks.rows[row][0].label(looks.rows[row][1])) for row in group}
        for row in group[1:]:
            reason = REPEATED if len(labels) == 1 else CONTRADICTING
            first, again = (looks.rows[place] for place in (group[0], row))
            found.problems.add(reason, name_crop(*again), f"as {name_crop(*first)}, {' / '.join(sorted(labels))}")
    if others:
        theirs = _check_pictures(None, others, progress, "pictures of the other sets")
        found.twins = _twins(looks, theirs)
        nearest = {twin.key: twin for twin in reversed(found.twins)}  # the likest come first
        for twin in nearest.values():
            found.problems.add(SEEN, twin.key, f"{twin.other_key}, likeness {twin.likeness:.3f}")
    return found


def _check_label(found: Check, dataset: LabeledDataset, index: int, charset: Charset | None, max_length: int) -> None:
    contents, label = found.contents, dataset.label(index)
    contents.count += 1
    text = normalize_label(label) if charset is None else charset.normalize(label)
    contents.characters.update(text)
    contents.lengths[len(text)] += 1
    problems = []
    if not text:
        problems.append(EMPTY)
    if charset is not None:
        folded, reason = check_label(label, charset, max_length)
        if reason == OUTSIDE:
            problems.append(OUTSIDE)
            found.outside.update(set(folded) - set(charset.characters))
        elif reason in (BARE_MARK, MIXED):
            problems.append(reason)
    if len(text) > max_length:
        problems.append(TOO_LONG)
    if is_mojibake(label):
        problems.append(MOJIBAKE)
    if any(unicodedata.category(character) in ("Cc", "Co", "Cs", "Cn") for character in text):
        problems.append(CONTROL)
    for reason in problems:
        found.problems.add(reason, name_crop(dataset, index), repr(label))


def _check_pictures(
    found: Check | None, sets: Sequence[LabeledDataset], progress: Progress, what: str
) -> _PictureIndex:
    looks, done, whole = _PictureIndex(), 0, sum(map(len, sets))
    for dataset in sets:
        for index in range(len(dataset)):
            done += 1
            try:
                image = dataset.image(index)
            except UserError as error:
                if found is not None:
                    found.problems.add(UNREADABLE, name_crop(dataset, index), str(error))
                continue
            if found is not None:
                found.contents.sizes.append(image.size)
                shape = f"{image.width}x{image.height} pixels"
                if min(image.size) < SMALLEST:
                    found.problems.add(TINY, name_crop(dataset, index), shape)
                if image.height > 2 * image.width:
                    found.problems.add(TURNED, name_crop(dataset, index), shape)
            looks.rows.append((dataset, index))
            looks.exact.append(fingerprint(image))
            looks.hashes.append(difference_hash(image))
            looks.thumbnails.append(thumbnail(image))
            if done % 50 == 0 or done == whole:
                progress(what, done, whole)
    return looks


def _twins(ours: _PictureIndex, theirs: _PictureIndex) -> list[NearDuplicate]:
    if not ours.rows or not theirs.rows:
        return []
    pairs = near_duplicates(
        np.stack(ours.hashes), np.stack(ours.thumbnails), np.stack(theirs.hashes), np.stack(theirs.thumbnails)
    )
    twins = []
    for row, other, likeness in pairs:
        (dataset, index), (other_set, other_index) = ours.rows[row], theirs.rows[other]
        twins.append(
            NearDuplicate(
                name_crop(dataset, index),
                dataset.label(index),
                name_crop(other_set, other_index),
                other_set.label(other_index),
                round(likeness, 4),
            )
        )
    return twins


def is_mojibake(label: str) -> bool:
    """Whether a label is UTF-8 read as Windows-1252 or Latin-1 (``Ã©`` for ``é``), or has the replacement character."""
    if "\ufffd" in label:
        return True
    for encoding in ("cp1252", "latin-1"):
        try:
            return label.encode(encoding).decode("utf-8") != label
        except UnicodeError:
            continue
    return False


def sizes(contents: Contents) -> dict[str, str]:
    """Smallest, median, and largest width and height, as text by name."""
    if not contents.sizes:
        return {}
    table = np.array(contents.sizes)
    ranks = {"smallest": table.min(0), "median": np.median(table, axis=0), "largest": table.max(0)}
    return {name: "x".join(str(int(value)) for value in row) for name, row in ranks.items()}


def shown(character: str) -> str:
    """A character with its code point; the code point alone if the character is not printable."""
    code = f"U+{ord(character):04X}"
    return f"{character} ({code})" if character.isprintable() else code
