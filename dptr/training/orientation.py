"""Tall labeled crops, as they are to be trained on: turned the way in which a recognizer finds the label in them.

Words on spines, poles and columns run up or down. A reader tries such pictures turned too
(``dptr.inference.reader``), so there is nothing to learn from them lying on their side.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dptr.data.augment import to_pixels
from dptr.data.crops import LabeledCrops
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.recognizer import Recognizer
from dptr.text.tokenizer import Tokenizer
from dptr.utils.sizes import VariableSizeCrops, group_by_size

BATCH = 96  # views at a time


def orient_by_label(
    crops: LabeledCrops, model: Recognizer, tokenizer: Tokenizer, device: torch.device
) -> tuple[LabeledCrops, list[str]]:
    """Crops of which each tall one is the view in which ``model`` finds its label likeliest; and a line for the log.

    As it is, turned by 90 and turned by 270 degrees are compared, by the sum of the log-probabilities of the label's
    symbols under teacher forcing. Labels of one character stay as they are: one tall letter turned is a dash. So do all
    crops where the decoder is not stepwise, or the crops lie on disk.

    Args:
        model: it is put into eval mode for the time, on ``device``.
    """
    rows = [row for row in sorted(crops.turned) if len(crops.labels[row]) > 1]
    if not rows or not isinstance(model.decoder, AutoregressiveDecoder):
        return crops, []
    views = [[crops.arrays[row], *crops.turned[row]] for row in rows]
    flat = [view for some in views for view in some]
    labels = [crops.labels[row] for row in rows for _ in range(3)]
    scores = np.empty(len(flat))
    training = model.training
    model.eval()
    for chunk, batch in group_by_size(flat, BATCH):
        targets = torch.from_numpy(tokenizer.encode([labels[place] for place in chunk], full_length=True)).to(device)
        scores[chunk] = _likelihood(model, model.decoder, to_pixels(batch, device), targets).cpu().numpy()
    model.train(training)
    chosen = scores.reshape(-1, 3).argmax(1)
    count = int((chosen > 0).sum())
    if not count:
        return crops, []
    held = crops.arrays
    arrays: np.ndarray | VariableSizeCrops = (
        VariableSizeCrops(list(held.crops)) if isinstance(held, VariableSizeCrops) else np.array(held)
    )
    places = arrays.crops if isinstance(arrays, VariableSizeCrops) else arrays
    for row, some, choice in zip(rows, views, chosen.tolist(), strict=True):
        places[row] = some[choice]
    message = f"{count} of {len(rows)} tall crops are learned turned by 90 degrees, as their labels are found in them"
    return replace(crops, arrays=arrays), [message]


@torch.no_grad()
def _likelihood(model: Recognizer, decoder: AutoregressiveDecoder, pixels: Tensor, targets: Tensor) -> Tensor:
    """Of each crop the log-probability of its label under teacher forcing; all crops in the same orders."""
    logits, wanted = decoder.teacher_forced_logits(
        model.memory(pixels), None, targets, torch.Generator().manual_seed(0)
    )
    losses = F.cross_entropy(logits.transpose(1, 2).float(), wanted, ignore_index=decoder.pad, reduction="none")
    return -losses.sum(1)
