"""``dptr batch``: read or render with many processes, on one machine or a Ray cluster."""

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
    """Read or render millions of pictures on one machine or a cluster; resumable."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def _input_options() -> Decorator[Any]:
    """The input: ``--column``, ``--kind``."""
    return stack(
        click.option(
            "--column", metavar="NAME", default="",
            help="The column to read in Parquet files, or the suffix in archives. Default: the only column of "
            "pictures, or all pictures.",
        ),
        click.option(
            "--kind", type=click.Choice(["files", "parquet", "tar"]),
            help="What to read in a folder with files of several kinds. Default: the only kind in it.",
        ),
    )  # fmt: skip


def _pool_options(block: int, what: str) -> Decorator[Any]:
    """The processes: ``--block``, ``--address``, ``--workers``, ``--cpus-per-worker``, ``--gpus-per-worker``.

    Args:
        block: the default of ``--block``.
        what: the plural noun for the inputs of a block.
    """
    return stack(
        click.option(
            "--block", metavar="N", type=click.IntRange(1, 10_000_000), default=block,
            help=f"{what} that are processed and written together. Default: {block}.",
        ),
        click.option(
            "--address", metavar="HOST:PORT", default="",
            help="A Ray cluster: HOST:PORT, ray://HOST:PORT, or auto. Default: use only this machine.",
        ),
        click.option(
            "--workers", metavar="N|MIN-MAX", default="",
            help="Number of processes, or a range within which it follows the work. Default: one for each CPU.",
        ),
        click.option(
            "--cpus-per-worker", "cpus", metavar="N", type=click.IntRange(1, 1024), default=1,
            help="CPUs and threads of each process. Default: 1.",
        ),
        click.option(
            "--gpus-per-worker", "gpus", metavar="G", type=NumberRange(0, 64), default=0.0,
            help="GPUs of each process; with 0.25, four processes share one. Default: 0.",
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
    lexicon: str | None, device: str, batch_size: int, turn: bool, tta: int, rescore: bool,
) -> None:  # fmt: skip
    """Read word crops with many processes, and write Parquet files.

    INPUT is a folder of pictures, of Parquet files with a column of pictures or paths, or of WebDataset tar archives;
    one such file; or an LMDB. Both INPUT and OUTPUT may be URLs, such as s3://BUCKET/FOLDER. OUTPUT is a folder.

    Each input appears exactly once: in OUTPUT/readings, or in OUTPUT/failures with the reason. To continue after an
    interruption, run the same command again. The exit code is 0 when all blocks are finished, even if some inputs
    failed.
    """
    from dptr.batch.run import plan_reading

    settings = {
        "model": choose_recognizer(model, language), "device": _device(device, gpus), "batch_size": batch_size,
        "turn": turn, "tta": tta, "charset": charset, "pattern": pattern, "lexicon": lexicon, "isolate": isolate,
        "rescore": rescore,
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
    """Find and read words in photographs and PDFs with many processes, and write Parquet files.

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
@click.option("--count", metavar="N", type=click.IntRange(min=1), required=True, help="Number of crops.")
@_pool_options(2000, "Crops")
@config_options()
def synth(
    out: str, count: int, block: int, address: str, workers: str, cpus: int, gpus: float, config: Path | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Render words with many processes, and write Parquet files.

    OUTPUT/crops has the number, the word, and the PNG of each crop. The pictures are the same, byte for byte, as those
    of dptr synth --format folder. They do not depend on the number of processes.
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
    """The pool of ``dptr.batch.engine`` that the options describe.

    Raises:
        UserError: no cluster at the address, or ``workers`` is neither a number nor a range.
    """
    low, dash, high = workers.partition("-")
    if workers and not (low.isdecimal() and (high.isdecimal() or not dash)):
        raise UserError(f"--workers {workers}: write a number, or two such as 2-8")
    least, most = int(low or 1), int(high or low or 0)
    if workers and not 1 <= least <= most <= 100_000:
        raise UserError(f"--workers {workers}: from 1 to 100000, the smaller number first")
    return Pool(address, most, least, cpus, gpus)


def _run(plan: Callable[[], Task], source: str, out: str, pool: Any) -> None:
    """Plan a job, run it with a progress bar, and print its folder.

    Raises:
        UserError: ``out`` lies in ``source`` or the other way around; see ``plan`` and ``dptr.batch.run.run_task``.
    """
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
