"""Shared rows: characters that share parts share updates to their rows in a decoder's embedding and head.

The row of a character is reparametrized as w = r + sum of m_p v_p over its parts p. The vector v_p is shared by all
characters with part p, and m_p comes from ``dptr.text.decomposition.part_weights``. By the chain rule, the gradient of
V is M^T times that of W. So the network needs no V: after each step of the optimizer, its update of V is multiplied by
M, added to W, and V is reset to zero. Without weight decay, Adam's updates do not depend on the parameter's value, and
its moments are kept. Checkpoints, averages, and exports hold plain rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.models.decoders import Decoder
from dptr.text.charset import Charset
from dptr.text.decomposition import part_weights, read_decomposition

FIRST = 1  # row of the first character in tables of classes and of the vocabulary; row 0 is EOS


class SharedRows(nn.Module):
    """Shared updates of parts, for each table with a row per character. ``Optimization`` attaches it to the optimizer.

    Args:
        tables: parameters (rows, ...); rows ``FIRST`` to ``FIRST`` + n - 1 belong to the n characters.
        weights: M, of n characters and p parts.
        factor: on the learning rate.

    Attributes:
        steps: V, a parameter (p, ...) for each table; zero between steps. Its gradient is set here, not by autograd.
    """

    weights: Tensor

    def __init__(self, tables: Sequence[nn.Parameter], weights: Float[Tensor, "n p"], factor: float):
        super().__init__()
        self.tables = tuple(tables)  # a tuple: they are the network's parameters, not this module's
        self.factor = factor
        self.register_buffer("weights", weights, persistent=False)
        parts = weights.shape[1]
        self.steps = nn.ParameterList(
            nn.Parameter(torch.zeros(parts, *table.shape[1:]), requires_grad=False) for table in tables
        )

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the parts to ``optimizer``, with hooks that add each of its updates of them to the tables."""
        optimizer.add_param_group({"params": list(self.steps), "weight_decay": 0.0, "factor": self.factor})
        optimizer.register_step_pre_hook(lambda *_: self.gather())
        optimizer.register_step_post_hook(lambda *_: self.apply_steps())

    @torch.no_grad()
    def gather(self) -> None:
        """Compute the gradients of the parts from those of the rows."""
        for table, step in zip(self.tables, self.steps, strict=True):
            step.grad = None if table.grad is None else self.weights.T @ self._rows(table.grad)

    @torch.no_grad()
    def apply_steps(self) -> None:
        """Add the updates of the parts to the rows, and reset them to zero."""
        for table, step in zip(self.tables, self.steps, strict=True):
            self._rows(table).add_(self.weights @ step)
            step.zero_()
            step.grad = None

    def _rows(self, table: Tensor) -> Tensor:
        return table[FIRST : FIRST + len(self.weights)]


def decoder_tables(decoder: Decoder) -> list[nn.Parameter]:
    """The parameters of a decoder with one row per character."""
    return [decoder.get_parameter(name) for name in decoder.per_character()]


def share_rows(
    tables: Sequence[nn.Parameter], charset: Charset, decomposition: str, factor: float = 1.0
) -> SharedRows | None:
    """``SharedRows`` of ``tables``; None if ``decomposition`` is empty or no two characters share a part.

    Raises:
        UserError: see ``read_decomposition``.
    """
    if not decomposition:
        return None
    weights, parts = part_weights(read_decomposition(decomposition, charset.characters))
    return SharedRows(tables, torch.from_numpy(weights), factor) if parts else None


@torch.no_grad()
def compose_rows(
    tables: Sequence[nn.Parameter], charset: Charset, fresh: Sequence[str], decomposition: str, seed: int
) -> None:
    """Set the rows of ``fresh`` characters to weighted sums over their parts, so that similar characters start alike.

    A part that is itself a character with a trained row contributes that row. The vectors of other parts are normal,
    with the standard deviation of the fresh rows. Biases, and rows of characters without shared parts, do not change.

    Raises:
        UserError: see ``read_decomposition``.
    """
    if not decomposition or not fresh:
        return
    array, parts = part_weights(read_decomposition(decomposition, charset.characters))
    weights = torch.from_numpy(array)
    rows = torch.tensor([charset.index(character) for character in fresh])
    rows = rows[weights[rows].any(1)]
    if not len(rows):
        return
    generator, unknown = torch.Generator().manual_seed(seed), set(fresh)
    for table in tables:
        if table.dim() == 1:
            continue
        deviation = table[FIRST + rows].float().std()
        vectors = torch.randn(len(parts), table.shape[1], generator=generator) * deviation
        for number, part in enumerate(parts):
            if part in charset and part not in unknown:
                vectors[number] = table[FIRST + charset.index(part)]
        table[FIRST + rows] = (weights[rows] @ vectors).to(table.dtype)
