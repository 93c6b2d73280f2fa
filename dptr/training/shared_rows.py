"""Characters that share parts learn together: rows of a decoder's embedding and head move along shared directions.

A row of a character is reparametrized as w = r + sum of m_p v_p over its parts p, with one vector v_p a part that all
characters with it share, and m_p from ``dptr.text.decomposition.part_weights``. By the chain rule the gradient of V is
M^T times that of W. So nothing of it needs to be in the network: after each step of the optimizer the step that it made
of V is added to W, and V is zero again. Adam's steps do not depend on where its parameter stands, without weight decay;
what is left of V is its moments. Checkpoints, averages, and exports hold plain rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dptr.models.decoders import Decoder
from dptr.text.charset import Charset
from dptr.text.decomposition import part_weights, read_decomposition

FIRST = 1  # row of the first character in tables of classes and of vocabulary: EOS is 0


class SharedRows(nn.Module):
    """The steps of shared parts, for each table of rows by character. ``Trainer`` attaches those of an objective.

    Args:
        tables: parameters (rows, ...); rows ``FIRST`` to ``FIRST`` + n - 1 are those of the characters.
        weights: M, of n characters and p parts.
        factor: on the learning rate.

    Attributes:
        steps: a parameter (p, ...) a table, zero between steps. Their gradients are set here, not by autograd.
    """

    weights: Tensor

    def __init__(self, tables: Sequence[nn.Parameter], weights: Float[Tensor, "n p"], factor: float):
        super().__init__()
        self.tables = tuple(tables)  # no parameters of this module: the network's
        self.factor = factor
        self.register_buffer("weights", weights, persistent=False)
        parts = weights.shape[1]
        self.steps = nn.ParameterList(
            nn.Parameter(torch.zeros(parts, *table.shape[1:]), requires_grad=False) for table in tables
        )

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Have ``optimizer`` step the parts too, and the tables move with them."""
        optimizer.add_param_group({"params": list(self.steps), "weight_decay": 0.0, "factor": self.factor})
        optimizer.register_step_pre_hook(lambda *_: self.gather())
        optimizer.register_step_post_hook(lambda *_: self.apply_steps())

    @torch.no_grad()
    def gather(self) -> None:
        """Gradients of the parts, from those of the rows."""
        for table, step in zip(self.tables, self.steps, strict=True):
            step.grad = None if table.grad is None else self.weights.T @ self._rows(table.grad)

    @torch.no_grad()
    def apply_steps(self) -> None:
        """Add the steps of the parts to the rows, and set them to zero."""
        for table, step in zip(self.tables, self.steps, strict=True):
            self._rows(table).add_(self.weights @ step)
            step.zero_()
            step.grad = None

    def _rows(self, table: Tensor) -> Tensor:
        return table[FIRST : FIRST + len(self.weights)]


def decoder_tables(decoder: Decoder) -> list[nn.Parameter]:
    """The parameters of a decoder with a row a character."""
    return [decoder.get_parameter(name) for name in decoder.per_character()]


def share_rows(
    tables: Sequence[nn.Parameter], charset: Charset, decomposition: str, factor: float = 1.0
) -> SharedRows | None:
    """``SharedRows`` of ``tables``; None where ``decomposition`` is empty, or no two characters share a part.

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
    """Give ``fresh`` characters rows that their parts make up, so that characters that share parts begin alike.

    A part that is a character with a trained row has that row; others are drawn, with the deviation of the fresh rows.
    Rows of fresh characters without shared parts, and biases, stay.

    Raises:
        UserError: see ``read_decomposition``.
    """
    if not decomposition or not fresh:
        return
    counted, parts = part_weights(read_decomposition(decomposition, charset.characters))
    weights = torch.from_numpy(counted)
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
