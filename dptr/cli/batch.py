"""``dptr batch``: reading and rendering by many processes, on one machine or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dptr.cli.command import HELP, command
from dptr.cli.options import (
    Decorator,
    NumberRange,
    choose_recognizer,
    config_options,
    expected_options,
    isolate_option,
    page_options,
    reading_options,
    recognizer_options,
    stack,
)
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say

if TYPE_CHECKING:
    from dptr.batch.run import Task

CUDA = "cuda"


@click.group("batch", context_settings=HELP, invoke_without_command=True)
@click.pass_context
def app(context: click.Context) -> None:
    """Read or render millions in many processes, on one machine or several; resumable."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _input_options() -> Decorator[Any]:
    """What is read: ``--column``, ``--kind``, ``--block``."""
    return stack(
        click.option(
            "--column", metavar="NAME", default="",
            help="The column of Parquet files, or the suffix in archives, to read. Default: the only one of pictures.",
        ),
        click.option(
            "--kind", type=click.Choice(["files", "parquet", "tar"]),
            help="What to read of a folder that holds several. Default: what is there.",
        ),
    )  # fmt: skip


def _pool_options(block: int, what: str) -> Decorator[Any]:
    """By whom: ``--block``, ``--address``, ``--workers``, ``--cpus-per-worker``, ``--gpus-per-worker``."""
    return stack(
        click.option(
            "--block", metavar="N", type=click.IntRange(1, 10_000_000), default=block,
            help=f"{what} that are done and written together. Default: {block}.",
        ),
        click.option(
            "--address", metavar="HOST:PORT", default="",
            help="A Ray cluster: HOST:PORT, ray://HOST:PORT, or auto. Default: this machine alone.",
        ),
        click.option(
            "--workers", metavar="N|MIN-MAX", default="",
            help="Processes; with two numbers the pool follows the work. Default: one for each CPU.",
        ),
        click.option(
            "--cpus-per-worker", "cpus", metavar="N", type=click.IntRange(1, 1024), default=1,
            help="CPUs, and threads, of each process. Default: 1.",
        ),
        click.option(
            "--gpus-per-worker", "gpus", metavar="G", type=NumberRange(0, 64), default=0.0,
            help="GPUs of each process; 0.25 shares one among four. Default: 0.",
        ),
    )  # fmt: skip


@command("batch read", "ray")
@click.argument("source", metavar="INPUT", type=click.Path())
@click.argument("out", metavar="OUTPUT", type=click.Path())
@_input_options()
@_pool_options(1024, "Crops")
@recognizer_options()
@isolate_option()
@expected_options()
@reading_options()
def read(
    source: str, out: str, column: str, kind: str | None, block: int, address: str, workers: str, cpus: int,
    gpus: float, model: str | None, language: str | None, isolate: bool, charset: str, pattern: str,
    lexicon: str | None, device: str, batch_size: int, turn: bool, tta: int,
) -> None:  # fmt: skip
    """Read word crops by many processes, into Parquet files.

    INPUT is a folder of pictures, Parquet files with a column of pictures or of their paths, tar archives as WebDataset
    writes them, or an LMDB; a path, or an address such as s3://BUCKET/FOLDER. OUTPUT is a folder or an address.

    Each input is once in OUTPUT/readings, or in OUTPUT/failures with the reason. The same command goes on with what an
    interrupted one left. Exit code 0 when all is done, whatever is in failures.
    """
    from dptr.batch.run import plan_reading

    settings = {
        "model": choose_recognizer(model, language), "device": _device(device, gpus), "batch_size": batch_size,
        "turn": turn, "tta": tta, "charset": charset, "pattern": pattern, "lexicon": lexicon, "isolate": isolate,
    }  # fmt: skip
    pool = _pool(address, workers, cpus, gpus)
    _run(lambda: plan_reading(source, settings, column, kind or "", block), source, out, pool)


@command("batch ocr", "ray")
@click.argument("source", metavar="INPUT", type=click.Path())
@click.argument("out", metavar="OUTPUT", type=click.Path())
@_input_options()
@_pool_options(16, "Files")
@recognizer_options()
@page_options()
def ocr(
    source: str, out: str, column: str, kind: str | None, block: int, address: str, workers: str, cpus: int,
    gpus: float, model: str | None, language: str | None, text_layer: str, dpi: int, min_confidence: float,
    isolate: bool, charset: str, pattern: str, lexicon: str | None, detector: str, device: str, batch_size: int,
) -> None:  # fmt: skip
    """Find and read the words of photographs and PDFs by many processes, into Parquet files.

    INPUT and OUTPUT are as for dptr batch read; folders may hold PDFs too. OUTPUT/pages has a row for each page.
    """
    from dptr.batch.run import plan_ocr

    settings = {
        "model": choose_recognizer(model, language), "device": _device(device, gpus), "batch_size": batch_size,
        "detector": detector, "charset": charset, "pattern": pattern, "lexicon": lexicon,
    }  # fmt: skip
    options = {"dpi": dpi, "text_layer": text_layer}
    pool = _pool(address, workers, cpus, gpus)
    _run(
        lambda: plan_ocr(source, settings, options, isolate, min_confidence, column, kind or "", block),
        source, out, pool,
    )  # fmt: skip


@command("batch synth", "ray", "train")
@click.argument("out", metavar="OUTPUT", type=click.Path())
@click.option("--count", metavar="N", type=click.IntRange(min=1), required=True, help="Crops.")
@_pool_options(2000, "Crops")
@config_options()
def synth(
    out: str, count: int, block: int, address: str, workers: str, cpus: int, gpus: float, config: Path | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Render words by many processes, into Parquet files.

    OUTPUT/crops has the number, the word, and the PNG of each crop: the same bytes as dptr synth --format folder
    writes, whatever the number of processes.
    """
    from dptr.batch.run import plan_synth
    from dptr.config.load import load_recipe
    from dptr.config.train import SynthRecipe
    from dptr.training.resolve import resolve_synth

    recipe = resolve_synth(load_recipe(SynthRecipe, config, overrides))
    _run(lambda: plan_synth(recipe, count, block), "", out, _pool(address, workers, cpus, gpus))


for each in (read, ocr, synth):
    app.add_command(each)


def _device(device: str, gpus: float) -> str:
    return CUDA if gpus and device == "cpu" else device


def _pool(address: str, workers: str, cpus: int, gpus: float) -> Any:
    from dptr.batch.engine import Pool, check_address

    check_address(address)
    low, dash, high = workers.partition("-")
    if workers and not (low.isdecimal() and (high.isdecimal() or not dash)):
        raise UserError(f"--workers {workers}: write a number, or two such as 2-8")
    least, most = int(low or 1), int(high or low or 0)
    if workers and not 1 <= least <= most <= 100_000:
        raise UserError(f"--workers {workers}: from 1 to 100000, the smaller number first")
    return Pool(address, most, least, cpus, gpus)


def _run(plan: Callable[[], Task], source: str, out: str, pool: Any) -> None:
    from functools import partial

    from dptr.batch.engine import run_blocks
    from dptr.batch.run import run_task
    from dptr.utils.places import check_apart

    check_apart(source, out)
    with progress_bars(" blocks") as bars:
        total = run_task(
            plan(), out, partial(run_blocks, pool=pool), lambda line: say(f"dptr: {line}"),
            lambda done, of: bars("blocks", done, of),
        )  # fmt: skip
    if total.failures:
        say(f"dptr: {total.failures} of {total.inputs} inputs could not be read; why is in {out.rstrip('/')}/failures")
    print(out)
