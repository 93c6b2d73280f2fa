"""Rendered crops that come to a device while a training reads those that are there (resident.py)."""

from __future__ import annotations

import multiprocessing
import threading
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dptr.config.train import SynthRecipe
from dptr.synth import worker
from dptr.text.tokenizer import Tokenizer

SPAN = 400  # crops that a worker renders at a time


@dataclass
class Bin:
    """Crops of words of some lengths, on the device: labelled ones, and rendered ones as they come."""

    longest: int
    labelled: Tensor  # uint8 (n, h, w, 3)
    labels: Tensor  # (n, longest + 2)
    crops: Tensor  # uint8 (room, h, w, 3)
    targets: Tensor  # (room, longest + 2)
    rows: tuple[int, int]  # labelled and rendered crops of a batch
    count: int = 0  # rendered ones so far


class Shelf:
    """Fills bins with rendered crops while they are read.

    Args:
        most: crops to render.
    """

    def __init__(self, bins: list[Bin], most: int):
        self.bins = bins
        self.most = most
        self.error: Exception | None = None  # what rendering ended with, if it failed
        self.left_out = 0  # crops that came when their bin was full
        self.stopped = False
        self.lock = threading.Lock()  # held while the device is used: no graph may be captured then
        device = bins[0].crops.device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # not to wait for what is trained

    @property
    def count(self) -> int:
        return sum(bin.count for bin in self.bins)

    def start(self, recipe: SynthRecipe, tokenizer: Tokenizer, workers: int) -> threading.Thread:
        """Render in ``workers`` processes until there are enough or ``stopped``.

        They read fonts and words themselves, so that none waits for another.
        """

        def fill() -> None:
            try:
                self._fill(recipe, tokenizer, workers)
            except Exception as error:  # of whatever kind: who reads the shelf raises it
                self.error = error

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        return thread

    def check(self) -> None:
        """Raise what rendering ended with."""
        if self.error is not None:
            raise self.error

    def _fill(self, recipe: SynthRecipe, tokenizer: Tokenizer, workers: int) -> None:
        spans = [(first, min(first + SPAN, self.most)) for first in range(0, self.most, SPAN)]
        with multiprocessing.get_context("spawn").Pool(workers, worker.start_worker, (recipe,)) as pool:
            for crops, words in pool.imap_unordered(_render, spans):
                lengths, least = np.array([len(word) for word in words]), 0
                for bin in self.bins:
                    chosen = np.flatnonzero((least < lengths) & (lengths <= bin.longest))
                    least = bin.longest
                    self.left_out += max(0, bin.count + len(chosen) - len(bin.crops))
                    chosen = chosen[: len(bin.crops) - bin.count]
                    if len(chosen):
                        self._put(bin, crops[chosen], encoded(tokenizer, [words[row] for row in chosen], bin.longest))
                if self.stopped:
                    return

    def _put(self, bin: Bin, crops: np.ndarray, targets: Tensor) -> None:
        last = bin.count + len(crops)
        with self.lock, torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            bin.crops[bin.count : last] = torch.from_numpy(crops).to(bin.crops.device)
            bin.targets[bin.count : last] = targets.to(bin.targets.device)
            if self.stream is not None:
                self.stream.synchronize()
        bin.count = last


def encoded(tokenizer: Tokenizer, words: list[str], longest: int) -> Tensor:
    """Targets (n, longest + 2)."""
    return torch.from_numpy(tokenizer.encode(words, full_length=True)[:, : longest + 2])


def _render(span: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    samples = [worker.worker_source().sample(index) for index in range(*span)]
    return np.stack([crop for crop, _, _ in samples]), [word for _, word, _ in samples]
