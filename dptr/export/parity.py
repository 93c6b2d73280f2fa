"""Parity: whether an exported file reads the same text as its model.

Both read the same crops, one by one and in batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from dptr.config.render import CorpusConfig, RenderConfig
from dptr.data.labeled import LabeledDataset, name_crop, open_labeled
from dptr.data.report import DropReport
from dptr.inference.backend import Backend
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.resize import fit
from dptr.utils.sizes import Sizes, group_by_size

TOLERANCE = 1e-3  # for probabilities; rounding alone gave up to 1.6e-4 where two characters were about equally likely
TIE = 1e-5  # two probabilities this close count as equal: rounding decides between them, in torch too
BATCH_SIZES = 1, 64
WARM_UP = 3  # untimed crops before the measurement


@dataclass(frozen=True)
class Parity:
    """How two backends compare on the same crops.

    Attributes:
        crops: number of crops.
        words: number of distinct words that the reference read.
        different: crops whose strings differ at any batch size; ties do not count.
        difference: largest absolute difference of a probability, over all classes and all positions up to the end of
            the word or a tie.
        milliseconds: median time for a crop at batch size 1, of the reference and of the file.
        ties: crops whose strings differ only because of a tie: at the first position that differs, the reference gives
            both characters the same probability within ``TIE``.
    """

    crops: int
    words: int
    different: int
    difference: float
    milliseconds: tuple[float, float]
    ties: int = 0

    def holds(self) -> bool:
        """Whether all strings agree and no probability differs by more than ``TOLERANCE``."""
        return self.different == 0 and self.difference <= TOLERANCE

    def describe(self) -> str:
        torch, file = self.milliseconds
        tied = f"; {self.ties} crops differ only where two characters are equally likely" if self.ties else ""
        return (
            f"{self.crops - self.different} of {self.crops} crops read alike ({self.words} different words{tied}), "
            f"probabilities differ by {self.difference:.1e} at most; "
            f"batch 1: torch {torch:.1f}, onnxruntime {file:.1f} ms a crop"
        )


def compare(reference: Backend, other: Backend, crops: Sequence[np.ndarray]) -> Parity:
    """Read all crops with both backends at each of the ``BATCH_SIZES``.

    Args:
        reference: the backend that counts as right.
        other: the backend to check.
        crops: uint8 (h, w, 3); sizes may differ.
    """
    different, ties = np.zeros((2, len(crops)), dtype=bool)
    difference = 0.0
    words: set[str] = set()
    milliseconds: list[float] = []
    for batch_size in BATCH_SIZES:
        expected: list[np.ndarray] = []
        actual: list[np.ndarray] = []
        for backend, results in ((reference, expected), (other, actual)):
            for _, batch in group_by_size(crops[:WARM_UP], WARM_UP):
                backend.probabilities(batch)
            seconds = []
            for _, batch in group_by_size(crops, batch_size):
                begin = time.perf_counter()
                rows = backend.probabilities(batch)
                seconds.append(time.perf_counter() - begin)
                results += list(rows)
            if batch_size == 1:
                milliseconds.append(1000 * float(np.median(seconds)))
        for index, (one, two) in enumerate(zip(expected, actual, strict=True)):
            texts = [reference.tokenizer.decode(rows[None])[0].text for rows in (one, two)]
            words.add(texts[0])
            positions = min(len(texts[0]) + 1, len(one), len(two))
            if texts[0] != texts[1]:
                tie = find_tie(one, two)
                (different if tie is None else ties)[index] = True
                positions = positions if tie is None else tie + 1
            # np.maximum propagates NaN; max() would not.
            difference = float(np.maximum(difference, np.abs(one[:positions] - two[:positions]).max()))
    times = milliseconds[0], milliseconds[1]
    return Parity(len(crops), len(words), int(different.sum()), difference, times, int((ties & ~different).sum()))


def find_tie(one: Float[np.ndarray, "t c"], two: Float[np.ndarray, "t c"]) -> int | None:
    """The first position where the likeliest classes differ, if ``one`` gives both the same probability within ``TIE``.

    Returns None if there is no such position, or if the probabilities there are further apart. Either array may be
    longer, because a batch ends when all of its words have ended.
    """
    length = min(len(one), len(two))
    classes = one[:length].argmax(-1), two[:length].argmax(-1)
    positions = np.flatnonzero(classes[0] != classes[1])
    if not len(positions):
        return None
    row = one[positions[0]]
    return int(positions[0]) if row.max() - row[classes[1][positions[0]]] <= TIE else None


def load_sample(paths: list[Path], size: Sizes, count: int) -> tuple[list[np.ndarray], DropReport]:
    """Load ``count`` crops of labeled data sets, resized by ``dptr.utils.resize.fit``; labels are ignored.

    Each data set gives equally many, evenly spread over it; small ones give all that they have.

    Returns:
        The crops, and a report of pictures that cannot be opened, for which others were taken.

    Raises:
        UserError: a data set cannot be opened, or there are fewer than ``count`` crops.
    """
    from dptr.data.crops import UNREADABLE

    datasets = [open_labeled(path) for path in paths]
    shares = share_evenly([len(each) for each in datasets], count)
    drops = DropReport()
    readable = [_load(*each, size, drops) for each in zip(datasets, shares, strict=True)]
    crops = [crop for each, share in zip(readable, shares, strict=True) for crop in islice(each, share)]
    crops += islice(chain.from_iterable(readable), count - len(crops))  # for data sets with too few readable ones
    if len(crops) < count:
        unreadable = f" ({drops.total} {UNREADABLE})" if drops.total else ""
        raise UserError(
            f"--data: {len(crops)} crops{unreadable}, {count} asked for; pass more data sets or a lower --crops"
        )
    return crops, drops


def _load(dataset: LabeledDataset, share: int, size: Sizes, drops: DropReport) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """All readable crops of a data set, beginning with ``share`` that are evenly spread."""
    from dptr.data.crops import UNREADABLE

    for index in _spread(len(dataset), share):
        try:
            crop = fit(dataset.image(index), size)
        except UserError as error:
            drops.add(UNREADABLE, name_crop(dataset, index), str(error))
        else:
            yield crop


def _spread(size: int, share: int) -> Iterator[int]:
    """All indices below ``size``, beginning with ``share`` that are evenly spread."""
    first = [place * size // share for place in range(share)]
    yield from first
    yield from sorted({*range(size)} - {*first})


def share_evenly(sizes: Sequence[int], count: int) -> list[int]:
    """How many of each set make ``count`` in all: equally many, but no more than it has."""
    shares = [0] * len(sizes)
    while count and (open_sets := [index for index, size in enumerate(sizes) if shares[index] < size]):
        for place, index in enumerate(open_sets):
            taken = min(sizes[index] - shares[index], -(-count // (len(open_sets) - place)))
            shares[index] += taken
            count -= taken
    return shares


def render_crops(tokenizer: Tokenizer, size: Sizes, count: int, seed: int = 0) -> list[np.ndarray]:
    """Render ``count`` words of the charset's language in the system's fonts, as crops of uint8 (h, w, 3).

    Raises:
        UserError: there are no words or no fonts for this charset. ``--data`` avoids rendering.
    """
    from dptr.synth import Renderer
    from dptr.synth.source import RenderedWords
    from dptr.text.corpus import Corpus, in_language

    corpus = Corpus(in_language(CorpusConfig(), tokenizer.charset), tokenizer.charset, tokenizer.max_length, seed)
    source = RenderedWords(corpus, Renderer(RenderConfig(), seed, size=size))
    return [source.sample(index)[0] for index in range(count)]
