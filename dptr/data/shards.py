"""Labeled crops that are streamed from shards: each is opened when it is needed, so that any number can be used.

A survey of all rows before the first step (``dptr.shards.survey``) finds unusable labels, unreadable pictures, and
validation crops, which are counted as in other data sets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import PIL
from jaxtyping import Int, UInt32
from PIL import Image

from dptr.config.size import CropSize
from dptr.data.augment import augment
from dptr.data.crops import UNREADABLE, LabeledCrops, as_arrays
from dptr.data.held_out import hash_picture, is_held_out
from dptr.data.report import DropReport
from dptr.data.sources import Sample
from dptr.shards.order import EpochOrder
from dptr.shards.rows import Rows
from dptr.shards.shard_set import ShardSet, open_shards
from dptr.shards.survey import LEFT_OUT, Survey, Verdict, survey
from dptr.text.charset import EMPTY, Charset, check_label
from dptr.utils.errors import UserError
from dptr.utils.images import open_image
from dptr.utils.permutations import seeded_order
from dptr.utils.resize import fit, turn_tall
from dptr.utils.sizes import Size, Sizes

VALIDATION = 10_000  # validation crops at most, since they are in memory
OTHERWISE = "written otherwise in this charset"
_NO_PICTURE = "no picture"


@dataclass(frozen=True, eq=False)
class ReadChunks:
    """Chunks of shards, with a cache of the most recently used ones."""

    shards: ShardSet
    rows: int  # cached at most; at least one chunk is
    _cache: OrderedDict[int, Rows] = field(default_factory=OrderedDict, repr=False)

    def __getitem__(self, chunk: int) -> Rows:
        if chunk in self._cache:
            self._cache.move_to_end(chunk)
        else:
            count = sum(map(len, self._cache.values())) + int(self.shards.chunks[chunk, 3])
            while self._cache and count > self.rows:
                count -= len(self._cache.popitem(last=False)[1])
            self._cache[chunk] = self.shards.read(chunk)
        return self._cache[chunk]

    def __getstate__(self) -> dict[str, object]:
        return {"shards": self.shards, "rows": self.rows, "_cache": OrderedDict()}


@dataclass(frozen=True, eq=False)
class Surveyed:
    """Shards after the survey of their rows.

    Attributes:
        survey: its classes are indices of sizes in ``sizes.every``.
        share: of pictures that are held out, by their hashes; 0 = none.
    """

    survey: Survey
    charset: Charset
    max_length: int
    sizes: Sizes
    share: float

    def held_out(self, chunk: int) -> np.ndarray:
        """The usable rows of a chunk that are held out."""
        return np.flatnonzero((self.survey.codes_of(chunk) < LEFT_OUT) & self._is_held_out(chunk))

    def classes(self, chunk: int) -> np.ndarray:
        """The class of each training row of a chunk, and ``LEFT_OUT`` for the others."""
        return np.where(self._is_held_out(chunk), LEFT_OUT, np.minimum(self.survey.codes_of(chunk), LEFT_OUT))

    def rows_of(self, classes: tuple[int, ...], chunk: int) -> np.ndarray:
        """The training rows of a chunk with one of these classes."""
        return np.flatnonzero(np.isin(self.classes(chunk), classes))

    @cached_property
    def counts(self) -> Int[np.ndarray, "chunks sizes"]:
        """The number of training crops of each size, by chunk."""
        kinds = len(self.sizes.every)
        return self.survey.count(lambda chunk: _below(self.classes(chunk), kinds), kinds)

    def open(self, rows: Rows, row: int, name: str = "") -> tuple[Image.Image, str]:
        """The picture of a usable row, and its label.

        Raises:
            UserError: it has become unreadable since the survey.
        """
        data = rows.pictures[row]
        if data is None:
            raise UserError(f"{self.survey.shards.url}: a row has changed since it was opened; start again")
        return open_image(data, name), check_label(rows.labels[row] or "", self.charset, self.max_length)[0]

    def _is_held_out(self, chunk: int) -> np.ndarray:
        if not self.share:
            return np.zeros(int(self.survey.shards.chunks[chunk, 3]), bool)
        return is_held_out(self.survey.hashes_of(chunk), self.share)


@dataclass(frozen=True, eq=False)
class StreamedCrops:
    """Crops of shards, augmented, in a new seeded order each epoch: a ``SizedSource``.

    Args:
        surveyed: the rows, and how to open them.
        chunks: reads them.
        seed, window, stream: see ``EpochOrder``.
        strength: of augmentation, 0 to 1; 0 = off.
        kept: indices of the sizes to use; empty = all.
    """

    surveyed: Surveyed
    chunks: ReadChunks
    seed: int
    window: int
    strength: float
    stream: int = 0
    kept: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """The number of crops in an epoch."""
        return self.order.length

    @cached_property
    def order(self) -> EpochOrder:
        """The order of rows."""
        chosen = sorted(self.kept or range(len(self.surveyed.sizes.every)))
        counts = self.surveyed.counts[:, chosen].sum(1)
        rows = self.surveyed.survey.shards.chunks[:, 3]

        used = partial(self.surveyed.rows_of, tuple(chosen))
        return EpochOrder(rows, counts, used, self.seed, self.window, self.stream)

    def sample(self, index: int) -> Sample:
        chunk, row = self.order.locate(index)
        rows = self.chunks[chunk]
        image, label = self.surveyed.open(rows, row)
        crop = fit(image, self.surveyed.sizes)
        if self.strength:
            key = [self.seed + (self.stream << 48), index]
            crop = augment(crop, np.random.Generator(np.random.Philox(key=key)), self.strength)
        stops = rows.stops[row]
        if stops is None or len(stops) != 2 * len(label):
            return crop, label, np.full((len(label), 2), np.nan, np.float32)
        return crop, label, np.array(stops, np.float32).reshape(-1, 2)

    def word(self, index: int) -> str:
        chunk, row = self.order.locate(index)
        return check_label(self.chunks[chunk].labels[row] or "", self.surveyed.charset, self.surveyed.max_length)[0]

    def count_sizes(self) -> dict[Size, int]:
        """See ``SizedSource``."""
        counts = self.surveyed.counts.sum(0, dtype=np.int64).tolist()
        return {size: count for size, count in zip(self.surveyed.sizes.every, counts, strict=True) if count}

    def keep_sizes(self, sizes: Collection[Size], stream: int) -> StreamedCrops:
        """See ``SizedSource``."""
        kept = frozenset(number for number, size in enumerate(self.surveyed.sizes.every) if size in sizes)
        return replace(self, stream=stream, kept=kept)


def stream_crops(
    path: str,
    charset: Charset,
    max_length: int,
    size: CropSize,
    seed: int,
    strength: float,
    window: int,
    cache: str = "",
    allow_empty: bool = False,
    share: float = 0.0,
    exact: bool = False,
) -> StreamedCrops:
    """Open the training crops of shards.

    Rows are left out, counted, and listed as by ``load_crops``.

    Args:
        path: a folder, a file, or an address of shards.
        seed, window: see ``EpochOrder``.
        strength: of augmentation.
        cache: folder for the result of the survey; empty = survey at each start.
        share: of pictures, by their hashes, to hold out.
        exact: leave out labels that ``charset`` changes, since the picture shows the original.

    Raises:
        UserError: shards without pictures; no row is left to train on; see ``open_shards``, ``survey``.
    """
    shards = open_shards(path)
    if not shards.pictures:
        raise UserError(f"{shards.url}: no pictures in these shards; labeled crops have one in each row")

    def judge(rows: Rows) -> Iterable[Verdict]:
        classes = {each: index for index, each in enumerate(size.every)}
        for label, data in zip(rows.labels, rows.pictures, strict=True):
            text, reason = check_label(label or "", charset, max_length)
            if exact and not reason and text != label:
                reason = OTHERWISE
            if reason and not (reason == EMPTY and allow_empty):
                yield reason, repr(label or ""), 0
                continue
            if data is None:
                yield UNREADABLE, _NO_PICTURE, 0
                continue
            try:
                image = open_image(data)
            except UserError as error:
                yield UNREADABLE, str(error), 0
                continue
            yield classes[size.choose(image.width / image.height)], "", hash_picture(data)

    settings = f"{charset.name} {''.join(charset.characters)!r} {max_length} {size} {allow_empty} {exact}"
    result = survey(shards, judge, True, cache, f"crops {PIL.__version__} {settings}", "data.cache")
    surveyed = Surveyed(result, charset, max_length, size, share)
    if not surveyed.counts.any():
        reasons = ", ".join(f"{count} {reason}" for reason, (count, _) in result.drops.items()) or "all are held out"
        raise UserError(f"{shards.url}: no crop left ({reasons}); check the data or the charset")
    largest = int(shards.chunks[:, 3].max())
    return StreamedCrops(surveyed, ReadChunks(shards, 2 * (window + largest)), seed, window, strength)


def drops_of(crops: StreamedCrops) -> DropReport:
    """A report of the rows that were left out."""
    drops = crops.surveyed.survey.drops
    url = crops.surveyed.survey.shards.url
    named = {reason: [(f"{url}/{name}", why) for name, why in some] for reason, (_, some) in drops.items()}
    return DropReport({reason: count for reason, (count, _) in drops.items()}, named)


def held_out_crops(crops: StreamedCrops, most: int = VALIDATION) -> tuple[LabeledCrops, int]:
    """Load the held-out crops into memory; also return their total number.

    If there are more than ``most``, only those of the first chunks in a fixed order are loaded; the others are used
    neither for validation nor for training.
    """
    surveyed, shards = crops.surveyed, crops.surveyed.survey.shards
    chunks = range(len(shards.chunks))
    total = sum(len(surveyed.held_out(chunk)) for chunk in chunks)
    chosen: dict[int, np.ndarray] = {}
    left = min(most, total)
    for chunk in seeded_order(0, 0, len(chunks)).tolist():
        if not left:
            break
        rows = surveyed.held_out(chunk)[:left]
        left -= len(rows)
        if len(rows):
            chosen[chunk] = rows
    return load_rows(surveyed, {chunk: chosen[chunk] for chunk in sorted(chosen)}), total


def first_crops(crops: StreamedCrops, count: int) -> LabeledCrops:
    """Load the first training crops into memory, as a sample of all."""
    chosen: dict[int, list[int]] = {}
    for index in range(min(count, len(crops))):
        chunk, row = crops.order.locate(index)
        chosen.setdefault(chunk, []).append(row)
    return load_rows(crops.surveyed, {chunk: np.array(rows) for chunk, rows in chosen.items()})


def load_rows(surveyed: Surveyed, chosen: dict[int, np.ndarray]) -> LabeledCrops:
    """Load rows (chunk -> rows) into memory, resized."""
    crops: list[np.ndarray] = []
    labels: list[str] = []
    keys: list[str] = []
    turned: dict[int, list[np.ndarray]] = {}
    hashes: list[np.ndarray] = [np.empty(0, np.uint32)]
    for chunk, some in chosen.items():
        rows = surveyed.survey.shards.read(chunk)
        hashes.append(surveyed.survey.hashes_of(chunk)[some])
        for row in some.tolist():
            image, label = surveyed.open(rows, row)
            if views := [fit(view, surveyed.sizes) for view in turn_tall(image)]:
                turned[len(crops)] = views
            crops.append(fit(image, surveyed.sizes))
            labels.append(label)
            keys.append(surveyed.survey.shards.name(chunk, row, rows))
    arrays = as_arrays(crops, surveyed.sizes)
    every: UInt32[np.ndarray, " n"] = np.concatenate(hashes)
    return LabeledCrops(arrays, labels, keys, [0] * len(labels), DropReport(), turned, every)


def _below(values: np.ndarray, limit: int) -> np.ndarray:
    return values[values < limit]
