"""What further training should not forget: crops that are read at each validation and never trained on.

Weights between those before and after a training read nearly all that is new and forget less (WiSE-FT, Wortsman et al.,
"Robust fine-tuning of zero-shot models", CVPR 2022, section 3), so they are candidates too.
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

WAYS = (1.0, 0.75, 0.5, 0.25)  # how far from the weights as they were to the trained ones
# What is rendered, as the preset ``mixed`` draws it, and the effect (dptr.config.effects) whose share is 1; "" = none.
RENDERED = {"words": "", "receipts": "receipt", "displays": "display", "plates": "plate", "markers": "marker"}


def load_others(recipe: FinetuneRecipe, charset: Charset) -> tuple[dict[str, LabeledCrops], list[str]]:
    """The crops of ``recipe.forgetting`` by name, each set by one of its own, and lines for the log.

    Rendered ones show held-out words, in one font family of ten. Training draws these families too, unless
    ``render.font_split`` is ``train``: who has few fonts needs them all, and a loss is counted from before training. A
    kind that cannot be rendered with this charset or these fonts is left out, and a line says so.

    Args:
        recipe: resolved.

    Raises:
        UserError: see ``load_crops``.
    """
    wanted, encoder, length = recipe.forgetting, recipe.model.encoder, recipe.model.max_length
    others: dict[str, LabeledCrops] = {}
    notes: list[str] = []
    rendered = RENDERED if wanted.rendered else {}
    for path in wanted.sets:
        name = _name(path, {*others, *rendered})
        others[name] = load_crops([path], charset, length, encoder.crop_size, allow_empty=recipe.data.allow_empty)
        notes += others[name].drops.lines()
    for name, kind in rendered.items():
        shares = {each: float(each == kind) for each in KIND_NAMES}
        render = recipe.render.model_copy(update={"preset": "mixed", "effects": shares, "font_split": "train"})
        try:
            others[name] = draw(held_out_words(recipe.corpus, render, encoder, charset, length), wanted.rendered)
        except UserError as error:
            notes.append(f"forgetting of rendered {name} is not measured: {error}")
    if others:
        sizes = ", ".join(f"{name} ({len(crops)})" for name, crops in others.items())
        if recipe.data.rendered and recipe.render.font_split == "all" and not recipe.data.pack and wanted.rendered:
            sizes += "; rendered ones in fonts that are trained with (not with render.font_split=train)"
        limit = f"none may lose more than {100 * wanted.max_loss:g} points"
        notes.append(f"other crops, read at each validation: {sizes}; {limit} (forgetting.max_loss)")
    return others, notes


def _name(path: str, taken: Container[str]) -> str:
    """What a set is called: the end of its path, where another one is called so all of it, else with a number."""
    names = chain(("/".join(Path(path).parts[-2:]), path), (f"{path} ({number})" for number in count(2)))
    return next(name for name in names if name not in taken)


def lost(scores: Scores, baseline: Scores, max_loss: float) -> list[str]:
    """Which scores have fallen by more than ``max_loss`` (word accuracy, 0 to 1) since ``baseline``.

    Of a set that the baseline lacks nothing is known: a resumed run may find fonts that the first one did not have.
    """
    return [name for name, score in scores.items() if score < baseline.get(name, 0.0) - max_loss - 1e-9]


def describe_forgetting(before: Scores, after: Scores) -> str:
    """One line: what of each kind of other crops was read before and after."""
    parts = (f"{name} {100 * before[name]:.1f} -> {100 * score:.1f}" for name, score in after.items() if name in before)
    return f"other crops, % read before -> after: {', '.join(parts)}"


def describe_unlimited(folder: Path, accuracy: float, kept: float, before: Scores, after: Scores) -> str:
    """One line: what the state that forgot too much reads, and what it lost.

    Args:
        folder: where it is.
        accuracy, kept: what it and the state that is kept read of the validation crops, 0 to 1.
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


def between(module: nn.Module, first: Mapping[str, Tensor], ways: tuple[float, ...] = WAYS) -> Iterator[float]:
    """Give ``module`` weights some way from ``first`` to its own, for each of ``ways``; its own are put back.

    Yields:
        The way, 0 to 1.
    """
    last = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        for way in ways:
            module.load_state_dict(interpolate_weights(first, last, way))
            yield way
    finally:
        module.load_state_dict(last)


def interpolate_weights(first: Mapping[str, Tensor], last: Mapping[str, Tensor], way: float) -> dict[str, Tensor]:
    """Weights ``way`` (0 to 1) of the way from ``first`` to ``last``, which have the same names and shapes."""
    return {
        name: torch.lerp(first[name].to(tensor.device), tensor, way) if tensor.is_floating_point() else tensor
        for name, tensor in last.items()
    }
