"""Probabilities that a recognizer gives to labels of crops, and to its own readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dptr.data.augment import to_pixels
from dptr.inference.torch_backend import crop_probabilities
from dptr.inference.views import read_by_size
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.ctc import CTC
from dptr.models.recognizer import Recognizer
from dptr.text.tokenizer import Tokenizer
from dptr.utils.sizes import group_by_size

BATCH = 96  # views at a time


@dataclass(frozen=True)
class LabelJudge:
    """Scores labels and readings of views (crops, as they are or turned) with a recognizer in eval mode."""

    model: Recognizer
    tokenizer: Tokenizer
    device: torch.device

    def log_probabilities(self, views: Sequence[np.ndarray], labels: Sequence[str]) -> Float[np.ndarray, " views"]:
        """Log-probability of the label of each view; minus infinity where the label has no CTC path."""
        scores = np.empty(len(views))
        for chunk, batch in group_by_size(views, BATCH):
            tokens = self.tokenizer.encode([labels[place] for place in chunk], full_length=True)
            targets = torch.from_numpy(tokens).to(self.device)
            scores[chunk] = _label_log_probabilities(self.model, to_pixels(batch, self.device), targets).cpu().numpy()
        return scores

    @torch.no_grad()
    def confidences(self, views: Sequence[np.ndarray]) -> Float[np.ndarray, " views"]:
        """Confidence of the reading of each view, 0 to 1."""

        def read(batch: np.ndarray) -> list[float]:
            words = self.tokenizer.decode(crop_probabilities(self.model, batch, self.device))
            return [word.confidence for word in words]

        return np.array(read_by_size(views, BATCH, read))


@torch.no_grad()
def _label_log_probabilities(
    model: Recognizer, pixels: Float[Tensor, "b 3 h w"], targets: Int[Tensor, "b t"]
) -> Float[Tensor, " b"]:
    """Log-probability of the label of each crop; PARSeq sums over the same permutations for all."""
    memory, decoder = model.memory(pixels), model.decoder
    if isinstance(decoder, CTC):
        return -decoder.word_losses(memory, None, targets)
    assert isinstance(decoder, AutoregressiveDecoder)
    logits, labels = decoder.teacher_forced_logits(memory, None, targets, torch.Generator().manual_seed(0))
    losses = F.cross_entropy(logits.transpose(1, 2).float(), labels, ignore_index=decoder.pad, reduction="none")
    return -losses.sum(1)
