"""Orientation of labeled crops: crops are turned, before training, so that a recognizer finds their label in them.

Words on spines, poles, and columns run up or down, and wire markers hang upside down. The reader tries such crops
turned too (``dptr.inference.reader``), so training on them as they are would teach nothing useful.
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

SAMPLE = 256  # crops of a data set that are tried upside down first
MIN_SHARE = 0.01  # of the sample that must be upside down for the rest to be tried
LIKELY = 0.5  # a label is found in a view if the geometric mean of its characters' probabilities is at least this


def orient_by_label(
    crops: LabeledCrops, model: Recognizer, tokenizer: Tokenizer, device: torch.device
) -> tuple[LabeledCrops, list[str]]:
    """Turn each crop to the view in which ``model`` finds its label; also return lines for the log.

    Views are compared by the log-probability of the label: for autoregressive decoders, the sum over its symbols under
    teacher forcing; for CTC, that of all its paths. A tall crop stays as it is, or is turned by 90 or 270 degrees,
    whichever is likeliest. Another crop is turned upside down if the label is found there (``LIKELY``), is not found in
    the crop as it is, and the reading upside down has the higher confidence. The last condition is for labels that omit
    punctuation: such a label may be likelier upside down.

    A data set is not searched further if less than ``MIN_SHARE`` of a sample of ``SAMPLE`` crops is upside down.

    Crops whose label is one character are not turned: a tall letter turned is a dash, and a 6 is a 9. Crops on disk are
    not turned either, nor any crop if the decoder is neither autoregressive nor CTC.

    Args:
        model: on ``device``; it is in eval mode meanwhile.
    """
    arrays = crops.arrays
    if isinstance(arrays, MappedCrops) or not isinstance(model.decoder, AutoregressiveDecoder | CTC):
        return crops, []
    candidates = [row for row, label in enumerate(crops.labels) if len(label) > 1]
    tall = [row for row in candidates if row in crops.turned]
    wide = [row for row in candidates if row not in crops.turned]
    judge = LabelJudge(model, tokenizer, device)
    training = model.training
    model.eval()
    quarter_turns = _turn_tall(crops, tall, judge)
    half_turns = _turn_upside_down(crops, wide, judge)
    model.train(training)
    turned = quarter_turns | half_turns
    if not turned:
        return crops, []
    copied = VariableSizeCrops(list(arrays.crops)) if isinstance(arrays, VariableSizeCrops) else np.array(arrays)
    rows = copied.crops if isinstance(copied, VariableSizeCrops) else copied
    for row, view in turned.items():
        rows[row] = view
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
    """The turned views of tall crops that are likelier turned, by row."""
    views = [(crops.arrays[row], *crops.turned[row]) for row in rows]
    labels = [crops.labels[row] for row in rows for _ in range(3)]
    scores = judge.log_probabilities([view for some in views for view in some], labels).reshape(-1, 3)
    best = scores.argmax(1).tolist()
    return {row: some[choice] for row, some, choice in zip(rows, views, best, strict=True) if choice}


def _turn_upside_down(crops: LabeledCrops, rows: Sequence[int], judge: LabelJudge) -> dict[int, np.ndarray]:
    """The upside-down views of crops that are upside down, by row; see ``orient_by_label``."""
    turned: dict[int, np.ndarray] = {}
    for source in sorted(set(crops.sources)):
        own = [row for row in rows if crops.sources[row] == source]
        sample = [own[place] for place in np.linspace(0, len(own) - 1, min(len(own), SAMPLE)).round().astype(int)]
        found = _find_upside_down(crops, sample, judge)
        if len(found) >= MIN_SHARE * len(sample):
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
