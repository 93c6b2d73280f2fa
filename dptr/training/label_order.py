"""How labels write lines with letters that run from right to left: found by what the crops show.

A decoder that writes characters as they stand, from left to right, must know where the parts of a label stand. Text
runs from right to left around such letters; the labels of some data sets are written as the eye goes, and only words
are turned (``dptr.text.direction.LineDirection``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from dptr.config.train import FinetuneRecipe
from dptr.data.cache import MappedCrops
from dptr.data.crops import LabeledCrops
from dptr.models.decoders.base import AutoregressiveDecoder
from dptr.models.decoders.ctc import CTC
from dptr.models.recognizer import Recognizer
from dptr.text.charset import Charset, show
from dptr.text.direction import LineDirection, has_leftward, to_visual
from dptr.text.tokenizer import Tokenizer
from dptr.training.label_judge import LabelJudge

SAMPLE = 256  # crops that are looked at
DIRECTIONS: tuple[LineDirection, ...] = ("rtl", "ltr")
MARGIN = 1.0  # nats a label, in the mean, by which one direction must be likelier


def is_direction_open(recipe: FinetuneRecipe, start: Charset | None, charset: Charset) -> bool:
    """Whether training chooses how a decoder writes letters that run from right to left.

    It does where neither a setting nor a teacher says it, and what the decoder has learned does not. CTC over image
    tokens always writes characters as they stand; lines of one direction or of the other are open. Other decoders begin
    to when they are to learn their first such letters: an FMU whose queries are used to gather from left to right
    learns more Arabic so in the same steps (docs/evidence/languages.md).

    Args:
        start: the charset of the recognizer that training goes on from, if any.
    """
    decoder = recipe.model.decoder
    if decoder.direction or recipe.distillation.model:
        return False
    return bool(decoder.visual) or (start is not None and _has_leftward(charset) and not _has_leftward(start))


def _has_leftward(charset: Charset) -> bool:
    return has_leftward("".join(charset.characters))


def fit_direction(
    recipe: FinetuneRecipe, crops: LabeledCrops, model: Recognizer, charset: Charset, is_open: bool
) -> tuple[FinetuneRecipe, list[str]]:
    """The recipe with the direction that labels have, where that is open; and lines for the log.

    A direction that the recipe or its first model says stays; a line tells where the crops contradict it.

    Args:
        model: of the recipe, on the CPU; it can read.
        is_open: see ``is_direction_open``.
    """
    decoder = recipe.model.decoder
    if not decoder.visual or not isinstance(model.decoder, AutoregressiveDecoder | CTC):
        return recipe, []
    nats, example = compare_directions(crops, model, charset, recipe.model.max_length)
    if abs(nats) < MARGIN:
        return recipe, []
    found: LineDirection = "ltr" if nats > 0 else "rtl"
    if not is_open and found != decoder.visual:
        return recipe, [
            f"model.decoder.direction = '{decoder.visual}', but labels such as {show(example)} stand in their crops "
            f"as with '{found}': set model.decoder.direction={found}"
        ]
    if not is_open or found == "rtl":
        return recipe, []
    message = f"labels such as {show(example)} are written as the eye goes: model.decoder.direction = '{found}'"
    return set_direction(recipe, found), [message]


def set_direction(recipe: FinetuneRecipe, direction: LineDirection | Literal[""]) -> FinetuneRecipe:
    """A recipe with another ``model.decoder.direction``."""
    decoder = recipe.model.decoder.model_copy(update={"direction": direction})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"decoder": decoder})})


def compare_directions(crops: LabeledCrops, model: Recognizer, charset: Charset, max_length: int) -> tuple[float, str]:
    """By how many nats labels are likelier as the eye goes than from right to left, in the mean; and one that tells it.

    Up to ``SAMPLE`` labels that stand otherwise in the two directions are compared. Only characters that the model
    knows tell them apart: digits, most often. Without such labels it is 0.
    """
    differ = [row for row, label in enumerate(crops.labels) if to_visual(label) != to_visual(label, line="ltr")]
    if not differ or isinstance(crops.arrays, MappedCrops):
        return 0.0, ""
    rows = [differ[place] for place in np.linspace(0, len(differ) - 1, min(len(differ), SAMPLE)).round().astype(int)]
    views, labels = [crops.arrays[row] for row in rows], [crops.labels[row] for row in rows]
    training = model.training
    model.eval()
    rtl, ltr = (
        LabelJudge(model, Tokenizer(charset, max_length, direction), torch.device("cpu")).log_probabilities(
            views, labels
        )
        for direction in DIRECTIONS
    )
    model.train(training)
    possible = np.flatnonzero(np.isfinite(rtl) & np.isfinite(ltr))
    if not len(possible):
        return 0.0, ""
    nats = ltr[possible] - rtl[possible]
    mean = float(nats.mean())
    return mean, labels[possible[int((nats * np.sign(mean)).argmax())]]
