"""``dptr read``: read word crops, and print a line for each."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import click

from dptr.cli.command import command
from dptr.cli.options import (
    NumberRange,
    SayOnce,
    choose_recognizer,
    expected_options,
    isolate_option,
    reading_options,
    recognizer_options,
)
from dptr.cli.outputs import check_outputs, open_output, report_options
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json, escape
from dptr.utils.terminal import say, say_error

if TYPE_CHECKING:
    from dptr.inference.prediction import Prediction

RUNAWAY = "the reading repeats itself to the longest word of the model; take it as none"


@command("read")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE|DIR|GLOB|-...", type=click.Path(allow_dash=True))
@recognizer_options()
@report_options("tsv", "csv", "json", "text")
@click.option("-r", "--recursive", is_flag=True, help="Also read pictures in subfolders.")
@click.option(
    "--min-confidence",
    metavar="P",
    type=NumberRange(0, 1),
    default=0.0,
    help="Print an empty text for readings with a confidence below P, 0 to 1. Default: 0.",
)
@click.option(
    "--precision",
    metavar="P",
    type=NumberRange(0, 1),
    help="Print an empty text for the least confident readings, so that a fraction P of the others, such as 0.99, is "
    "right.",
)
@isolate_option()
@expected_options()
@reading_options()
def read(
    images: tuple[str, ...], model: str | None, language: str | None, style: str, out: str, recursive: bool,
    min_confidence: float, precision: float | None, isolate: bool, charset: str, pattern: str, lexicon: str | None,
    device: str, batch_size: int, turn: bool, tta: int, rescore: bool,
) -> None:  # fmt: skip
    """Read word crops.

    Prints a line for each crop: path, text, and confidence (0 to 1). A folder stands for the pictures directly in it, a
    quoted pattern ('crops/*.png', 'crops/**/*.png') for the matching files, and - for a picture on standard input.
    Lines are printed as batches finish. If an input cannot be read, the others are read nevertheless, and the exit code
    is 2.

    With --lang auto, JSON names the script and the recognizer of each crop. If no recognizer is installed for a script,
    one message says how to install it.

    With --pattern or --lexicon, tables have a fourth column: the probability, 0 to 1, of all texts that do not match.

    \b
    tsv   path, text, and confidence, separated by tabs; a tab or line break in a path is written as \\t or \\n
    csv   the same with commas, quotes, and a header line; paths are unchanged
    json  a JSON object on each line, with the confidence of each character
    text  only the text
    """
    from dptr.inference.auto import open_reader
    from dptr.inference.reader import ReaderOptions
    from dptr.utils.inputs import STANDARD_INPUT, expand

    if images.count(STANDARD_INPUT) > 1:
        raise UserError("-: standard input can be read once; pass it once")
    chosen = choose_recognizer(model, language)
    check_outputs(out, inputs=[chosen, *images, *([lexicon] if lexicon else [])])
    if precision is not None and min_confidence:
        raise UserError("--precision and --min-confidence: both set the same threshold; pass only one of them")
    options = ReaderOptions(device, batch_size, turn, tta, charset, pattern, lexicon, isolate, rescore)
    reader = open_reader(chosen, options)
    if precision is not None:
        min_confidence = reader.least_confidence(precision)
        if tta > 1 or charset or pattern or lexicon or not rescore:
            say("dptr: --precision was measured without these options (--charset, --tta, ...); here it may not hold")
    say(f"model {reader.name}, device {reader.device}", level=1)
    failed = False
    written = low = 0
    say_missing = SayOnce()
    paths: list[str] = []
    for source in images:
        try:
            paths += expand(source, recursive)
        except UserError as error:
            say_error(error)
            failed = True
    pictures = (sys.stdin.buffer if path == STANDARD_INPUT else path for path in paths)
    with open_output(out) as file:
        write = _make_writer(style, file, bool(pattern) or lexicon is not None)
        for path, outcome in zip(paths, reader.stream(pictures), strict=True):
            if isinstance(outcome, UserError):
                say_error(outcome)
                failed = True
                continue
            for note in (*outcome.notes, *([RUNAWAY] if outcome.runaway else [])):
                say_missing(f"dptr: {escape(path)}", note)
            accepted = outcome.confidence >= min_confidence
            low += not accepted
            written += 1
            write(path, outcome, accepted)
            file.flush()
    if low:
        say(f"dptr: {low} of {written} readings below a confidence of {min_confidence:g}: their text is left empty")
    if failed:
        raise click.exceptions.Exit(2)


def _make_writer(style: str, file: TextIO, expects: bool) -> Callable[[str, Prediction, bool], None]:
    """A function that writes one reading, given its path, the reading, and whether to print its text.

    Args:
        style: csv, json, text, or tsv.
        file: the output.
        expects: whether there is a pattern or a lexicon; tables then have the column ``outside``.
    """
    show_path = escape if file.isatty() else str  # csv: control characters are escaped only on a terminal
    table: Any = csv.writer(file, lineterminator="\n")
    if style == "csv":
        table.writerow(("path", "text", "confidence", *(("outside",) if expects else ())))

    def write(path: str, reading: Prediction, accepted: bool) -> None:
        text = reading.text if accepted else ""
        numbers = [f"{reading.confidence:.4f}", *([] if reading.outside is None else [f"{reading.outside:.4f}"])]
        if style == "json":
            row = {"path": path, **reading.to_dict()}
            file.write(dump_json(row if accepted else {**row, "text": "", "rejected": reading.text}) + "\n")
        elif style == "csv":
            table.writerow((show_path(path), text, *numbers))
        elif style == "text":
            file.write(f"{text}\n")
        else:
            file.write("\t".join((escape(path), text, *numbers)) + "\n")

    return write
