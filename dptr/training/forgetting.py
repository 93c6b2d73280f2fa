"""Forgetting: fine-tuning is validated on other crops too, which it never trains on.

Interpolations between the weights before and after fine-tuning read nearly all of the new crops and forget less
(WiSE-FT, Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, section 3). So they are candidates too.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from itertools import chain, count
from pathlib import Path

import torch
from torch import Tensor, nn

from dptr.config.effects import KIND_NAMES
from dptr.config.train import FinetuneRecipe
from dptr.data.crops import LabeledCrops, load_crops
from dptr.text.charset import Charset
from dptr.training.sources import draw, held_out_words
from dptr.training.task import Scores
from dptr.utils.errors import UserError

FRACTIONS = (1.0, 0.75, 0.5, 0.25)  # of an interpolation, from the initial weights (0) to the trained ones (1)
# Sets that are rendered with the preset ``mixed``: name -> the effect (dptr.config.effects) with share 1; "" = none.
RENDERED = {"words": "", "receipts": "receipt", "displays": "display", "plates": "plate", "markers": "marker"}


def load_others(recipe: FinetuneRecipe, charset: Charset) -> tuple[dict[str, LabeledCrops], list[str]]:
    """The sets of crops of ``recipe.forgetting`` by name, and lines for the log.

    Rendered sets show held-out words in the held-out tenth of the font families. Unless ``render.font_split`` is
    ``train``, training renders in these families too, since a user with few fonts needs them all. A kind that cannot be
    rendered with this charset or these fonts is left out, and a line says so.

    Args:
        recipe: resolved.

    Raises:
        UserError: see ``load_crops``.
    """
    config, encoder, length = recipe.forgetting, recipe.model.encoder, recipe.model.max_length
    others: dict[str, LabeledCrops] = {}
    notes: list[str] = []
    rendered = RENDERED if config.rendered else {}
    for path in config.sets:
        name = _set_name(path, {*others, *rendered})
        others[name] = load_crops([path], charset, length, encoder.crop_size, allow_empty=recipe.data.allow_empty)
        notes += others[name].drops.lines()
    for name, kind in rendered.items():
        shares = {each: float(each == kind) for each in KIND_NAMES}
        render = recipe.render.model_copy(update={"preset": "mixed", "effects": shares, "font_split": "train"})
        try:
            others[name] = draw(held_out_words(recipe.corpus, render, encoder, charset, length), config.rendered)
        except UserError as error:
            notes.append(f"forgetting of rendered {name} is not measured: {error}")
    if others:
        sizes = ", ".join(f"{name} ({len(crops)})" for name, crops in others.items())
        if recipe.data.rendered and recipe.render.font_split == "all" and not recipe.data.pack and config.rendered:
            sizes += "; rendered ones in fonts that are trained with (not with render.font_split=train)"
        limit = f"none may lose more than {100 * config.max_loss:g} points"
        notes.append(f"other crops, read at each validation: {sizes}; {limit} (forgetting.max_loss)")
    return others, notes


def _set_name(path: str, taken: Container[str]) -> str:
    """The first that is not taken of: the path's last two parts, the whole path, the path with a number."""
    names = chain(("/".join(Path(path).parts[-2:]), path), (f"{path} ({number})" for number in count(2)))
    return next(name for name in names if name not in taken)


def find_losses(scores: Scores, baseline: Scores, max_loss: float) -> list[str]:
    """Names of the scores that have fallen by more than ``max_loss`` (word accuracy, 0 to 1) since ``baseline``.

    A set that the baseline lacks is never among them: a resumed run may find fonts that the first one did not have.
    """
    return [name for name, score in scores.items() if score < baseline.get(name, 0.0) - max_loss - 1e-9]


def describe_forgetting(before: Scores, after: Scores) -> str:
    """One line for the log: the accuracy on each set of other crops before and after training."""
    parts = (f"{name} {100 * before[name]:.1f} -> {100 * score:.1f}" for name, score in after.items() if name in before)
    return f"other crops, % read before -> after: {', '.join(parts)}"


def describe_unlimited(folder: Path, accuracy: float, kept: float, before: Scores, after: Scores) -> str:
    """One line for the log: the accuracy of the state that forgot too much, and its losses.

    Args:
        folder: of that state.
        accuracy, kept: word accuracy on the validation crops, 0 to 1, of that state and of the one in ``out/model``.
        before, after: word accuracy of that state on other crops, by set.
    """
    falls = (
        f"{100 * (before[name] - score):.1f} of {name}"
        for name, score in after.items()
        if score < before.get(name, 0.0)
    )
    return (
        f"{folder} reads {accuracy:.1%} of your validation crops where {folder.parent / 'model'} reads {kept:.1%}, and "
        f"loses {', '.join(falls)} (points): take it if other crops do not matter"
    )


def sweep_interpolations(
    module: nn.Module, initial: Mapping[str, Tensor], fractions: tuple[float, ...] = FRACTIONS
) -> Iterator[float]:
    """Load interpolations between ``initial`` and the module's weights, one after the other; then restore the latter.

    Yields:
        The fraction whose weights the module now has, 0 to 1.
    """
    trained = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        for fraction in fractions:
            module.load_state_dict(interpolate_weights(initial, trained, fraction))
            yield fraction
    finally:
        module.load_state_dict(trained)


def interpolate_weights(
    initial: Mapping[str, Tensor], trained: Mapping[str, Tensor], fraction: float
) -> dict[str, Tensor]:
    """Weights from ``initial`` (fraction 0) to ``trained`` (1), of equal names and shapes; integers are the trained."""
    return {
        name: torch.lerp(initial[name].to(tensor.device), tensor, fraction) if tensor.is_floating_point() else tensor
        for name, tensor in trained.items()
    }
