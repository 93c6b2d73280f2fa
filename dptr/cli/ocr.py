"""``dptr ocr``: read photographs, scans, and PDFs, and write text, tables, or searchable documents."""

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


class _Formats(click.Choice[str]):
    """Names with commas between them."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        convert = super().convert
        return ",".join(convert(name, param, ctx) for name in value.split(","))


@command("ocr")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIR|GLOB|URL|-...", type=click.Path(allow_dash=True))
@recognizer_options()
@click.option(
    "--format",
    "styles",
    multiple=True,
    type=_Formats(STYLES),
    help="The output format, or several for -o DIR/, as pdf,alto; repeatable. Default: by the suffix of -o, else text.",
)
@click.option("--json", "add_json", is_flag=True, help="The same as --format json.")
@click.option(
    "-o", "--out", metavar="FILE|DIR/|-", default="-", type=click.Path(allow_dash=True),
    help="The output file or folder. Default: -, standard output.",
)  # fmt: skip
@click.option("--overlay", metavar="PNG|DIR/", type=click.Path(), help="Also draw boxes and texts over the pictures.")
@click.option("--boxes", metavar="TSV", type=click.Path(), help="Read only the boxes in this file; do not detect text.")
@click.option("-r", "--recursive", is_flag=True, help="Also read files in subfolders.")
@click.option("--resume", is_flag=True, help="Skip inputs whose file, of the same options, is in DIR/.")
@click.option("--pages", metavar="1-3,7", default="", help="Read these pages or frames. Default: all.")
@page_options()
def ocr(
    inputs: tuple[str, ...], model: str | None, language: str | None, styles: tuple[str, ...], add_json: bool,
    out: str, overlay: str | None, boxes: str | None, recursive: bool, resume: bool, pages: str, text_layer: str,
    dpi: int, min_confidence: float, isolate: bool, charset: str, pattern: str, lexicon: str | None, detector: str,
    device: str, batch_size: int,
) -> None:  # fmt: skip
    """Find and read words in photographs, scans, and PDFs.

    Inputs are pictures (all frames are read), PDFs, folders of both, quoted patterns ('scans/*.tif'), http and https
    URLs, and - for standard input. Each page is written as soon as it is read. If a page cannot be read, the others are
    read nevertheless, and the exit code is 2.

    \b
    text  lines; an empty line separates blocks, a form feed separates pages
    json  one JSON object on each line for each page: boxes, confidences, characters
    tsv   a row for each word: picture, page, position, box, confidence, text
    csv   the same with commas and quotes, for spreadsheets
    hocr  hOCR 1.2
    alto  ALTO 4.4
    page  PAGE XML of 2019, a file for each page
    pdf   the pictures with invisible text that can be searched and copied

    With --lang auto, each line is read by the recognizer of its script; JSON names both. If no recognizer is installed
    for a script, one message says how to install it.

    DIR/ gets a file for each input; an interruption leaves no partial files. To read the remaining inputs, run the same
    command with --resume. With --pattern or --lexicon, only matching words are written.
    """
    from dptr.photo.boxes import read_boxes, take_boxes
    from dptr.photo.inputs import InputOptions, open_sheets, parse_pages
    from dptr.photo.isolated import open_apart
    from dptr.photo.ocr import OCR
    from dptr.photo.outputs import FORMATS, choose_formats, is_folder
    from dptr.photo.plan import Finished, Plan
    from dptr.photo.run import run_ocr
    from dptr.utils.isolation import Isolation

    chosen = choose_formats(",".join((*styles, *(["json"] if add_json else []))) or None, out)
    draws = overlay is not None or any(FORMATS[each].draws for each in chosen)
    options = InputOptions(parse_pages(pages), dpi, text_layer, draws)  # type: ignore[arg-type]
    user_boxes = read_boxes(boxes) if boxes else None
    sources, failed = _expand(inputs, recursive)
    isolation = Isolation() if isolate else None
    recognizer = choose_recognizer(model, language)
    settings = {"pages": pages, "dpi": str(dpi), "text-layer": text_layer, "min-confidence": f"{min_confidence:g}"}
    if is_folder(out):
        settings |= _describe_reading(recognizer, detector, charset, pattern, lexicon, boxes)
    numbers = {source: _list_pages(source, pages, options, isolation) for source in sources}
    plan = Plan(chosen, out, overlay, numbers, settings)
    finished = plan.find_finished() if resume else Finished()
    if finished.changed:
        first, more = finished.changed[0], len(finished.changed) - 1
        say(f"dptr: {first}{f' and {more} more' if more else ''}: changed since the last run, and read again")
    plan.check(finished)
    if finished.sources:
        say(f"dptr: {len(finished.sources)} of {len(sources)} inputs passed over, whose files are in {out}")
        if finished.others:
            say(f"dptr: another version wrote {finished.others} of these files; without --resume, a new folder has one")
        sources = [source for source in sources if source not in finished.sources]
        if not sources:
            raise click.exceptions.Exit(2 if failed else 0)
    total = sum(len(plan.numbers[source] or [1]) for source in sources)
    finder = take_boxes if user_boxes else detector
    reader = OCR(recognizer, device, batch_size, detector=finder, charset=charset, pattern=pattern, lexicon=lexicon)
    say(f"model {recognizer}, device {reader.reader.device}", level=1)
    tally = _Tally(min_confidence, failed=failed)
    opened = plan.watch(sources)
    sheets = open_apart(isolation, opened, pages, options) if isolation else open_sheets(opened, options)
    outcomes = run_ocr(reader, _with_boxes(sheets, user_boxes) if user_boxes else sheets, draws)
    on_terminal = out == "-" and sys.stdout.isatty()
    with nullcontext(_silent) if on_terminal else progress_bars(" pages") as show:
        show("read", 0, total)
        plan.write(tally.accept(outcomes, lambda done: show("read", done, total)), finished.replaceable)
    tally.report(recognizer)
    if tally.failed:
        raise click.exceptions.Exit(2)


def _describe_reading(
    recognizer: str, detector: str, charset: str, pattern: str, lexicon: str | None, boxes: str | None
) -> dict[str, str]:
    """What decides how pages are read, besides the options of the pages; files are described by their digests.

    Raises:
        UserError: there is no such recognizer, detector, charset, or file.
    """
    from dptr.inference.auto import digest_reader
    from dptr.photo.detect import digest_detector
    from dptr.text.charset import resolve_charset
    from dptr.utils.files import digest

    described = {
        "model": f"{os.path.basename(recognizer.rstrip('/'))} {digest_reader(recognizer)}",
        "charset": resolve_charset(charset).digest if charset else "",
        "pattern": pattern,
        "detector": "" if boxes else f"{os.path.basename(detector)} {digest_detector(detector)}".strip(),
    }
    for name, path in (("lexicon", lexicon), ("boxes", boxes)):
        try:
            described[name] = "" if path is None else f"{os.path.basename(path)} {digest(path)}"
        except OSError as error:
            raise UserError(f"{name} {path}: {error.strerror}; check the path") from error
    return described


def _list_pages(source: str, pages: str, options: InputOptions, isolation: Isolation | None) -> list[int] | None:
    """``dptr.photo.inputs.list_pages``; with ``isolation``, a file is opened in another process, and may give None."""
    from dptr.photo.inputs import list_pages
    from dptr.photo.isolated import list_apart

    if isolation is None or not os.path.isfile(source):
        return list_pages(source, options)
    try:
        return list_apart(isolation, source, pages, options)
    except UserError:
        return None


def _silent(name: str, done: int, total: int) -> None:
    """Shows no progress, because text and a progress bar would share the terminal."""


def _expand(inputs: Iterable[str], recursive: bool) -> tuple[list[str], bool]:
    """The files and URLs to read, without duplicates, and whether an input has none. Errors are printed."""
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
    """Attach the user's boxes to the picture of each sheet. A sheet whose boxes are wrong becomes a failure."""
    from dptr.photo.boxes import give_boxes
    from dptr.photo.inputs import Failure

    for sheet in sheets:
        if isinstance(sheet, Failure) or sheet.picture is None:
            yield sheet
            continue
        try:
            page_boxes = boxes.of(sheet.source, sheet.number, sheet.picture)
        except UserError as error:
            yield Failure(sheet.source, sheet.number, error)
            continue
        if not len(page_boxes):
            say(f"dptr: {sheet.source}: no box of its page {sheet.number} in {boxes.path}")
        give_boxes(sheet.picture, page_boxes)
        yield sheet


@dataclass
class _Tally:
    """Counts of the words read so far.

    Attributes:
        least: words below this confidence, 0 to 1, are left out.
        failed: whether an input or a page could not be read.
        words: number of words, including those left out.
        low: number of words left out.
        say_note: prints notes about a page.
    """

    least: float
    failed: bool = False
    words: int = 0
    low: int = 0
    say_note: SayOnce = field(default_factory=SayOnce)

    def accept(self, outcomes: Iterable[Outcome], done: Callable[[int], None]) -> Iterator[Shown]:
        """Yield each page without its words of low confidence, and its picture. Print errors and notes of pages."""
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

    def report(self, recognizer: str) -> None:
        """Say that there was no text, or how many words were left out."""
        if not self.words and not self.failed:
            say("dptr: no text found")
        if self.low:
            other_script = recognizer == DEFAULT_MODEL and 2 * self.low > self.words
            hint = "; if the script is not Latin, --lang auto names it" if other_script else ""
            say(f"dptr: {self.low} of {self.words} words below a confidence of {self.least:g}: left out{hint}")
