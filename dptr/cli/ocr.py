"""``dptr ocr``: photographs, scans, and PDFs in; text, tables, and searchable documents out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from dptr.cli.command import command
from dptr.cli.options import SayOnce, choose_recognizer, page_options, recognizer_options
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say, say_error
from dptr.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from dptr.photo.boxes import Boxes
    from dptr.photo.inputs import Failure, InputOptions, Sheet
    from dptr.photo.outputs import Shown
    from dptr.photo.run import Outcome
    from dptr.utils.isolation import Isolation

STYLES = "text", "json", "tsv", "csv", "hocr", "alto", "page", "pdf"


@command("ocr")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIR|GLOB|URL|-...", type=click.Path(allow_dash=True))
@recognizer_options()
@click.option(
    "--format", "style", type=click.Choice(STYLES), help="What to write. Default: by the suffix of -o, else text."
)
@click.option("--json", "style", flag_value="json", help="The same as --format json.")
@click.option(
    "-o", "--out", metavar="FILE|DIR/|-", default="-", type=click.Path(allow_dash=True),
    help="Where to write it. Default: -, standard output.",
)  # fmt: skip
@click.option("--overlay", metavar="PNG|DIR/", type=click.Path(), help="Draw the boxes and texts over the picture.")
@click.option("--boxes", metavar="TSV", type=click.Path(), help="Read in these boxes; look for no others.")
@click.option("-r", "--recursive", is_flag=True, help="Read what is in sub-folders too.")
@click.option("--resume", is_flag=True, help="Pass over inputs whose file is in DIR/ already.")
@click.option("--pages", metavar="1-3,7", default="", help="Read these pages or frames. Default: all.")
@page_options()
def ocr(
    inputs: tuple[str, ...], model: str | None, language: str | None, style: str | None, out: str,
    overlay: str | None, boxes: str | None, recursive: bool, resume: bool, pages: str, text_layer: str, dpi: int,
    min_confidence: float, isolate: bool, charset: str, pattern: str, lexicon: str | None, detector: str, device: str,
    batch_size: int,
) -> None:  # fmt: skip
    """Find and read the words of photographs, scans, and PDFs.

    Reads pictures with all their frames, pages of PDFs, folders of both, patterns in quotes ('scans/*.tif'), http and
    https addresses, and - for standard input. Pages are written as they come. Exit code 2 when one could not be read;
    the others are read all the same.

    \b
    text  the lines, an empty one between blocks, a form feed between pages
    json  a JSON object for each page, one on each line: boxes, confidences, characters
    tsv   a row for each word: its picture, page, place, box, confidence, and text
    csv   the same with commas and quotes, for spreadsheets
    hocr  hOCR 1.2; alto: ALTO 4.4; page: PAGE XML of 2019, a file for each page
    pdf   the pictures with invisible text that can be searched and copied

    With --lang auto, the recognizer of its script reads each line; JSON names both. If none is installed for a script,
    a message says once how to install it.

    A DIR/ gets a file for each input, whole or not at all; after an interruption the same command with --resume reads
    the others. With --pattern or --lexicon only the words that fit are written.
    """
    from dptr.photo.boxes import read_boxes, take_boxes
    from dptr.photo.inputs import InputOptions, open_sheets, parse_pages
    from dptr.photo.isolated import open_apart
    from dptr.photo.ocr import OCR
    from dptr.photo.outputs import FORMATS, choose_format
    from dptr.photo.plan import Plan
    from dptr.photo.run import run_ocr
    from dptr.utils.isolation import Isolation

    chosen = choose_format(style, out)
    draws = FORMATS[chosen].draws or overlay is not None
    options = InputOptions(parse_pages(pages), dpi, text_layer, draws)  # type: ignore[arg-type]
    given = read_boxes(boxes) if boxes else None
    sources, failed = _expand(inputs, recursive)
    apart = Isolation() if isolate else None
    plan = Plan(chosen, out, overlay, {source: _list_pages(source, pages, options, apart) for source in sources})
    written = plan.find_written() if resume else set()
    plan.check(written)
    if written:
        say(f"dptr: {len(written)} of {len(sources)} inputs passed over, whose files are in {out}")
        sources = [source for source in sources if source not in written]
        if not sources:
            raise click.exceptions.Exit(2 if failed else 0)
    total = sum(len(plan.numbers[source] or [1]) for source in sources)
    finder = take_boxes if given else detector
    recognizer = choose_recognizer(model, language)
    reader = OCR(recognizer, device, batch_size, detector=finder, charset=charset, pattern=pattern, lexicon=lexicon)
    say(f"model {recognizer}, device {reader.reader.device}", level=1)
    tally = _Tally(min_confidence, failed=failed)
    sheets = open_apart(apart, sources, pages, options) if apart else open_sheets(sources, options)
    outcomes = run_ocr(reader, _with_boxes(sheets, given) if given else sheets, draws)
    on_terminal = out == "-" and sys.stdout.isatty()
    with nullcontext(_silent) if on_terminal else progress_bars(" pages") as show:
        plan.write(tally.accept(outcomes, lambda done: show("read", done, total)))
    if not tally.words and not tally.failed:
        say("dptr: no text found")
    if tally.low:
        other_script = recognizer == DEFAULT_MODEL and 2 * tally.low > tally.words
        hint = "; if the script is not Latin, --lang auto names it" if other_script else ""
        say(f"dptr: {tally.low} of {tally.words} words below a confidence of {min_confidence:g}: left out{hint}")
    if tally.failed:
        raise click.exceptions.Exit(2)


def _list_pages(source: str, pages: str, options: InputOptions, apart: Isolation | None) -> list[int] | None:
    """As ``dptr.photo.inputs.list_pages``."""
    from dptr.photo.inputs import list_pages
    from dptr.photo.isolated import list_apart

    if apart is None or not os.path.isfile(source):
        return list_pages(source, options)
    try:
        return list_apart(apart, source, pages, options)
    except UserError:
        return None


def _silent(name: str, done: int, total: int) -> None:
    """Where text and a bar would share a terminal."""


def _expand(inputs: Iterable[str], recursive: bool) -> tuple[list[str], bool]:
    """The files to read, each once, and whether an input stands for none; what is wrong with it is said."""
    from dptr.photo.inputs import SUFFIXES_READ, is_url
    from dptr.utils.inputs import expand

    sources: dict[str, None] = {}
    failed = False
    for each in inputs:
        try:
            sources |= dict.fromkeys([each] if is_url(each) else expand(each, recursive, SUFFIXES_READ))
        except UserError as error:
            say_error(error)
            failed = True
    return list(sources), failed


def _with_boxes(sheets: Iterable[Sheet | Failure], boxes: Boxes) -> Iterator[Sheet | Failure]:
    from dptr.photo.boxes import give_boxes
    from dptr.photo.inputs import Failure

    for sheet in sheets:
        if isinstance(sheet, Failure) or sheet.picture is None:
            yield sheet
            continue
        try:
            found = boxes.of(sheet.source, sheet.number, sheet.picture)
        except UserError as error:
            yield Failure(sheet.source, sheet.number, error)
            continue
        if not len(found):
            say(f"dptr: {sheet.source}: no box of its page {sheet.number} in {boxes.path}")
        give_boxes(sheet.picture, found)
        yield sheet


@dataclass
class _Tally:
    """What was read so far.

    Attributes:
        least: words below this confidence are left out.
        failed: whether something could not be read.
        words, low: how many there were, and how many of them were left out.
        say_note: says what may be wrong with a page.
    """

    least: float
    failed: bool = False
    words: int = 0
    low: int = 0
    say_note: SayOnce = field(default_factory=SayOnce)

    def accept(self, outcomes: Iterable[Outcome], done: Callable[[int], None]) -> Iterator[Shown]:
        """The pages that were read, without the words that are not sure enough; the others' errors are said."""
        from dptr.photo.run import keep_confident

        for count, outcome in enumerate(outcomes, 1):
            done(count)
            if isinstance(outcome.page, UserError):
                say_error(outcome.page)
                self.failed = True
                continue
            for note in outcome.page.notes:
                self.say_note(f"dptr: {outcome.source}: page {outcome.number}", note)
            page, low = keep_confident(outcome.page, self.least)
            self.words += len(outcome.page.words)
            self.low += low
            yield page, outcome.picture
