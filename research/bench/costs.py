"""What many crops cost to render, read, and train on, from rates that were measured.

    python research/bench/costs.py
    python research/bench/costs.py --crops 1e8 --price core=0.05 --price H200=3.5

Prints the table of docs/scaling.md, "What a billion crops cost". Hours are crops over crops a second: a first run and
what fails come on top. Prices an hour are the caller's; none is built in. Each rate names the page that it is from, and
what stands there; ``tests/research/test_costs.py`` looks it up.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A measured speed.

    Attributes:
        what: is done.
        machine: on one of what; a key of ``--price``.
        speed: crops (or words) a second on one such.
        page: below docs/, that holds it.
        text: as it stands on the page.
    """

    what: str
    machine: str
    speed: float
    page: str
    text: str


@dataclass(frozen=True)
class Size:
    """Bytes a crop takes."""

    what: str
    bytes: float
    page: str
    text: str


CORE, SLOW_CORE, H200 = "core", "core of the H200's machine", "H200"
RATES = (
    Rate("render, preset `signs`", CORE, 733, "evidence/renderer.md", "| ours | 733 (665 to 770) |"),
    Rate("render, 16 cores at once", SLOW_CORE, 140, "evidence/gpu.md", "2,200 a second: 140 a core"),
    Rate("read, `dptr-en-tiny`, `dptr batch`", CORE, 1000 / 2.0, "scaling.md", "A worker takes 2.0 ms a crop"),
    Rate("read, `dptr-en`, 32 at once", CORE, 1000 / 3.87, "evidence/latency.md", "6.22 ms (7.29) | 3.87 ms"),
    Rate("read, `dptr-en-small`, 32 at once", CORE, 1000 / 9.20, "evidence/latency.md", "12.67 ms (13.34) | 9.20 ms"),
    Rate("decode PNG for training", CORE, 5900 / 2, "scaling.md", "| Parquet, streamed | 5,900 |"),
    Rate("train once, stage 2, `dptr-en`", CORE, 150, "LOG.md", "one thread 150 crops a second"),
    Rate("train once, stage 2, paper size", CORE, 7.11 / 2, "evidence/training-speed.md", "| + bfloat16 | 7.11 |"),
    Rate(
        "train once, stage 2, svtr micro", H200, 19458, "evidence/gpu.md", "| stage 2 (1.8 M) | 19,458 |"
    ),
    Rate(
        "train once, `small`, `resident.py`", H200, 28194, "evidence/gpu.md",
        "| small (9.2 M parameters), one graph | 35,629 | 28,194 |",
    ),
    Rate("train once, stage 1, `dptr-en`'s decoder, words", CORE, 900, "scaling.md", "one CPU thread | 900 a second"),
    Rate("train once, stage 1, 0.3 M parameters, words", H200, 68114, "evidence/gpu.md", "| 68,114 |"),
)  # fmt: skip
SIZES = (
    Size("rendered crops at 32x128, PNG in shards", 6e3, "scaling.md", "as PNG of 6 KB"),
    Size("pack, or `data.cache` of decoded crops", 12.4e3, "scaling.md", "| 12.4 KB |"),
    Size("streamed, each process's memory or `data.cache`", 5, "scaling.md", "| a crop, without `data.cache` | 5 |"),
)  # fmt: skip


def table(crops: float, prices: dict[str, float]) -> list[str]:
    """Rows of Markdown."""
    money = " | price" if prices else ""
    rows = [f"| | on one | a second | hours{money} |", f"|---|---|---:|---:|{'---:|' if prices else ''}"]
    for rate in RATES:
        hours = crops / rate.speed / 3600
        cost = f" {hours * prices[rate.machine]:,.0f} |" if rate.machine in prices else " |" * bool(prices)
        rows.append(f"| {rate.what} | {rate.machine} | {speed(rate.speed)} | {rounded(hours)} |{cost}")
    rows += ["", "| | a crop | together |", "|---|---:|---:|"]
    rows += [f"| {size.what} | {in_bytes(size.bytes)} | {in_bytes(crops * size.bytes)} |" for size in SIZES]
    return rows


def speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rounded(hours: float) -> str:
    """Two digits that count."""
    return f"{float(f'{hours:.2g}'):,.10g}"


def in_bytes(count: float) -> str:
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count:.3g} bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=float, default=1e9)
    parser.add_argument("--price", action="append", default=[], metavar="MACHINE=PER_HOUR", help=f"of {CORE}, {H200}")
    options = parser.parse_args()
    prices = {name: float(price) for name, _, price in (each.partition("=") for each in options.price)}
    if unknown := prices.keys() - {rate.machine for rate in RATES}:
        parser.error(f"--price: no {', '.join(unknown)}; {', '.join({rate.machine: 0 for rate in RATES})}")
    print("\n".join(table(options.crops, prices)))


if __name__ == "__main__":
    main()
