"""Comparison of two models on the same crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, lgamma, log
from typing import Any

from dptr.evaluation.evaluate import Report
from dptr.utils.terminal import align_columns


@dataclass(frozen=True)
class Pair:
    """The comparison of two models on one data set under one protocol.

    Attributes:
        both, first_only, second_only, neither: numbers of crops that both, only one, or neither model read correctly.
        p: see ``sign_test``.
    """

    data: str
    protocol: str
    both: int
    first_only: int
    second_only: int
    neither: int
    p: float


def pair_reports(first: Report, second: Report) -> list[Pair]:
    """Compare two reports on the same data sets and protocols, crop by crop."""
    pairs = []
    for one, other in zip(first.results, second.results, strict=True):
        wrong, other_wrong = (
            {error.index for error in report.errors if (error.data, error.protocol) == (one.data, one.protocol)}
            for report in (first, second)
        )
        both = one.n - len(wrong | other_wrong)
        alone = len(other_wrong - wrong), len(wrong - other_wrong)
        assert (one.data, one.protocol, one.n) == (other.data, other.protocol, other.n)
        pairs.append(Pair(one.data, one.protocol, both, *alone, len(wrong & other_wrong), sign_test(*alone)))
    return pairs


def sign_test(first: int, second: int) -> float:
    """The p-value of the exact McNemar test (Psychometrika 12, 1947).

    It is a two-sided binomial test on the crops that only one of the models reads correctly.
    """
    n, fewer = first + second, min(first, second)
    terms = (exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2)) for k in range(fewer + 1))
    return min(1.0, 2 * sum(terms))


def describe_pairs(pairs: Sequence[Pair], first: str, second: str) -> str:
    """A table for the terminal; ``first`` and ``second`` are the models."""
    names = "data", "protocol", "both read", f"only {first}", f"only {second}", "neither", "p (McNemar)"
    rows = [
        (
            each.data,
            each.protocol,
            *map(str, (each.both, each.first_only, each.second_only, each.neither)),
            f"{each.p:.2g}",
        )
        for each in pairs
    ]
    return align_columns([names, *rows])


def pairs_to_json(pairs: Sequence[Pair], second: Report) -> dict[str, Any]:
    """``{"report": {...}, "pairs": [{"data", "protocol", "both", "first_only", ...}]}``."""
    return {"report": second.to_json(), "pairs": [asdict(pair) for pair in pairs]}
