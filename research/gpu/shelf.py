"""Rendered crops that come to a device while a training reads those that are there (resident.py)."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from bins import BinPlan, Census, Parcel, Plan, sort_into_bins
from torch import Tensor

from dptr.config.train import SynthRecipe
from dptr.synth import worker
from dptr.text.tokenizer import Tokenizer
from dptr.utils.sizes import Size

SPAN = 400  # crops that a worker renders at a time
SAMPLED = 100  # likewise, of the sample

Pool = multiprocessing.pool.Pool
Counted = list[tuple[Size, int]]  # sizes of crops, and lengths of their words


@dataclass
class Bin:
    """Crops of one size and words of some lengths, on the device: labeled ones, and rendered ones as they come.

    Attributes:
        labeled: uint8 (n, h, w, 3).
        labels: (n, longest + 2).
        cumulative: float64 (n), how likely each labeled crop, or one before it, is drawn; the last is 1.
        crops: uint8 (room, h, w, 3), of which the first ``count`` are there.
        targets: (room, longest + 2).
    """

    plan: BinPlan
    labeled: Tensor
    labels: Tensor
    cumulative: Tensor
    crops: Tensor
    targets: Tensor
    count: int = 0

    def labeled_rows(self, generator: torch.Generator) -> int:
        """How many of a step's crops are labeled: a whole number that is ``plan.labeled`` on average.

        Args:
            generator: on the CPU.
        """
        if not len(self.labeled) or not self.count:
            return self.plan.rows if len(self.labeled) else 0
        return min(int(self.plan.labeled + torch.rand((), generator=generator).item()), self.plan.rows)

    def draw(self, labeled: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """``plan.rows`` crops and their targets, the ``labeled`` ones first.

        Args:
            generator: on the crops' device.
        """
        device = self.crops.device
        chance = torch.rand(labeled, dtype=torch.float64, device=device, generator=generator)
        row = torch.searchsorted(self.cumulative, chance, right=True)
        other = torch.randint(max(self.count, 1), (self.plan.rows - labeled,), device=device, generator=generator)
        return torch.cat([self.labeled[row], self.crops[other]]), torch.cat([self.labels[row], self.targets[other]])


def make_bin(plan: BinPlan, parcel: Parcel | None, weights: np.ndarray, device: torch.device) -> Bin:
    """A bin with its labeled crops on the device, and room for rendered ones.

    Args:
        parcel: the labeled crops; None = there is none.
        weights: of all labeled crops, of which the parcel has some ``rows``: how often each is drawn.
    """
    symbols = plan.longest + 2
    crops = np.empty((0, *plan.size, 3), np.uint8) if parcel is None else parcel.crops
    labels = np.empty((0, symbols), np.int64) if parcel is None else parcel.targets
    cumulative = np.cumsum(weights[[] if parcel is None else parcel.rows])
    if len(cumulative):
        cumulative /= cumulative[-1]
    return Bin(
        plan,
        torch.from_numpy(crops).to(device),
        torch.from_numpy(labels).to(device),
        torch.from_numpy(cumulative).to(device),
        torch.empty(plan.room, *plan.size, 3, dtype=torch.uint8, device=device),
        torch.empty(plan.room, symbols, dtype=torch.long, device=device),
    )


class Shelf:
    """Fills bins with rendered crops while they are read.

    Args:
        most: crops to render.
    """

    def __init__(self, bins: list[Bin], most: int):
        self.bins = bins
        self.most = most
        self.error: Exception | None = None  # what rendering ended with, if it failed
        self.too_long = self.without_room = 0  # crops that were left out
        self.stopped = False
        self.lock = threading.Lock()  # held while the device is used: no graph may be captured then
        device = bins[0].crops.device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # not to wait for what is trained

    @property
    def count(self) -> int:
        return sum(bin.count for bin in self.bins)

    def __str__(self) -> str:
        left_out = f"{self.too_long:,} too long for their size, {self.without_room:,} without room"
        return f"{self.count:,} crops rendered ({left_out})"

    def start(self, pool: Pool, plan: Plan, tokenizer: Tokenizer) -> threading.Thread:
        """Render in the pool's processes, which sort crops into bins, until there are enough or ``stopped``."""

        def fill() -> None:
            try:
                self._fill(pool, plan, tokenizer)
            except Exception as error:  # of whatever kind: who reads the shelf raises it
                self.error = error

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        return thread

    def check(self) -> None:
        """Raise what rendering ended with."""
        if self.error is not None:
            raise self.error

    def _fill(self, pool: Pool, plan: Plan, tokenizer: Tokenizer) -> None:
        for parcels, too_long in pool.imap_unordered(partial(_render, plan, tokenizer), _spans(self.most, SPAN)):
            self.too_long += too_long
            for parcel in parcels:
                bin = self.bins[parcel.number]
                room = len(bin.crops) - bin.count
                self.without_room += max(0, len(parcel.crops) - room)
                if room:
                    self._put(bin, parcel.crops[:room], parcel.targets[:room])
            if self.stopped:
                return

    def _put(self, bin: Bin, crops: np.ndarray, targets: np.ndarray) -> None:
        last = bin.count + len(crops)
        with self.lock, torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            bin.crops[bin.count : last] = torch.from_numpy(crops).to(bin.crops.device)
            bin.targets[bin.count : last] = torch.from_numpy(targets).to(bin.targets.device)
            if self.stream is not None:
                self.stream.synchronize()
        bin.count = last


def start_pool(recipe: SynthRecipe, workers: int) -> Pool:
    """Processes that render; they read fonts and words themselves, so that none waits for another."""
    return multiprocessing.get_context("spawn").Pool(workers, worker.start_worker, (recipe,))


def begin_census(pool: Pool, count: int) -> multiprocessing.pool.MapResult[Counted]:
    """Begin to render the first ``count`` crops, for their sizes and the lengths of their words alone."""
    return pool.map_async(_count, _spans(count, SAMPLED), chunksize=1)


def end_census(begun: multiprocessing.pool.MapResult[Counted]) -> Census:
    """What was counted, the same in any number of processes."""
    found = [each for some in begun.get() for each in some]
    return Census([size for size, _ in found], [length for _, length in found], np.full(len(found), 1 / len(found)))


def _spans(count: int, span: int) -> list[tuple[int, int]]:
    return [(first, min(first + span, count)) for first in range(0, count, span)]


def _count(span: tuple[int, int]) -> Counted:
    crops, words = _sample(span)
    return [((crop.shape[0], crop.shape[1]), len(word)) for crop, word in zip(crops, words, strict=True)]


def _render(plan: Plan, tokenizer: Tokenizer, span: tuple[int, int]) -> tuple[list[Parcel], int]:
    parcels, left_out = sort_into_bins(plan, tokenizer, *_sample(span))
    return parcels, len(left_out)


def _sample(span: tuple[int, int]) -> tuple[list[np.ndarray], list[str]]:
    samples = [worker.worker_source().sample(index) for index in range(*span)]
    return [crop for crop, _, _ in samples], [word for _, word, _ in samples]
