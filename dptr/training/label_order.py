"""How labels write lines with letters that run from right to left: found by what the crops show.

A decoder that writes from left to right must know where the parts of a label stand. Text runs from right to left around
such letters; the labels of some data sets are written as the eye goes, and only words are turned
(``dptr.text.direction.LineDirection``).
"""

from __future__ import annotations

import numpy as np
import torch

from dptr.config.decoders import CTCConfig
from dptr.config.train import FinetuneRecipe
from dptr.data.cache import MappedCrops
from dptr.data.crops import LabeledCrops
from dptr.models.recognizer import Recognizer
from dptr.text.charset import Charset, show
from dptr.text.direction import LineDirection, to_visual
from dptr.text.tokenizer import Tokenizer
from dptr.training.label_judge import LabelJudge

SAMPLE = 256  # crops that are looked at
LINES: tuple[LineDirection, ...] = ("rtl", "ltr")
MARGIN = 1.0  # nats a label, in the mean, by which labels as the eye goes must be likelier


def fit_line(
    recipe: FinetuneRecipe, crops: LabeledCrops, model: Recognizer, charset: Charset
) -> tuple[FinetuneRecipe, list[str]]:
    """The recipe with the direction that labels have, where it leaves open which; and lines for the log.

    Args:
        model: of the recipe, on the CPU; it can read.
    """
    decoder = recipe.model.decoder
    if not isinstance(decoder, CTCConfig) or not decoder.visual or decoder.line:
        return recipe, []
    line, example = find_line(crops, model, charset, recipe.model.max_length)
    if line == "rtl":
        return recipe, []
    own = recipe.model.model_copy(update={"decoder": decoder.model_copy(update={"line": line})})
    message = f"labels such as {show(example)} are written as the eye goes: model.decoder.line = '{line}'"
    return recipe.model_copy(update={"model": own}), [message]


def find_line(crops: LabeledCrops, model: Recognizer, charset: Charset, max_length: int) -> tuple[LineDirection, str]:
    """The direction of lines with letters that run from right to left in these labels; and a label that tells it.

    Up to ``SAMPLE`` labels that stand otherwise in the two directions are compared by their probability. Only
    characters that the model knows tell them apart: digits, most often. Without such labels it is ``rtl``.
    """
    differ = [row for row, label in enumerate(crops.labels) if to_visual(label) != to_visual(label, line="ltr")]
    if not differ or isinstance(crops.arrays, MappedCrops):
        return "rtl", ""
    rows = [differ[place] for place in np.linspace(0, len(differ) - 1, min(len(differ), SAMPLE)).round().astype(int)]
    views, labels = [crops.arrays[row] for row in rows], [crops.labels[row] for row in rows]
    training = model.training
    model.eval()
    rtl, ltr = (
        LabelJudge(model, Tokenizer(charset, max_length, line), torch.device("cpu")).log_probabilities(views, labels)
        for line in LINES
    )
    model.train(training)
    possible = np.isfinite(rtl) & np.isfinite(ltr)
    likelier = possible.any() and float(ltr[possible].mean() - rtl[possible].mean()) >= MARGIN
    return ("ltr" if likelier else "rtl"), labels[0]
