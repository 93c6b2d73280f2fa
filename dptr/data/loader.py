"""Training batches as a pure function of the step, whatever the number of workers or restarts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch.utils.data import DataLoader, Dataset

from dptr.data.sources import Source
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError
from dptr.utils.permutations import seeded_order

Batch = tuple[UInt8[np.ndarray, "b h w 3"], list[str], Float32[np.ndarray, "b l 2"]]


def batches(
    source: Source, size: int, first: int, last: int, workers: int, rank: int = 0, processes: int = 1
) -> Generator[Batch, None, None]:
    """Batches of steps ``first``..``last - 1``: crops of one size, their words, and their letters' stops.

    Stops (``Sample``) are padded with NaN to the longest word.

    Step k has the samples ``k * size`` .. ``(k + 1) * size - 1``. They are split into ``processes`` consecutive runs,
    one for each ``rank``: if they were dealt in turn, the evenly spread kinds of a ``Mixture`` could each go to one
    process.

    Close the generator (``contextlib.closing``) to end the workers at once if the loop may raise.

    Raises:
        UserError: of a sample, also in a worker process; a worker died; fewer samples than processes.
    """
    if size < processes:
        raise UserError(f"run.batch_size = {size} leaves some of {processes} processes without a crop; set it higher")
    loader = DataLoader(
        _Batches(source, size, rank, processes),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        worker_init_fn=_start_worker,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_is,
        generator=torch.Generator(),  # otherwise torch's default one is used
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
        crops = torch.from_numpy(np.stack([crop for crop, _, _ in samples]))  # tensors travel through shared memory
        stops = torch.from_numpy(pad_stops([stops for _, _, stops in samples]))
        return crops, [word for _, word, _ in samples], stops


def pad_stops(stops: Sequence[np.ndarray]) -> Float32[np.ndarray, "n l 2"]:
    """Stops of several words, padded with NaN to the longest one, and to at least one letter."""
    padded = np.full((len(stops), max(1, *map(len, stops)), 2), np.nan, np.float32)
    for row, places in enumerate(stops):
        padded[row, : len(places)] = places
    return padded


def _as_is(batch: object) -> object:
    return batch


def _start(loader: DataLoader) -> Iterator:
    """Start the workers without torch's SIGCHLD handler, which would raise a worker's death anywhere in the program.

    The loader itself notices it within seconds. Windows has no such signal.
    """
    if not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    handler = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, handler)
    return iterator


def _start_worker(worker: int) -> None:
    """Ignore Ctrl-C and SIGHUP: the main process handles them, and ends its workers with SIGTERM."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(signal.Signals[name], signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def text_batch(corpus: Corpus, size: int, step: int, pool: int = 16, last: int = 0) -> list[str]:
    """Words of step ``step`` of stage 1, of similar length, so that batches need little padding.

    The words of ``pool`` consecutive steps are sorted by length and cut into batches, which come in a seeded order.
    ``pool = 1`` keeps the corpus's order.

    Args:
        size: words per batch.
        last: number of steps, at which the last pool ends; 0 = unlimited: then a run that ends within a pool has
            skipped some of its words.
    """
    number, place = divmod(step, pool)
    first = number * pool
    count = min(pool, last - first) if last else pool
    words = _pool(corpus, size, first, count, pool > 1)
    start = int(seeded_order(corpus.seed, number, count)[place]) * size
    return words[start : start + size]


@lru_cache(maxsize=2)
def _pool(corpus: Corpus, size: int, first: int, count: int, by_length: bool) -> list[str]:
    """Words of ``count`` steps."""
    words = [corpus.word(index) for index in range(first * size, (first + count) * size)]
    return sorted(words, key=len) if by_length else words
