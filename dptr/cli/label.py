"""``dptr label``: label words in photographs, with proposals of a recognizer that people correct."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dptr.cli.command import command
from dptr.cli.options import (
    NumberRange,
    choose_recognizer,
    detector_option,
    device_options,
    expected_options,
    language_option,
    out_option,
    server_options,
)
from dptr.utils.errors import UserError
from dptr.utils.terminal import progress_bars, say, say_error
from dptr.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from dptr.inference.reader import Reader, ReaderOptions
    from dptr.label.finder import Finder
    from dptr.label.store import Store

EXPORTS = {"labels.tsv": "labeled", "lmdb": "labeled.lmdb", "label-studio": "label-studio.json"}
"""The export formats, and the default name of each in the folder of the set."""


@command("label", "serve")
@click.argument("photos", nargs=-1, metavar="[FILE|DIR|GLOB]...", type=click.Path())
@out_option("The folder of the labeled set.", "SET/")
@click.option("--crops", is_flag=True, help="Treat each picture as one word.")
@click.option(
    "--threshold", metavar="P", type=NumberRange(0), default=0.99,
    help="Accept words with a confidence of at least P, 0 to 1, without review; 2 = none. Default: 0.99.",
)  # fmt: skip
@click.option("-r", "--recursive", is_flag=True, help="Also use photographs in subfolders.")
@click.option(
    "-m", "--model", metavar="NAME|DIR|ONNX", type=click.Path(),
    help=f"The recognizer for proposals. Default: the one chosen on the page, else {DEFAULT_MODEL}.",
)  # fmt: skip
@language_option("Propose with")
@expected_options()
@detector_option()
@click.option("--export", "style", type=click.Choice([*EXPORTS]), help="Write the labels in this format, and exit.")
@click.option("--to", metavar="PATH", type=click.Path(path_type=Path), help="The path of the export. Default: in SET/.")
@click.option(
    "--import", "labels", metavar="JSON|LMDB|DIR", multiple=True, type=click.Path(path_type=Path),
    help="Add labels of Label Studio, an LMDB, or a folder with labels.tsv; repeatable.",
)  # fmt: skip
@click.option("--no-page", is_flag=True, help="Propose words, and exit without serving the page.")
@server_options()
@device_options()
def label(
    photos: tuple[str, ...], out: Path, crops: bool, threshold: float, recursive: bool, model: str | None,
    language: str | None, charset: str, pattern: str, lexicon: str | None, detector: str, style: str | None,
    to: Path | None, labels: tuple[Path, ...], no_page: bool, host: str, port: int, max_megabytes: float, device: str,
    batch_size: int,
) -> None:  # fmt: skip
    """Label words in photographs: a recognizer proposes texts, and you correct them on a web page.

    Finds and reads words, accepts the confident ones, and serves a page that shows the others, least confident first.
    Each change is saved immediately in SET/label.db. To continue, run the command again; it does not read photographs
    in the set again. If a photograph cannot be read, the others are read nevertheless, and the exit code is 2.

    With --pattern or --lexicon, only matching words of a photograph are proposed. With --crops, each picture has a
    proposal, whose confidence is low if it does not match.

    With --lang auto, if no recognizer is installed for a script, one message says how to install it.

    To listen on other addresses than this machine's, set DPTR_TOKENS, as for dptr serve.
    """
    from dptr.inference.reader import ReaderOptions
    from dptr.label.finder import Finder
    from dptr.label.store import DATABASE, Store
    from dptr.utils.arenas import limit_arenas

    limit_arenas()
    if to is not None and style is None:
        raise UserError("--to without --export: say what to write, such as --export labels.tsv")
    if style is not None and (photos or labels):
        raise UserError("--export with photographs or --import: run dptr label for those first, then export")
    if style is not None and not (out / DATABASE).is_file():
        raise UserError(f"{out}: no set of labels; make one first: dptr label PHOTOS -o {out}")
    chosen = model if language is None else choose_recognizer(model, language)
    sources = list_sources(photos, recursive, out)
    store = Store(out)
    try:
        for path in labels:
            _import(store, path)
        if style is not None:
            _export(store, style, to or store.folder / EXPORTS[style])
            return
        if labels and not sources and no_page:
            return
        if no_page and not sources:
            raise UserError("--no-page without photographs: pass some, or leave it out to see the page")
        options = ReaderOptions(device, batch_size, charset=charset, pattern=pattern, lexicon=lexicon)
        models = _open_model(store, chosen, options)
        if no_page:
            if _propose(store, sources, next(iter(models.values())), detector, device, crops, threshold):
                raise click.exceptions.Exit(2)
            return
        _serve(Finder(store, crops, threshold), sources, models, detector, device, host, port, max_megabytes)
    finally:
        store.close()


def list_sources(photos: Iterable[str], recursive: bool, out: Path) -> list[str]:
    """The files that the arguments stand for, without duplicates. Files in the folder of the set are skipped.

    Raises:
        UserError: an argument stands for no file.
    """
    from dptr.photo.inputs import SUFFIXES_READ
    from dptr.utils.inputs import STANDARD_INPUT, expand

    if STANDARD_INPUT in photos:
        raise UserError("'-': a set of labels names its photographs; save the picture as a file and pass that")
    paths = (os.path.abspath(path) for each in photos for path in expand(each, recursive, SUFFIXES_READ))
    set_folder = os.path.join(os.path.abspath(out), "")
    return list(dict.fromkeys(path for path in paths if not path.startswith(set_folder)))


def _open_model(store: Store, model: str | None, options: ReaderOptions) -> dict[str, Reader]:
    """Open the recognizer for proposals: the requested one, or the one chosen on the page. Its name is the key."""
    from dptr.inference.reader import Reader
    from dptr.serve.recognizers import open_models
    from dptr.serve.trainings import find_used

    if model is None and (used := find_used(store)) is not None:
        return {used[0]: Reader.of(used[1], options)}
    return open_models([model or DEFAULT_MODEL], options)


def _propose(
    store: Store, sources: list[str], reader: Reader, detector: str, device: str, crops: bool, threshold: float
) -> bool:
    """Find words, with a progress bar. Returns whether any photograph could not be read."""
    from dptr.label.propose import propose
    from dptr.photo.ocr import OCR

    with progress_bars(" files") as show:
        show("read", 0, len(sources))
        proposals = propose(
            store, sources, OCR(device=device, detector=detector, reader=reader), crops, threshold,
            done=lambda files: show("read", files, len(sources)), complain=say_error,
            tell=lambda note: say(f"dptr: {note}"),
        )  # fmt: skip
    say(proposals.describe())
    return bool(proposals.failed)


def _serve(
    finder: Finder, sources: list[str], models: dict[str, Reader], detector: str, device: str, host: str, port: int,
    megabytes: float,
) -> None:  # fmt: skip
    """Serve the page until the command is stopped, and find words in the background."""
    from dptr.photo.detect import open_detector
    from dptr.photo.ocr import OCR
    from dptr.serve.app import create_app
    from dptr.serve.guard import TOKENS, check_address, parse_tokens
    from dptr.serve.labeling import Labeling
    from dptr.serve.limits import Limits
    from dptr.serve.recognizers import Recognizers
    from dptr.serve.server import address_of, bind
    from dptr.serve.server import serve as run

    tokens = parse_tokens(os.environ.get(TOKENS, ""))
    check_address(host, tokens)
    limits = Limits(megabytes=megabytes)
    opened = open_detector(detector, device)
    app = create_app(Recognizers(models, opened, device=device), limits, tokens, Labeling(finder, limits.most_pixels))
    bound = bind(host, port)
    say(f"dptr: label on {address_of(bound)}/label (Ctrl-C stops; all is saved)")
    finder.start(sources, OCR(detector=opened, reader=next(iter(models.values()))))
    run(app, bound, limits.seconds, logs=False)
    say("dptr: stopped")


def _import(store: Store, source: Path) -> None:
    from dptr.data.report import DropReport
    from dptr.label.importing import import_labels

    drops = DropReport()
    added = import_labels(store, source, drops)
    for line in drops.lines():
        say(line, level=-1)
    say(f"dptr: {source}: {added} words added")


def _export(store: Store, style: str, out: Path) -> None:
    from dptr.data.report import DropReport
    from dptr.label.check import summarize
    from dptr.label.export import export_crops
    from dptr.label.label_studio import export_label_studio

    if (checked := summarize(store)) is not None:
        say(f"dptr: {checked.describe()}", level=-1)
    if style == "label-studio":
        print(f"{out}\t{export_label_studio(store, out)} words")
        return
    if (style == "lmdb") != (out.suffix == ".lmdb"):
        raise UserError(f"--to {out}: a name that ends in .lmdb is an LMDB, any other a folder with labels.tsv")
    drops = DropReport()
    words = export_crops(store, out, drops)
    for line in drops.lines():
        say(line, level=-1)
    print(f"{out}\t{words} words")
