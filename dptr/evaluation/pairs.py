"""Two models on the same crops: what one of them reads and the other does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, lgamma, log
from typing import Any

from dptr.evaluation.evaluate import Report
from dptr.utils.terminal import align_columns


@dataclass(frozen=True)
class Pair:
    """The crops of one data set under one protocol, each read by two models.

    Attributes:
        both, first_only, second_only, neither: crops by who read them rightly; together all that were compared.
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
        wrong, also = (
            {error.index for error in report.errors if (error.data, error.protocol) == (one.data, one.protocol)}
            for report in (first, second)
        )
        both = one.n - len(wrong | also)
        alone = len(also - wrong), len(wrong - also)
        assert (one.data, one.protocol, one.n) == (other.data, other.protocol, other.n)
        pairs.append(Pair(one.data, one.protocol, both, *alone, len(wrong & also), sign_test(*alone)))
    return pairs


def sign_test(first: int, second: int) -> float:
    """How likely a difference of this size or more is, if either model is as likely to be the one that reads.

    The exact form of McNemar's test (Psychometrika 12, 1947): two-sided binomial over the crops that one model alone
    reads.
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
