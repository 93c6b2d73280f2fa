"""One training step of several recognisers on one batch, as one CUDA graph (resident.py)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from shelf import Bin
from torch import Tensor

from dptr.models.decoders.parseq import PARSeq, Sequences
from dptr.models.recognizer import Recognizer

DISTIL = 0.5  # what the first model says, as a part of the others' loss


@dataclass
class Learner:
    """A model in training."""

    name: str
    folder: str
    model: Recognizer
    optimizer: torch.optim.AdamW

    @property
    def decoder(self) -> PARSeq:
        assert isinstance(self.model.decoder, PARSeq)
        return self.model.decoder


class Step:
    """One step of all learners on the batch in ``pixels`` and ``targets``; a CUDA graph after ``capture``.

    Args:
        bins: of which the batch is made, one after the other.
        orders: a bank of orders for each bin.
        size: height and width of crops.
    """

    def __init__(
        self,
        learners: list[Learner],
        bins: list[Bin],
        orders: list[list[Sequences]],
        size: tuple[int, int],
        clip: float,
        device: torch.device,
    ):
        self.learners = learners
        self.clip = clip
        self.device = device
        self.rows = [sum(bin.rows) for bin in bins]
        self.pixels = torch.zeros(sum(self.rows), 3, *size, device=device)
        self.targets = [
            torch.zeros(rows, bin.longest + 2, dtype=torch.long, device=device)
            for rows, bin in zip(self.rows, bins, strict=True)
        ]
        self.bank = [
            {part.name: torch.stack([getattr(one, part.name) for one in some]).to(device) for part in fields(Sequences)}
            for some in orders
        ]
        self.orders = [Sequences(*(bank[part.name][0].clone() for part in fields(Sequences))) for bank in self.bank]
        self.losses = torch.zeros(len(learners), device=device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def draw_orders(self, number: int) -> None:
        for bank, orders in zip(self.bank, self.orders, strict=True):
            for name, drawn in bank.items():
                getattr(orders, name).copy_(drawn[number % len(drawn)])

    def predictions(self, learner: Learner) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) of all symbols asked for, and these symbols."""
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            memory = learner.model.memory(self.pixels).split(self.rows)
            parts = [
                learner.decoder.ordered(some, None, targets, orders)
                for some, targets, orders in zip(memory, self.targets, self.orders, strict=True)
            ]
        return torch.cat([logits.flatten(0, 1).float() for logits, _ in parts]), torch.cat(
            [wanted.flatten() for _, wanted in parts]
        )

    def compute(self) -> None:
        """Forward, backward, update."""
        taught: Tensor | None = None
        for number, learner in enumerate(self.learners):
            learner.optimizer.zero_grad(set_to_none=True)
            logits, wanted = self.predictions(learner)
            loss = F.cross_entropy(logits, wanted, ignore_index=learner.decoder.pad)
            if taught is None:
                taught = logits.detach().log_softmax(-1)
            else:
                divergence = F.kl_div(logits.log_softmax(-1), taught, reduction="none", log_target=True).sum(-1)
                counted = (wanted != learner.decoder.pad).float()
                loss = (1 - DISTIL) * loss + DISTIL * (divergence * counted).sum() / counted.sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learner.model.parameters(), self.clip)
            learner.optimizer.step()
            self.losses[number] = loss.detach()

    def capture(self) -> None:
        """Record ``compute``, after three steps to warm up, as PyTorch's notes on CUDA graphs say."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(side)
        for learner in self.learners:
            learner.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.compute()

    def __call__(self) -> None:
        if self.graph is None:
            self.compute()
        else:
            self.graph.replay()
