"""``dptr eval``: measure a model on labeled crops."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dptr.cli.command import command
from dptr.cli.options import data_option, expected_options, join_data, model_option, reading_options
from dptr.cli.outputs import check_outputs, html_option, report_options, write_report
from dptr.evaluation.benchmarks import BENCHMARKS, Benchmark, compare_with_published, find_sets, other_sizes
from dptr.evaluation.benchmarks import benchmark as find_benchmark
from dptr.evaluation.metrics import PROTOCOLS
from dptr.utils.errors import UserError
from dptr.utils.terminal import align_columns, progress_bars, say, write_text

if TYPE_CHECKING:
    from dptr.evaluation.evaluate import Report


@command("eval")
@data_option("Labeled crops, labels.tsv, LMDB, or shards; repeatable.", as_arguments=True)
@model_option()
@click.option(
    "--against",
    metavar="NAME|DIR|ONNX",
    type=click.Path(),
    help="A second model to compare on the same crops.",
)
@click.option(
    "--protocol",
    metavar="NAME",
    multiple=True,
    help=f"How to compare words: {', '.join(PROTOCOLS)}, or a language such as de; repeatable. Default: 36, or native "
    "for a recognizer with letters of other scripts than Latin.",
)
@click.option(
    "--benchmark",
    metavar="NAME",
    default="",
    help=f"DIR holds the data sets of a benchmark: {', '.join(BENCHMARKS)}. Adds the mean and published results.",
)
@click.option(
    "--allow-empty",
    is_flag=True,
    help="Include crops with an empty label, for which an empty reading is right. Default: leave them out.",
)
@report_options("text", "json")
@html_option("Also write an HTML page with pictures of the errors.")
@expected_options()
@reading_options()
def evaluate(
    data: tuple[str, ...], more: tuple[str, ...], model: str, against: str | None, protocol: tuple[str, ...],
    benchmark: str, allow_empty: bool, style: str, out: str, html: Path | None, charset: str, pattern: str,
    lexicon: str | None, device: str, batch_size: int, turn: bool, tta: int, rescore: bool,
) -> None:  # fmt: skip
    """Measure a model on labeled crops.

    Prints word accuracy, 1-NED, CER, calibration, and speed. Crops that are left out are counted by reason. To measure
    several sets and their mean, pass --data A B or --data A --data B.

    With --against, the crops that only one of the models reads are counted. p is the probability of a difference at
    least this large if both models read equally well (McNemar's test). It does not account for the choice of the crops
    or for the random seed of a training.

    With --charset, --pattern, or --lexicon, both models read as dptr read does with it. Crops with other labels count
    as errors.
    """
    from dptr.evaluation.evaluate import evaluate
    from dptr.evaluation.metrics import default_protocol
    from dptr.evaluation.pairs import describe_pairs, pair_reports, pairs_to_json
    from dptr.inference.reader import Reader, ReaderOptions

    paths = join_data(data, more)
    chosen = find_benchmark(benchmark) if benchmark else None
    sets = find_sets(chosen, [Path(path) for path in paths]) if chosen else {}
    if chosen and protocol:
        raise UserError(
            f"--protocol with --benchmark {benchmark}, which is read under {chosen.protocol}; leave one out"
        )
    if chosen:
        paths, protocol = [*sets.values()], (chosen.protocol,)
    check_outputs(out, style, [model, *(each for each in (against, lexicon) if each), *paths], html=html)
    options = ReaderOptions(device, batch_size, turn, tta, charset, pattern, lexicon, rescore=rescore)
    reader = Reader.of(model, options)
    other = Reader.of(against, options) if against else None
    say(f"model {reader.name}, device {reader.device}", level=1)
    protocols = protocol or [default_protocol(reader.tokenizer.charset)]
    with progress_bars() as bars:
        report = evaluate(reader, paths, protocols, bars, allow_empty)
        beside = evaluate(other, paths, protocols, bars, allow_empty) if other else None
    for line in report.drops.lines():
        say(line, level=-1)
    content, text = report.to_json(), report.to_terminal()
    expected = {"charset": charset, "pattern": pattern, "lexicon": lexicon}
    if any(expected.values()):
        content["expected"] = expected
    if chosen:
        accuracies, rows = _compare_with_benchmark(chosen, sets, report)
        content["benchmark"] = {"name": benchmark, "word_accuracy": accuracies, "rows": rows}
        text += "\n\n" + align_columns(rows)
    if beside is not None:
        pairs = pair_reports(report, beside)
        content["against"] = pairs_to_json(pairs, beside)
        text += f"\n\n{beside.model}:\n{beside.to_terminal()}\n\n{describe_pairs(pairs, report.model, beside.model)}"
    write_report(content, lambda: text, style, out)
    if html:
        write_text(html, report.to_html())
    for result in report.results:
        if result.runaway:
            say(f"dptr: {result.data}: {result.runaway} readings repeat themselves to the longest word")
        if not result.n:
            raise UserError(f"{result.data}: no crop left under protocol {result.protocol}; check its labels")


def _compare_with_benchmark(
    chosen: Benchmark, sets: dict[str, Path], report: Report
) -> tuple[dict[str, float], list[tuple[str, ...]]]:
    """The word accuracy on each set of a benchmark, and a table with published results.

    A warning is printed for each set whose size differs from the published one.
    """
    results = {name: result for name, result in zip(sets, report.results, strict=True)}
    for line in other_sizes(chosen, {name: result.n for name, result in results.items()}):
        say(f"warning: {line}")
    accuracies = {name: result.word_accuracy or 0.0 for name, result in results.items()}
    return accuracies, compare_with_published(chosen, report.model, accuracies)
