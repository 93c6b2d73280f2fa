"""Labeled crops as they are to be trained on: turned the way in which a recognizer finds the label in them.

Words on spines, poles and columns run up or down, and labels hang upside down on wires. A reader tries such pictures
turned too (``dptr.inference.reader``), so there is nothing to learn from them lying on their side or head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool

from dptr.data.cache import MappedCrops
from dptr.data.crops import LabeledCrops
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.ctc import CTC
from dptr.models.recognizer import Recognizer
from dptr.text.tokenizer import Tokenizer
from dptr.training.label_judge import LabelJudge
from dptr.utils.sizes import VariableSizeCrops

SAMPLE = 256  # crops of a data set that are tried upside down before the others
WORTHWHILE = 0.01  # share of them
LIKELY = 0.5  # from this geometric mean of the probabilities of its characters on a label is found in a view


def orient_by_label(
    crops: LabeledCrops, model: Recognizer, tokenizer: Tokenizer, device: torch.device
) -> tuple[LabeledCrops, list[str]]:
    """Crops of which each is the view in which ``model`` finds its label; and lines for the log.

    Views are compared by the log-probability of the label: of stepwise decoders the sum of its symbols' under teacher
    forcing, of CTC that of all its paths. A tall crop is learned as it is, or turned by 90 or by 270 degrees, whichever
    is likeliest. Another crop is learned upside down if the label is found there (``LIKELY``) and not in the crop as it
    is, and if what is read there is surer: without the punctuation of the picture a label may be likelier upside down.

    A data set in whose sample of ``SAMPLE`` crops fewer than ``WORTHWHILE`` are upside down is not searched further.

    Labels of one character stay as they are: one tall letter turned is a dash, and 6 is 9. So do all crops that lie on
    disk, and all where the decoder is neither stepwise nor CTC.

    Args:
        model: it is put into eval mode for the time, on ``device``.
    """
    held = crops.arrays
    if isinstance(held, MappedCrops) or not isinstance(model.decoder, AutoregressiveDecoder | CTC):
        return crops, []
    words = [row for row, label in enumerate(crops.labels) if len(label) > 1]
    tall = [row for row in words if row in crops.turned]
    wide = [row for row in words if row not in crops.turned]
    judge = LabelJudge(model, tokenizer, device)
    training = model.training
    model.eval()
    quarter_turns = _turn_tall(crops, tall, judge)
    half_turns = _turn_upside_down(crops, wide, judge)
    model.train(training)
    turned = quarter_turns | half_turns
    if not turned:
        return crops, []
    copied = VariableSizeCrops(list(held.crops)) if isinstance(held, VariableSizeCrops) else np.array(held)
    places = copied.crops if isinstance(copied, VariableSizeCrops) else copied
    for row, view in turned.items():
        places[row] = view
    messages = [
        f"{count} of {of} crops are learned turned by {degrees} degrees, as their labels are found in them"
        for count, of, degrees in (
            (len(quarter_turns), f"{len(tall)} tall", 90),
            (len(half_turns), f"{len(wide)}{' other' if tall else ''}", 180),
        )
        if count
    ]
    return replace(crops, arrays=copied), messages


def _turn_tall(crops: LabeledCrops, rows: Sequence[int], judge: LabelJudge) -> dict[int, np.ndarray]:
    """Of tall crops that are to be turned the view, by row."""
    views = [(crops.arrays[row], *crops.turned[row]) for row in rows]
    labels = [crops.labels[row] for row in rows for _ in range(3)]
    scores = judge.log_probabilities([view for some in views for view in some], labels).reshape(-1, 3)
    best = scores.argmax(1).tolist()
    return {row: some[choice] for row, some, choice in zip(rows, views, best, strict=True) if choice}


def _turn_upside_down(crops: LabeledCrops, rows: Sequence[int], judge: LabelJudge) -> dict[int, np.ndarray]:
    """Of crops that are to be turned upside down that view, by row; of each data set a sample is tried first."""
    turned: dict[int, np.ndarray] = {}
    for source in sorted(set(crops.sources)):
        own = [row for row in rows if crops.sources[row] == source]
        sample = [own[place] for place in np.linspace(0, len(own) - 1, min(len(own), SAMPLE)).round().astype(int)]
        found = _find_upside_down(crops, sample, judge)
        if len(found) >= WORTHWHILE * len(sample):
            found |= _find_upside_down(crops, sorted(set(own) - set(sample)), judge)
        turned |= found
    return turned


def _find_upside_down(crops: LabeledCrops, rows: Sequence[int], judge: LabelJudge) -> dict[int, np.ndarray]:
    def is_found(rows: Sequence[int], views: Sequence[np.ndarray]) -> Bool[np.ndarray, " views"]:
        labels = [crops.labels[row] for row in rows]
        least = np.array([len(label) for label in labels]) * math.log(LIKELY)
        return judge.log_probabilities(views, labels) >= least

    upright = [crops.arrays[row] for row in rows]
    missed = np.flatnonzero(~is_found(rows, upright)).tolist()
    rows, upright = [rows[place] for place in missed], [upright[place] for place in missed]
    views = [np.ascontiguousarray(view[::-1, ::-1]) for view in upright]
    chosen = is_found(rows, views) & (judge.confidences(views) > judge.confidences(upright))
    return {row: view for row, view, choice in zip(rows, views, chosen.tolist(), strict=True) if choice}
