"""Training batches as a pure function of the step: any number of workers, any restart, the same samples."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch.utils.data import DataLoader, Dataset

from dptr.data.augment import augment
from dptr.data.crops import LabelledCrops
from dptr.synth import Renderer
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError
from dptr.utils.images import level

Sample = tuple[np.ndarray, str, np.ndarray]  # a crop, its word, and its letters' stops (``render_with_stops``)
Batch = tuple[UInt8[np.ndarray, "b h w 3"], list[str], Float32[np.ndarray, "b l 2"]]
_REDRAW = 1 << 40  # how far apart the indices lie that are tried when no font can draw a word
_ATTEMPTS = 100
_GOLDEN = 0.6180339887498949  # multiples of it fill the unit interval evenly (Weyl)


class Source(Protocol):
    """An endless supply of crops; ``sample`` is a pure function of ``index``."""

    def sample(self, index: int) -> Sample: ...

    def word(self, index: int) -> str:
        """The word of that sample, which costs little."""


@dataclass(frozen=True)
class Rendered:
    """Words of a corpus, rendered. A word that no font can draw gives way to another; ``undrawable`` counts them."""

    corpus: Corpus
    renderer: Renderer

    def word(self, index: int) -> str:
        """The word of a sample."""
        for attempt in range(_ATTEMPTS):
            word = self.corpus.word(index + attempt * _REDRAW)
            if self.renderer.can_draw(word):
                return word
        raise UserError(
            f"{word!r} and {_ATTEMPTS - 1} words before it: no font draws them; install fonts for this script "
            "(scripts/fonts.sh) or pass --set render.fonts=[...]"
        )

    def sample(self, index: int) -> Sample:
        word = self.word(index)
        crop, stops = self.renderer.render_with_stops(word, index)
        return crop, word, stops

    def undrawable(self, count: int = 5000) -> dict[str, int]:
        """Of the first ``count`` words, those that no font can draw, by character set missing."""
        missing = [word for word in map(self.corpus.word, range(count)) if not self.renderer.can_draw(word)]
        return {"no font draws it": len(missing)} if missing else {}


@dataclass(frozen=True)
class Ramp:
    """A gentle supply that gives way to the full one over the first ``length`` samples."""

    gentle: Source
    full: Source
    length: int

    def sample(self, index: int) -> Sample:
        return self._source(index).sample(index)

    def word(self, index: int) -> str:
        return self._source(index).word(index)

    def _source(self, index: int) -> Source:
        gentle = index < self.length and index * _GOLDEN % 1.0 >= index / self.length
        return self.gentle if gentle else self.full


@dataclass(frozen=True)
class Labelled:
    """Labelled crops, in a new seeded order each epoch, augmented. Where their letters stand nobody knows: NaN."""

    crops: LabelledCrops
    seed: int
    strength: float
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)  # of two epochs at most

    def sample(self, index: int) -> Sample:
        row = self._row(index)
        crop = self.crops.arrays[row]
        if self.strength:
            crop = augment(crop, np.random.Generator(np.random.Philox(key=[self.seed, index])), self.strength)
        label = self.crops.labels[row]
        return crop, label, np.full((len(label), 2), np.nan, np.float32)

    def word(self, index: int) -> str:
        return self.crops.labels[self._row(index)]

    def _row(self, index: int) -> int:
        epoch, place = divmod(index, len(self.crops))
        if epoch not in self._orders:
            if len(self._orders) == 2:
                del self._orders[min(self._orders)]
            self._orders[epoch] = seeded_order(self.seed, epoch, len(self.crops))
        return int(self._orders[epoch][place])


@dataclass(frozen=True)
class Mixture:
    """A ``share`` of all samples, evenly spread, is rendered; the others are labelled. Neither's indices have gaps."""

    labelled: Source
    rendered: Source
    share: float

    def sample(self, index: int) -> Sample:
        source, index = self._deal(index)
        return source.sample(index)

    def word(self, index: int) -> str:
        source, index = self._deal(index)
        return source.word(index)

    def _deal(self, index: int) -> tuple[Source, int]:
        before, after = int(index * self.share), int((index + 1) * self.share)
        return (self.rendered, before) if after > before else (self.labelled, index - before)


@dataclass(frozen=True)
class Weighted:
    """Several supplies, each in proportion to its weight and evenly spread; no supply's indices have gaps.

    ``weights`` are whole numbers (``whole_weights``). After any multiple of their sum the proportions are exact. The
    first supply takes its share of all samples, the second its share of those left, and so on.
    """

    sources: tuple[Source, ...]
    weights: tuple[int, ...]

    def sample(self, index: int) -> Sample:
        source, index = self._deal(index)
        return source.sample(index)

    def word(self, index: int) -> str:
        source, index = self._deal(index)
        return source.word(index)

    def _deal(self, index: int) -> tuple[Source, int]:
        left = sum(self.weights)
        for source, weight in zip(self.sources[:-1], self.weights, strict=False):
            before, after = index * weight // left, (index + 1) * weight // left
            if after > before:
                return source, before
            index, left = index - before, left - weight
        return self.sources[-1], index


def whole_weights(weights: Sequence[float]) -> tuple[int, ...]:
    """The smallest whole numbers in the proportion of ``weights`` > 0, taken as the decimals they are written as."""
    exact = [Fraction(str(weight)) for weight in weights]
    unit = Fraction(gcd(*(part.numerator for part in exact)), lcm(*(part.denominator for part in exact)))
    return tuple(int(part / unit) for part in exact)


@dataclass(frozen=True)
class Bucketed:
    """The same samples, in batches whose words are of about one length, so that little of a batch is padding.

    The samples of ``pool`` batches of ``size`` are sorted by the length of their words and cut into batches, which come
    in a seeded order.
    """

    source: Source
    size: int
    pool: int
    seed: int
    _orders: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)  # of one pool

    def sample(self, index: int) -> Sample:
        return self.source.sample(self._moved(index))

    def word(self, index: int) -> str:
        return self.source.word(self._moved(index))

    def _moved(self, index: int) -> int:
        number, place = divmod(index, self.size * self.pool)
        if number not in self._orders:
            self._orders.clear()
            self._orders[number] = self._order(number)
        return int(self._orders[number][place])

    def _order(self, number: int) -> np.ndarray:
        count = self.size * self.pool
        indices = np.arange(number * count, (number + 1) * count)
        lengths = [len(self.source.word(index)) for index in indices.tolist()]
        cut = indices[np.argsort(lengths, kind="stable")].reshape(self.pool, self.size)
        cut.sort(axis=1)  # kinds of crops stay evenly spread, so that each process gets of all
        return cut[seeded_order(self.seed, number, self.pool)].ravel()


def batches(
    source: Source, size: int, first: int, last: int, workers: int, rank: int = 0, processes: int = 1
) -> Generator[Batch, None, None]:
    """Batches of steps ``first``..``last - 1``: crops, all of one width, their words, and where the letters stand.

    Stops are padded to the longest word with NaN.

    Step k holds samples ``k * size`` .. ``(k + 1) * size - 1``, cut into ``processes`` runs of which ``rank`` gets one:
    dealt out in turn, a ``Mixture``'s evenly spread kinds could go to one process each.

    Close it (``contextlib.closing``) to end the workers at once where the loop may raise.

    Raises:
        UserError: what a sample raises, also in a worker process; a worker that died; fewer samples than processes.
    """
    if size < processes:
        raise UserError(f"run.batch = {size} leaves some of {processes} processes without a crop; set it higher")
    loader = DataLoader(
        _Batches(source, size, rank, processes),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        worker_init_fn=_start_worker,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_is,
        generator=torch.Generator(),  # else torch's default one is drawn from
    )
    try:
        for batch in _start(loader):
            if isinstance(batch, UserError):
                raise batch
            crops, words, stops = batch
            yield crops.numpy(), words, stops.numpy()
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not workers or "in DataLoader worker process" in str(error):  # raised by the source
            raise
        raise UserError(f"a data worker died ({error}); free memory or set run.workers=0 to see why") from error


@dataclass(frozen=True)
class _Batches(Dataset):
    source: Source
    size: int
    rank: int
    processes: int

    def __getitem__(self, step: int) -> tuple[torch.Tensor, list[str], torch.Tensor] | UserError:
        try:
            first, last = (step * self.size + rank * self.size // self.processes for rank in (self.rank, self.rank + 1))
            samples = [self.source.sample(index) for index in range(first, last)]
        except UserError as error:
            return error
        crops = torch.from_numpy(level([crop for crop, _, _ in samples]))  # tensors travel through shared memory
        stops = torch.from_numpy(pad_stops([stops for _, _, stops in samples]))
        return crops, [word for _, word, _ in samples], stops


def pad_stops(stops: Sequence[np.ndarray]) -> Float32[np.ndarray, "n l 2"]:
    """Stops of several words: NaN after a word's last letter."""
    padded = np.full((len(stops), max(map(len, stops)), 2), np.nan, np.float32)
    for row, places in enumerate(stops):
        padded[row, : len(places)] = places
    return padded


def _as_is(batch: object) -> object:
    return batch


def _start(loader: DataLoader) -> Iterator:
    """Start the workers, without torch's signal handler: it would raise a worker's death anywhere in the program,
    whereas the loader itself sees it within seconds."""
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return iterator


def _start_worker(worker: int) -> None:
    """Ctrl-C is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def text_batch(corpus: Corpus, size: int, step: int, pool: int = 16) -> list[str]:
    """Words of stage 1's step ``step``, all of about one length, so that little of a batch is padding.

    The words of ``pool`` batches are sorted by length and cut into batches, which come in a seeded order: ``pool``
    steps together hold samples ``first * size`` .. ``(first + pool) * size - 1``. ``pool = 1`` keeps the corpus's
    order.
    """
    first, place = divmod(step, pool)
    words = _pool(corpus, size, pool, first)
    start = int(seeded_order(corpus.seed, first, pool)[place]) * size
    return words[start : start + size]


@lru_cache(maxsize=2)
def _pool(corpus: Corpus, size: int, pool: int, number: int) -> list[str]:
    words = [corpus.word(index) for index in range(number * size * pool, (number + 1) * size * pool)]
    return sorted(words, key=len) if pool > 1 else words


@lru_cache(maxsize=4)
def seeded_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """A random order of ``count`` things, another one each epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
