"""``dptr read``: word crops in, a line of text for each out."""

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
@click.option("-r", "--recursive", is_flag=True, help="Read the pictures in sub-folders too.")
@click.option(
    "--min-confidence",
    metavar="P",
    type=NumberRange(0, 1),
    default=0.0,
    help="Leave the text of readings below P empty, 0 to 1; the line stays. Default: 0.",
)
@click.option(
    "--precision",
    metavar="P",
    type=NumberRange(0, 1),
    help="Leave the least confident texts empty, so that a share P of the others is right, such as 0.99.",
)
@isolate_option()
@expected_options()
@reading_options()
def read(
    images: tuple[str, ...], model: str | None, language: str | None, style: str, out: str, recursive: bool,
    min_confidence: float, precision: float | None, isolate: bool, charset: str, pattern: str, lexicon: str | None,
    device: str, batch_size: int, turn: bool, tta: int,
) -> None:  # fmt: skip
    """Read word crops.

    Prints a line for each crop: path, text and confidence (0 to 1). A folder stands for the pictures directly in it, a
    pattern in quotes ('crops/*.png', 'crops/**/*.png') for the files that match it, - for a picture on standard input.
    Lines come as batches finish. Exit code 2 when an input could not be read; the others are read all the same.

    With --lang auto, JSON names the script and the recognizer of each crop. If none is installed for a script, a
    message says once how to install it.

    With --pattern or --lexicon, tables have a fourth column: the probability, 0 to 1, of all that they rule out.

    \b
    tsv   path, text and confidence, separated by tabs; a tab or a line break in a path is written as \\t or \\n
    csv   the same with commas, quotes, and a first line of names; paths as they are
    json  a JSON object on each line, with each character's confidence
    text  the text alone
    """
    from dptr.inference.auto import open_reader
    from dptr.inference.reader import ReaderOptions
    from dptr.utils.inputs import STANDARD_INPUT, expand

    if images.count(STANDARD_INPUT) > 1:
        raise UserError("-: standard input can be read once; pass it once")
    chosen = choose_recognizer(model, language)
    check_outputs(out, inputs=[chosen, *images, *([lexicon] if lexicon else [])])
    if precision is not None and min_confidence:
        raise UserError("--precision and --min-confidence: the one sets the other; pass one of them")
    reader = open_reader(chosen, ReaderOptions(device, batch_size, turn, tta, charset, pattern, lexicon, isolate))
    if precision is not None:
        min_confidence = reader.least_confidence(precision)
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
    """A function that writes one reading; the text of one that is not accepted is left empty.

    Args:
        expects: whether there is a pattern or a lexicon, so that tables have the probability outside it.
    """
    seen = escape if file.isatty() else str  # csv: a program gets names as they are, a terminal no controls
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
            table.writerow((seen(path), text, *numbers))
        elif style == "text":
            file.write(f"{text}\n")
        else:
            file.write("\t".join((escape(path), text, *numbers)) + "\n")

    return write
