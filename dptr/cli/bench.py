"""``dptr bench``: measure how fast a recognizer reads, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import click

from dptr.cli.command import command
from dptr.cli.options import data_option, join_data, model_option
from dptr.cli.outputs import check_outputs, report_options, write_report
from dptr.utils.errors import UserError
from dptr.utils.terminal import align_columns, progress_bars, say
from dptr.version import __version__

if TYPE_CHECKING:
    from dptr.bench import Report

_LIBRARY = {"torch": "torch", "onnx": "onnxruntime"}
_STAGES = ("open", "preprocess", "encoder", "decoder", "graph", "text")


@command("bench", renamed={"--batch": "--batch-size"})
@data_option("Labeled crops to read. Default: rendered words.", as_arguments=True)
@model_option()
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(min=1),
    multiple=True,
    help="Crops in a batch; repeatable. Default: 1 and 32.",
)
@click.option("--backend", type=click.Choice(["torch", "onnx", "both"]), help="The backends. Default: all available.")
@click.option("--repeats", metavar="N", type=int, default=100, help="Timed rounds of each batch size. Default: 100.")
@click.option("--threads", metavar="N", type=int, default=1, help="Threads of each backend. Default: 1.")
@report_options("text", "json")
def bench(
    data: tuple[str, ...], more: tuple[str, ...], model: str, batch_size: tuple[int, ...],
    backend: Literal["torch", "onnx", "both"] | None, repeats: int, threads: int, style: str, out: str,
) -> None:  # fmt: skip
    """Measure how fast a model reads on the CPU.

    Measures latency, throughput, memory, start-up time, time by stage, parameters, and FLOPs. Each backend runs in
    separate processes. docs/bench.md explains the numbers.
    """
    from dptr.bench import bench

    sets = join_data(data, more) if data or more else []
    if len(sets) > 1:
        raise UserError(f"{', '.join(map(str, sets))}: {len(sets)} data sets; time is measured on one, pass one")
    check_outputs(out, style, [model, *sets])
    with progress_bars() as bars:
        report = bench(model, sets[0] if sets else None, batch_size or (1, 32), backend, repeats, threads, bars)
    for line in report.drops.lines():
        say(line, level=-1)
    write_report(report.to_json(), lambda: "\n".join(_format(report)), style, out)


def _format(report: Report) -> Iterator[str]:
    from dptr.bench import STARTS, WARM_UP

    source = f"of {report.data}" if report.data else "drawn for this"
    threads = f"{report.threads} {'thread' if report.threads == 1 else 'threads'}"
    yield f"{report.model}, dptr {__version__}, {threads} on {report.cores} cores of {report.cpu}"
    yield f"{report.crops} crops {source}; {WARM_UP} rounds to warm up, {report.repeats} timed, batch sizes in turn"
    for name, reason in report.left_out.items():
        yield f"left out: {_LIBRARY[name]} ({reason})"
    names = {each.backend: f"{_LIBRARY[each.backend]} {each.version}" for each in report.measurements}
    timings = [(names[each.backend], timing) for each in report.measurements for timing in each.timings]
    speed: list[tuple[str, ...]] = [("ms a crop", "batch", "median", "p95", "CPU", "crops/s")]
    for name, each in timings:
        times = (f"{time:.2f}" for time in (each.median_ms, each.p95_ms, each.cpu_ms))
        speed.append((name, str(each.batch), *times, f"{each.crops_per_second:.1f}"))
    yield f"\n{align_columns(speed)}"
    stages: list[tuple[str, ...]] = [("ms a crop, mean", "batch", *_STAGES, "whole")]
    for name, each in timings:
        by_stage = (f"{each.stages_ms[stage]:.2f}" if stage in each.stages_ms else "-" for stage in _STAGES)
        stages.append((name, str(each.batch), *by_stage, f"{each.whole_ms:.2f}"))
    yield f"\n{align_columns(stages)}"
    size: list[tuple[str, ...]] = [
        ("process", f"start s, median of {STARTS}", "peak MiB", "parameters", "MFLOPs a crop: encoder", "decoder")
    ]
    for measurement in report.measurements:
        flops = measurement.flops or {}
        counts = (f"{flops[part] / 1e6:.1f}" if part in flops else "-" for part in ("encoder", "decoder"))
        peak = "-" if measurement.peak_mib is None else f"{measurement.peak_mib:.0f}"
        parameters = "-" if measurement.parameters is None else f"{measurement.parameters:,}"
        size.append((names[measurement.backend], f"{measurement.start_seconds:.2f}", peak, parameters, *counts))
    yield f"\n{align_columns(size)}"
