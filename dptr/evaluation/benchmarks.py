"""The field's benchmarks: their data sets, protocols, and published results.

The mean of a benchmark is the unweighted mean of its data sets, as papers report it. Sources of names and sizes:
baudm/parseq (``Datasets.md``, ``strhub/data/module.py``, README), OpenOCR (``docs/svtrv2.md``,
``configs/dataset/rec/evaluation.yaml``, ``tools/eval_rec_all_ch.py``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dptr.utils.data_sets import is_data_set
from dptr.utils.errors import UserError


@dataclass(frozen=True)
class Published:
    """Published results in percent: the mean, and by data set if known."""

    name: str
    source: str
    mean: float
    sets: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """Data sets that are reported together.

    Attributes:
        title: description.
        protocol: a key of ``dptr.evaluation.metrics.PROTOCOLS``.
        sets: name of the folder -> number of crops; None if the number is not checked.
        published: results to compare with. This project measured none of them.
    """

    title: str
    protocol: str
    sets: Mapping[str, int | None]
    published: tuple[Published, ...] = ()


_SIX = {"IIIT5k": 3000, "SVT": 647, "IC13_857": 857, "IC15_1811": 1811, "SVTP": 645, "CUTE80": 288}
_SIX_WHOLE = {"IIIT5k": 3000, "SVT": 647, "IC13_1015": 1015, "IC15_2077": 2077, "SVTP": 645, "CUTE80": 288}


def _row(sets: Mapping[str, int | None], *percents: float) -> dict[str, float]:
    return dict(zip(sets, percents, strict=True))


BENCHMARKS: dict[str, Benchmark] = {
    "english": Benchmark(
        "six English sets, IC13 with 857 and IC15 with 1,811 words",
        "36",
        _SIX,
        (
            Published("DPTR", "arXiv 2408.05706", 97.45, _row(_SIX, 99.5, 99.2, 98.5, 91.8, 97.1, 98.6)),
            Published("PARSeq", "OpenOCR, docs/svtrv2.md", 96.40, _row(_SIX, 98.9, 98.1, 98.4, 90.1, 94.3, 98.6)),
        ),
    ),
    "english-whole": Benchmark(
        "six English sets, IC13 with 1,015 and IC15 with 2,077 words",
        "36",
        _SIX_WHOLE,
        (
            Published(  # its table gives 95.95, the mean weighted by crops; this is the unweighted mean
                "PARSeq", "baudm/parseq, README", 96.62, _row(_SIX_WHOLE, 99.00, 97.84, 98.13, 89.22, 96.90, 98.61)
            ),
        ),
    ),
    "bctr": Benchmark(
        "Benchmarking Chinese Text Recognition",
        "lower",
        {"scene_test": None, "web_test": None, "document_test": None, "handwriting_test": None},
        (
            Published("DPTR", "arXiv 2408.05706", 80.73),
            Published("PARSeq", "arXiv 2408.05706", 82.37),
        ),
    ),
}
"""Key of ``dptr eval --benchmark`` -> benchmark."""


def benchmark(name: str) -> Benchmark:
    """The benchmark with this name.

    Raises:
        UserError: there is none.
    """
    if name not in BENCHMARKS:
        nearest = difflib.get_close_matches(name, BENCHMARKS, n=1, cutoff=0)[0]
        raise UserError(f"benchmark '{name}': not one of {', '.join(BENCHMARKS)}; did you mean '{nearest}'?")
    return BENCHMARKS[name]


def find_sets(chosen: Benchmark, roots: Sequence[Path]) -> dict[str, Path]:
    """Find the folder of each data set below ``roots`` by its name, in any case.

    Raises:
        UserError: a data set is missing or occurs twice, or a root cannot be read.
    """
    found: dict[str, Path] = {}
    names = {name.lower(): name for name in chosen.sets}
    for root in roots:
        try:
            folders = sorted(folder for folder in root.iterdir() if is_data_set(folder))
        except OSError as error:
            raise UserError(f"{root}: {error.strerror}; pass the folder that holds the data sets") from error
        for folder in folders:
            name = names.get(folder.name.lower())
            if name in found:
                raise UserError(f"{name}: both {found[name]} and {folder}; pass one of the two")
            if name is not None:
                found[name] = folder
    lacking = [name for name in chosen.sets if name not in found]
    if lacking:
        raise UserError(
            f"{', '.join(map(str, roots))}: no data set {', '.join(lacking)} in it; {chosen.title} needs "
            f"{', '.join(chosen.sets)}: see docs/reproduce.md"
        )
    return {name: found[name] for name in chosen.sets}


def other_sizes(chosen: Benchmark, sizes: Mapping[str, int]) -> list[str]:
    """Warnings about data sets whose number of crops differs from the published one."""
    expected = {name: count for name, count in chosen.sets.items() if count is not None}
    return [
        f"{name}: {sizes[name]:,} crops, published with {count:,}: not the same data"
        for name, count in expected.items()
        if sizes[name] != count
    ]


def compare_with_published(chosen: Benchmark, model: str, accuracies: Mapping[str, float]) -> list[tuple[str, ...]]:
    """A table with a header: word accuracy in percent by data set, and their mean, followed by published rows.

    Args:
        accuracies: 0 to 1, by data set.
    """
    measured = {name: 100 * accuracies[name] for name in chosen.sets}
    mean = sum(measured.values()) / len(measured)
    rows = [
        ("word accuracy, %", *chosen.sets, "mean"),
        (model, *(f"{percent:.2f}" for percent in (*measured.values(), mean))),
    ]
    for row in chosen.published:
        cells = [f"{row.sets[name]:.2f}" if name in row.sets else "-" for name in chosen.sets]
        rows.append((f"{row.name} (published: {row.source})", *cells, f"{row.mean:.2f}"))
    return rows
