"""Parity: whether an exported file reads what its model reads. Both read the same crops, singly and in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dptr.config.render import CorpusConfig, RenderConfig
from dptr.inference.backend import Backend
from dptr.text.tokenizer import Tokenizer
from dptr.utils.errors import UserError
from dptr.utils.resize import fit
from dptr.utils.sizes import Sizes, group_by_size

TOLERANCE = 1e-3  # of probabilities; rounding alone has given up to 1.6e-4 where two characters are about as likely
TIE = 1e-5  # probabilities no further apart are equal: rounding chooses between them, in torch too
BATCH_SIZES = 1, 64
WARM_UP = 3  # crops read before the clock starts


@dataclass(frozen=True)
class Parity:
    """What two backends made of the same crops.

    Attributes:
        crops: how many.
        words: how many different words the reference read on them.
        different: crops of which the strings differ, at any batch size, but for ties.
        difference: the largest difference of a probability, of any class up to a word's end, or to a tie.
        milliseconds: median a crop at batch 1, of the reference and of the file.
        ties: crops of which the strings differ first where two characters are as likely to ``TIE`` in the reference.
    """

    crops: int
    words: int
    different: int
    difference: float
    milliseconds: tuple[float, float]
    ties: int = 0

    def holds(self) -> bool:
        """Whether no string differs and no probability by more than ``TOLERANCE``."""
        return self.different == 0 and self.difference <= TOLERANCE

    def describe(self) -> str:
        torch, file = self.milliseconds
        tied = f", {self.ties} of these but where two characters are as likely" if self.ties else ""
        return (
            f"{self.crops - self.different} of {self.crops} crops read alike ({self.words} different words{tied}), "
            f"probabilities differ by {self.difference:.1e} at most; "
            f"batch 1: torch {torch:.1f}, onnxruntime {file:.1f} ms a crop"
        )


def compare(reference: Backend, other: Backend, crops: Sequence[np.ndarray]) -> Parity:
    """Read all crops, uint8 (h, w, 3) of one size or several, with both backends, at each of the ``BATCH_SIZES``."""
    different, ties = np.zeros((2, len(crops)), dtype=bool)
    difference = 0.0
    words: set[str] = set()
    milliseconds: list[float] = []
    for batch_size in BATCH_SIZES:
        expected: list[np.ndarray] = []
        actual: list[np.ndarray] = []
        for backend, into in ((reference, expected), (other, actual)):
            for _, batch in group_by_size(crops[:WARM_UP], WARM_UP):
                backend.probabilities(batch)
            seconds = []
            for _, batch in group_by_size(crops, batch_size):
                begin = time.perf_counter()
                rows = backend.probabilities(batch)
                seconds.append(time.perf_counter() - begin)
                into += list(rows)
            if batch_size == 1:
                milliseconds.append(1000 * float(np.median(seconds)))
        for index, (one, two) in enumerate(zip(expected, actual, strict=True)):
            read = [reference.tokenizer.decode(rows[None])[0].text for rows in (one, two)]
            words.add(read[0])
            shown = min(len(read[0]) + 1, len(one), len(two))
            if read[0] != read[1]:
                place = find_tie(one, two)
                (different if place is None else ties)[index] = True
                shown = shown if place is None else place + 1
            difference = float(np.maximum(difference, np.abs(one[:shown] - two[:shown]).max()))  # NaN stays
    times = milliseconds[0], milliseconds[1]
    return Parity(len(crops), len(words), int(different.sum()), difference, times, int((ties & ~different).sum()))


def find_tie(one: Float[np.ndarray, "t c"], two: Float[np.ndarray, "t c"]) -> int | None:
    """The first position where the likeliest classes differ, if in ``one`` both are as likely to ``TIE``; else None.

    Either may be longer: batches end when all their words have.
    """
    both = min(len(one), len(two))
    chosen = one[:both].argmax(-1), two[:both].argmax(-1)
    places = np.flatnonzero(chosen[0] != chosen[1])
    if not len(places):
        return None
    row = one[places[0]]
    return int(places[0]) if row.max() - row[chosen[1][places[0]]] <= TIE else None


def load_first_crops(paths: list[Path], size: Sizes, count: int) -> list[np.ndarray]:
    """Load the first ``count`` labeled crops of data sets, resized by ``dptr.utils.resize.fit``; labels do not count.

    Raises:
        UserError: a data set or a picture that cannot be opened; fewer crops.
    """
    from dptr.data.labeled import open_labeled

    crops: list[np.ndarray] = []
    for path in paths:
        dataset = open_labeled(path)
        missing = min(len(dataset), count - len(crops))
        crops += [fit(dataset.image(index), size) for index in range(missing)]
    if len(crops) < count:
        raise UserError(f"--data: {len(crops)} crops, {count} asked for; pass more data sets or a lower --crops")
    return crops


def render_crops(tokenizer: Tokenizer, size: Sizes, count: int, seed: int = 0) -> list[np.ndarray]:
    """Render words of the charset's language in the system's fonts: ``count`` crops, uint8 (h, w, 3).

    Raises:
        UserError: no words or no fonts for this charset; pass ``--data`` then.
    """
    from dptr.synth import Renderer
    from dptr.synth.source import RenderedWords
    from dptr.text.corpus import Corpus, in_language

    corpus = Corpus(in_language(CorpusConfig(), tokenizer.charset), tokenizer.charset, tokenizer.max_length, seed)
    source = RenderedWords(corpus, Renderer(RenderConfig(), seed, size=size))
    return [source.sample(index)[0] for index in range(count)]
