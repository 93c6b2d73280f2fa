"""Another longest word (``max_length``) for trained weights: rows of positions are kept, and added or cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


def extend_rows(learned: Float[Tensor, "1 n d"], fresh: Float[Tensor, "1 m d"]) -> Float[Tensor, "1 m d"]:
    """The first m learned rows where they are; where there are fewer, fresh rows after them, made like them.

    Row k stands for the k-th character, however long the longest word, so no learned row moves. Rows n..m - 1 of
    ``fresh`` are shifted and scaled as a whole, by what gives its rows 0..n - 1 the mean and deviation of the learned
    ones. So what attends to the further rows has met their like; they differ from each other, as copies of the last
    would not; and rows that began as sinusoids (``dptr.models.fmu``) go on as sinusoids, which matters most
    (docs/decoders.md).

    Args:
        learned: n rows of a checkpoint.
        fresh: m rows as they are initialized.
    """
    first_rows = learned[:, : fresh.shape[1]].to(fresh.dtype)
    fresh_rows = fresh[:, : first_rows.shape[1]]
    middle, start = (rows.mean(1, keepdim=True) for rows in (first_rows, fresh_rows))
    scale = (first_rows - middle).norm() / (fresh_rows - start).norm().clamp(min=1e-6)
    return torch.cat([first_rows, middle + scale * (fresh - start)[:, first_rows.shape[1] :]], dim=1)


def repeat_last_row(learned: Float[Tensor, "1 n d"], fresh: Float[Tensor, "1 m d"]) -> Float[Tensor, "1 m d"]:
    """The first m learned rows where they are; where there are fewer, the last one again and again.

    For a path of CTC, where repeats are merged: what the last place shows, its copies show, so the word stays. In
    training each copy gets gradients of its own place, and they part.
    """
    first_rows = learned[:, : fresh.shape[1]].to(fresh.dtype)
    return torch.cat([first_rows, first_rows[:, -1:].expand(-1, fresh.shape[1] - first_rows.shape[1], -1)], dim=1)


@dataclass(frozen=True)
class Rows:
    """A kind of rows.

    Attributes:
        count: how many there are, by the longest word in characters; None where it does not depend on that.
        fill: from n learned rows and m fresh ones, both (1, rows, d), to m rows, the first ones learned.
        note: what the others are, for the log.
        kept: which learned rows are.
        optional: whether a checkpoint may have none, which then are as they are initialized.
    """

    count: Callable[[int], int] | None
    fill: Callable[[Tensor, Tensor], Tensor]
    note: str
    kept: str = "the first"
    optional: bool = False


def center_rows(learned: Float[Tensor, "1 n d"], fresh: Float[Tensor, "1 m d"]) -> Float[Tensor, "1 m d"]:
    """The learned rows around the middle of the fresh ones, or of more learned ones those around their middle.

    Row (n - 1) / 2 stands for the middle of the image, whatever its height; n and m are odd.
    """
    before, after = learned.shape[1] // 2, fresh.shape[1] // 2
    kept = min(before, after)
    filled = fresh.clone()
    filled[:, after - kept : after + kept + 1] = learned[:, before - kept : before + kept + 1].to(fresh.dtype)
    return filled


# By what ``Decoder.per_position`` calls them.
ROWS: dict[str, Rows] = {
    "characters": Rows(lambda longest: longest + 1, extend_rows, "made like them"),
    "path": Rows(lambda longest: 2 * longest - 1, repeat_last_row, "copies of the last"),
    "columns": Rows(None, extend_rows, "made like them"),
    "rows": Rows(None, center_rows, "zero", "the middle", optional=True),
}


def resize_rows(
    module: nn.Module, kinds: dict[str, str], tensors: dict[str, Tensor], part: str
) -> tuple[dict[str, Tensor], list[str]]:
    """A checkpoint's tensors with as many rows as ``module`` has; what else differs is left for ``load_strictly``.

    Args:
        module: holds the fresh rows.
        kinds: its parameters (1, rows, d) with a row a place, name -> key of ``ROWS``.
        tensors: the checkpoint's, by the module's names.
        part: before names in the lines, such as ``fmu.``.

    Returns:
        All tensors, and a line for the log on each whose rows changed in number.
    """
    own, fitted, messages = module.state_dict(), dict(tensors), []
    for name, kind in kinds.items():
        if name not in tensors and ROWS[kind].optional:
            fitted[name] = own[name]
            messages.append(f"{part}{name}: {own[name].shape[1]} rows, {ROWS[kind].note}")
        if name not in tensors or tensors[name].shape[2:] != own[name].shape[2:]:
            continue
        before, after = tensors[name].shape[1], own[name].shape[1]
        if before != after:
            fitted[name] = ROWS[kind].fill(tensors[name], own[name])
            added = f", the others {ROWS[kind].note}" if after > before else ""
            kept = f"{ROWS[kind].kept} {min(before, after)} kept"
            messages.append(f"{part}{name}: {before} to {after} rows, {kept}{added}")
    return fitted, messages
