"""Line direction of labels with right-to-left letters, chosen by what the crops show.

A decoder that writes characters in visual order, from left to right, must know where each part of a label is in the
crop. Most labels are in logical order, and their lines run from right to left. The labels of some data sets order the
words of a line from left to right, and only the letters within words run from right to left
(``dptr.text.direction.LineDirection``).
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

SAMPLE = 256  # crops that are compared at most
DIRECTIONS: tuple[LineDirection, ...] = ("rtl", "ltr")
MARGIN = 1.0  # nats per label by which one direction must be likelier on average


def is_direction_open(recipe: FinetuneRecipe, start: Charset | None, charset: Charset) -> bool:
    """Whether training chooses ``model.decoder.direction``.

    It does not if the recipe sets it, or if there is a teacher. Otherwise it does for CTC over image tokens, which
    always writes in visual order. It also does for a recognizer that is to learn its first right-to-left letters: an
    FMU whose queries have learned to gather from left to right learns more Arabic in visual order in the same steps
    (docs/evidence/languages.md).

    Args:
        start: the charset of the recognizer that training continues from, if any.
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
    """The recipe with the direction of the labels, if it is open, and lines for the log.

    A direction that is not open stays as it is; a line says if the crops contradict it.

    Args:
        model: of the recipe, on the CPU; a trained one.
        is_open: see ``is_direction_open``.
    """
    decoder = recipe.model.decoder
    if not decoder.visual or not isinstance(model.decoder, AutoregressiveDecoder | CTC):
        return recipe, []
    nats, example = compare_directions(crops, model, charset, recipe.model.max_length)
    if abs(nats) < MARGIN:
        return recipe, []
    likelier: LineDirection = "ltr" if nats > 0 else "rtl"
    if not is_open and likelier != decoder.visual:
        return recipe, [
            f"model.decoder.direction = '{decoder.visual}', but labels such as {show(example)} stand in their crops "
            f"as with '{likelier}': set model.decoder.direction={likelier}"
        ]
    if not is_open or likelier == "rtl":
        return recipe, []
    message = f"labels such as {show(example)} are written as the eye goes: model.decoder.direction = '{likelier}'"
    return set_direction(recipe, likelier), [message]


def set_direction(recipe: FinetuneRecipe, direction: LineDirection | Literal[""]) -> FinetuneRecipe:
    """A recipe with another ``model.decoder.direction``."""
    decoder = recipe.model.decoder.model_copy(update={"direction": direction})
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"decoder": decoder})})


def compare_directions(crops: LabeledCrops, model: Recognizer, charset: Charset, max_length: int) -> tuple[float, str]:
    """Mean log-probability of labels under ``ltr`` minus that under ``rtl``, in nats, and the label that differs most.

    Up to ``SAMPLE`` labels whose visual order differs between the directions are compared; without such labels the
    result is 0. Only characters that the model knows make a difference, mostly digits.
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
