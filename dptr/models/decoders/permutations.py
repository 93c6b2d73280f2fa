"""PARSeq's permutations of a word's positions, and their attention masks (Bautista and Atienza, ECCV 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def draw_permutations(length: int, count: int, generator: torch.Generator) -> Int[Tensor, "k n"]:
    """Orders in which positions 0 (BOS), 1..length (characters), and length + 1 (EOS) become known.

    They are left to right, its mirror, then random orders each followed by its mirror (PARSeq section 3.2). No order
    occurs twice, so short words get fewer than ``count``. BOS is always first. EOS is last, except in the right-to-left
    order, where it is second, as in the published code.

    Args:
        length: characters of the longest word in the batch, >= 1.
        count: maximal number of orders, >= 1.
    """
    count = order_count(length, count)
    orders: list[tuple[int, ...]] = []
    forward = tuple(range(1, length + 1))
    while len(orders) < count:
        order = forward if not orders else tuple((torch.randperm(length, generator=generator) + 1).tolist())
        if order not in orders:
            orders += [order, order[::-1]]
    end = length + 1
    rows = [(0, *order, end) for order in orders[:count]]
    if count > 1:
        rows[1] = (0, end, *forward[::-1])
    return torch.tensor(rows)


def order_count(length: int, count: int) -> int:
    """The number of orders that ``draw_permutations`` returns: at most the factorial of ``length``."""
    return min(count, math.factorial(length)) if length < 12 else count


@dataclass(frozen=True)
class Sequences:
    """All orders concatenated to one content and one query sequence, without tokens that no prediction needs.

    The content sequence has BOS once, which sees only itself in every order, then each order's characters as they
    become known, except one that nothing is predicted after. The query sequence has each order's positions as they are
    predicted. EOS is predicted in the first two orders only, as in the published code: in the others it is always last.

    Attributes:
        content: the input position of each content token: 0 (BOS), 1..length.
        query: the position that each query token predicts, minus one: 0..length - 1 (characters), length (EOS).
        order: the index of each query token's order.
        content_allowed, query_allowed: which content tokens each content or query token may see.
    """

    content: Int[Tensor, " l"]
    query: Int[Tensor, " q"]
    order: Int[Tensor, " q"]
    content_allowed: Bool[Tensor, "l l"]
    query_allowed: Bool[Tensor, "q l"]

    def to(self, device: torch.device) -> Sequences:
        """Copy to another device."""
        return Sequences(*(getattr(self, part.name).to(device) for part in fields(self)))


def build_sequences(permutations: Int[Tensor, "k n"]) -> Sequences:
    """Concatenate orders of 0 (BOS), 1..n - 2 (characters), and n - 1 (EOS).

    Masks (PARSeq section 3.2, table 1): a content token sees the tokens of its order that become known no later than
    itself; a query token sees those of its order that become known before its position.
    """
    end = permutations.shape[1] - 1
    content, query = [(0, 0, 0)], []  # (position, index of the order, rank in that order)
    for index, order in enumerate(permutations.tolist()):
        predicted = [position for position in order[1:] if index < 2 or position != end]
        known = [position for position in predicted[:-1] if position != end]
        query += [(position - 1, index, rank) for rank, position in enumerate(predicted, 1)]
        content += [(position, index, predicted.index(position) + 1) for position in known]
    positions, orders, ranks = torch.tensor(content).T
    query_positions, query_orders, query_ranks = torch.tensor(query).T
    is_bos = ranks == 0
    return Sequences(
        positions,
        query_positions,
        query_orders,
        (ranks <= ranks[:, None]) & ((orders == orders[:, None]) | is_bos),
        (ranks < query_ranks[:, None]) & ((orders == query_orders[:, None]) | is_bos),
    )
