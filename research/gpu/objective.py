"""The loss of several recognizers on one batch: the first learns from labels, the others from it too (resident.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dptr.models.decoders.parseq import PARSeq
from dptr.models.decoders.permutations import Sequences
from dptr.models.recognizer import Recognizer

WEIGHT = 0.5  # of the first model's predictions, as a part of the others' loss
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
PARTS = tuple(part.name for part in fields(Sequences))


class Distillation(nn.Module):
    """Cross-entropy of the first model; of the others half of it and half their divergence from the first.

    Hinton, Vinyals, Dean 2015 (arXiv 1503.02531) at temperature 1, teacher and students in one step.

    Args:
        models: by name; all have a parseq decoder and one charset.
        rows: for each size of crops the crops of each of its bins; words of a bin have about one length.
    """

    def __init__(self, models: Mapping[str, Recognizer], rows: Sequence[Sequence[int]]):
        super().__init__()
        self.models = nn.ModuleDict(models)
        self.rows = [list(some) for some in rows]
        self.norms = {
            name: [(part, part.momentum or 0.0) for part in model.modules() if isinstance(part, BATCH_NORMS)]
            for name, model in models.items()
        }

    def forward(self, generator: torch.Generator | None, **tensors: Tensor) -> dict[str, Tensor]:
        """Losses by name of a model, and their sum as ``loss``.

        Args:
            generator: not used: orders are drawn before, for a CUDA graph draws nothing.
            tensors: of the k-th size ``pixels-k``, float (b, 3, h, w), one bin after the other; of bin i ``targets-i``
                (n, t) and what ``orders_as_tensors`` makes, bins numbered over all sizes.
        """
        losses: dict[str, Tensor] = {}
        known: Tensor | None = None
        for name in self.models:
            logits, wanted = self.predictions(name, tensors)
            loss = F.cross_entropy(logits, wanted, ignore_index=self.decoder(name).pad)
            if known is None:
                known = logits.detach().log_softmax(-1)
            else:
                divergence = F.kl_div(logits.log_softmax(-1), known, reduction="none", log_target=True).sum(-1)
                counted = (wanted != self.decoder(name).pad).float()
                loss = (1 - WEIGHT) * loss + WEIGHT * (divergence * counted).sum() / counted.sum()
            losses[f"loss_{name}"] = loss
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def decoder(self, name: str) -> PARSeq:
        decoder = self.models[name].decoder
        assert isinstance(decoder, PARSeq)
        return decoder

    def predictions(self, name: str, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) of all symbols asked for, and these symbols.

        The encoder runs once a size, the decoder once a bin. Batch norms count a size by its share of the crops, so
        that their running statistics are those of all crops, whatever size comes last.
        """
        model, decoder = self.models[name], self.decoder(name)
        assert isinstance(model, Recognizer)
        everything = sum(map(sum, self.rows))
        logits: list[Tensor] = []
        wanted: list[Tensor] = []
        with torch.autocast(tensors["pixels-0"].device.type, torch.bfloat16, cache_enabled=False):  # it outlives graphs
            for size, rows in enumerate(self.rows):
                for part, momentum in self.norms[name]:
                    part.momentum = momentum * sum(rows) / everything
                for memory in model.memory(tensors[f"pixels-{size}"]).split(rows):
                    number = len(logits)
                    found, asked = decoder.logits_in_orders(
                        memory, None, tensors[f"targets-{number}"], orders_of(tensors, number)
                    )
                    logits.append(found.flatten(0, 1).float())
                    wanted.append(asked.flatten())
        return torch.cat(logits), torch.cat(wanted)


def orders_as_tensors(orders: Sequences, number: int) -> dict[str, Tensor]:
    """The orders of bin ``number`` as tensors by name."""
    return {f"{part}-{number}": getattr(orders, part) for part in PARTS}


def orders_of(tensors: Mapping[str, Tensor], number: int) -> Sequences:
    """The reverse of ``orders_as_tensors``."""
    return Sequences(*(tensors[f"{part}-{number}"] for part in PARTS))
