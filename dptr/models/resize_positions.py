"""Resizing of position embeddings and queries to another ``max_length`` or image size: rows are kept, added, or cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


def extend_rows(learned: Float[Tensor, "1 n d"], fresh: Float[Tensor, "1 m d"]) -> Float[Tensor, "1 m d"]:
    """The first m learned rows; if n < m, followed by fresh rows that are shifted and scaled like the learned ones.

    Row k belongs to the k-th character for every ``max_length``, so learned rows keep their index. Rows n..m - 1 of
    ``fresh`` get the shift and the scale that would give its rows 0..n - 1 the mean and deviation of the learned ones.
    So the new rows resemble those that the network was trained with; they differ from each other, unlike copies of the
    last; and sinusoids (``dptr.models.fmu``) continue as sinusoids, which matters most (docs/decoders.md).

    Args:
        learned: n rows of a checkpoint.
        fresh: m rows of a new module.
    """
    first_rows = learned[:, : fresh.shape[1]].to(fresh.dtype)
    fresh_rows = fresh[:, : first_rows.shape[1]]
    mean, fresh_mean = (rows.mean(1, keepdim=True) for rows in (first_rows, fresh_rows))
    scale = (first_rows - mean).norm() / (fresh_rows - fresh_mean).norm().clamp(min=1e-6)
    return torch.cat([first_rows, mean + scale * (fresh - fresh_mean)[:, first_rows.shape[1] :]], dim=1)


def repeat_last_row(learned: Float[Tensor, "1 n d"], fresh: Float[Tensor, "1 m d"]) -> Float[Tensor, "1 m d"]:
    """The first m learned rows; if n < m, followed by copies of the last.

    This is for the path of CTC, which merges repeats: the copies repeat the label of the last position, so the word
    stays the same. In training the copies diverge, since each gets its own gradient.
    """
    first_rows = learned[:, : fresh.shape[1]].to(fresh.dtype)
    return torch.cat([first_rows, first_rows[:, -1:].expand(-1, fresh.shape[1] - first_rows.shape[1], -1)], dim=1)


@dataclass(frozen=True)
class Rows:
    """A kind of parameter with one row per position.

    Attributes:
        count: from ``max_length`` to the number of rows; None if it depends on the image size.
        fill: from n learned and m fresh rows, both (1, rows, d), to m rows.
        note: describes the added rows, for the log.
        kept: describes the kept rows, for the log.
        optional: whether a checkpoint may lack the parameter, which then stays fresh.
    """

    count: Callable[[int], int] | None
    fill: Callable[[Tensor, Tensor], Tensor]
    note: str
    kept: str = "the first"
    optional: bool = False


def center_rows(learned: Float[Tensor, "1 n d"], fresh: Float[Tensor, "1 m d"]) -> Float[Tensor, "1 m d"]:
    """The fresh rows, with the learned rows around the middle; if n > m, only the middle ones of these.

    Row (n - 1) / 2 belongs to the middle of the image, whatever its height; n and m are odd.
    """
    old_middle, new_middle = learned.shape[1] // 2, fresh.shape[1] // 2
    kept = min(old_middle, new_middle)
    rows = fresh.clone()
    rows[:, new_middle - kept : new_middle + kept + 1] = learned[:, old_middle - kept : old_middle + kept + 1].to(
        fresh.dtype
    )
    return rows


# The values of ``per_position``.
ROWS: dict[str, Rows] = {
    "characters": Rows(lambda longest: longest + 1, extend_rows, "made like them"),
    "path": Rows(lambda longest: 2 * longest - 1, repeat_last_row, "copies of the last"),
    "columns": Rows(None, extend_rows, "made like them"),
    "rows": Rows(None, center_rows, "zero", "the middle", optional=True),
}


def resize_rows(
    module: nn.Module, kinds: dict[str, str], tensors: dict[str, Tensor], part: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Resize a checkpoint's tensors to the number of rows in ``module``. ``load_strictly`` finds other differences.

    Args:
        module: with fresh rows.
        kinds: its parameters (1, rows, d) with one row per position: name -> key of ``ROWS``.
        tensors: of the checkpoint, by the module's names.
        part: prefix of names in the log, such as ``fmu.``.

    Returns:
        All tensors, and a line for the log on each one that was resized.
    """
    own, resized, messages = module.state_dict(), dict(tensors), []
    for name, kind in kinds.items():
        if name not in tensors and ROWS[kind].optional:
            resized[name] = own[name]
            messages.append(f"{part}{name}: {own[name].shape[1]} rows, {ROWS[kind].note}")
        if name not in tensors or tensors[name].shape[2:] != own[name].shape[2:]:
            continue
        before, after = tensors[name].shape[1], own[name].shape[1]
        if before != after:
            resized[name] = ROWS[kind].fill(tensors[name], own[name])
            added = f", the others {ROWS[kind].note}" if after > before else ""
            kept = f"{ROWS[kind].kept} {min(before, after)} kept"
            messages.append(f"{part}{name}: {before} to {after} rows, {kept}{added}")
    return resized, messages
