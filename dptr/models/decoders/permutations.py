"""The orders in which PARSeq spells a word, and what each lets a position see (Bautista and Atienza, ECCV 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def draw_permutations(length: int, count: int, generator: torch.Generator) -> Int[Tensor, "k n"]:
    """Orders in which positions 0 (BOS), 1..length (characters), length + 1 (EOS) become known.

    PARSeq section 3.2: left to right, its mirror, then random orders each followed by its mirror; no order twice, so
    short words get fewer than ``count``. BOS stands first always; EOS last but in the pure right-to-left order, where
    it stands second (as in the published code).

    Args:
        length: characters of the longest word in the batch, >= 1.
        count: how many orders at most, >= 1.
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
    """``count``, or how many orders of ``length`` characters there are, if fewer."""
    return min(count, math.factorial(length)) if length < 12 else count


@dataclass(frozen=True)
class Sequences:
    """All orders one after the other, as two sequences; no token stands in them that no counted prediction needs.

    Content: BOS once, which sees itself alone in every order, then each order's characters as they become known, but
    the one that nothing is predicted after. Query: each order's positions as they are predicted. EOS is predicted in
    the first two orders only (published code): in the others its place is last by construction.

    Attributes:
        content: the input position of each content token: 0 (BOS), 1..length.
        query: the position that each query token predicts, less one: 0..length - 1 (characters), length (EOS).
        order: the order of each query token.
        content_allowed, query_allowed: which content tokens each of them may see.
    """

    content: Int[Tensor, " l"]
    query: Int[Tensor, " q"]
    order: Int[Tensor, " q"]
    content_allowed: Bool[Tensor, "l l"]
    query_allowed: Bool[Tensor, "q l"]

    def to(self, device: torch.device) -> Sequences:
        """The same on another device."""
        return Sequences(*(getattr(self, part.name).to(device) for part in fields(self)))


def build_sequences(permutations: Int[Tensor, "k n"]) -> Sequences:
    """Orders, each made of 0 (BOS), 1..n - 2 (characters) and n - 1 (EOS), as two sequences.

    Who may look at whom (PARSeq section 3.2, table 1): a content token sees what is known in its order no later than
    itself; a query token, what is known in its order before its position.
    """
    end = permutations.shape[1] - 1
    content, query = [(0, 0, 0)], []  # position, order, and how many are known before it there
    for number, order in enumerate(permutations.tolist()):
        predicted = [place for place in order[1:] if number < 2 or place != end]
        known = [place for place in predicted[:-1] if place != end]
        query += [(place - 1, number, rank) for rank, place in enumerate(predicted, 1)]
        content += [(place, number, predicted.index(place) + 1) for place in known]
    places, orders, ranks = torch.tensor(content).T
    asked, asked_orders, asked_ranks = torch.tensor(query).T
    first = ranks == 0
    return Sequences(
        places,
        asked,
        asked_orders,
        (ranks <= ranks[:, None]) & ((orders == orders[:, None]) | first),
        (ranks < asked_ranks[:, None]) & ((orders == asked_orders[:, None]) | first),
    )
