"""Training batches as a pure function of the step: any number of workers, any restart, the same samples."""

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
    """Batches of steps ``first``..``last - 1``: crops, all of one size, their words, and where the letters stand.

    Stops are padded to the longest word with NaN.

    Step k holds samples ``k * size`` .. ``(k + 1) * size - 1``, cut into ``processes`` runs of which ``rank`` gets one:
    dealt out in turn, a ``Mixture``'s evenly spread kinds could go to one process each.

    Close it (``contextlib.closing``) to end the workers at once where the loop may raise.

    Raises:
        UserError: what a sample raises, also in a worker process; a worker that died; fewer samples than processes.
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
        crops = torch.from_numpy(np.stack([crop for crop, _, _ in samples]))  # tensors travel through shared memory
        stops = torch.from_numpy(pad_stops([stops for _, _, stops in samples]))
        return crops, [word for _, word, _ in samples], stops


def pad_stops(stops: Sequence[np.ndarray]) -> Float32[np.ndarray, "n l 2"]:
    """Stops of several words: NaN after a word's last letter. There is at least one letter, of empty words too."""
    padded = np.full((len(stops), max(1, *map(len, stops)), 2), np.nan, np.float32)
    for row, places in enumerate(stops):
        padded[row, : len(places)] = places
    return padded


def _as_is(batch: object) -> object:
    return batch


def _start(loader: DataLoader) -> Iterator:
    """Start the workers, without torch's signal handler: it would raise a worker's death anywhere in the program,
    whereas the loader itself sees it within seconds. Windows has no such signal."""
    if not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    iterator = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    return iterator


def _start_worker(worker: int) -> None:
    """Ctrl-C and a terminal that closes are the main process's to handle, which ends its workers by SIGTERM."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(signal.Signals[name], signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def text_batch(corpus: Corpus, size: int, step: int, pool: int = 16, last: int = 0) -> list[str]:
    """Words of stage 1's step ``step``, all of about one length, so that little of a batch is padding.

    The words of ``pool`` batches are sorted by length and cut into batches, which come in a seeded order: ``pool``
    steps together hold samples ``first * size`` .. ``(first + pool) * size - 1``. ``pool = 1`` keeps the corpus's
    order.

    Args:
        last: steps in all, after which the last pool ends; 0 = there is no last, and a run that ends within a pool has
            not seen all samples up to there.
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
