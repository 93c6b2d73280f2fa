"""The kinds of work on a block: read crops, read pages, or render words.

A work is a description that can be sent to any process. There, ``open`` opens the model once and returns a function
from a block to its results. To add a kind of work, write a class like those here, and a command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import pyarrow as pa

from dptr.batch.blocks import Job, Record, Unfinished
from dptr.batch.inputs import open_span
from dptr.batch.items import Item, Source
from dptr.batch.schemas import CROPS, FAILURES, PAGES, READINGS
from dptr.inference.auto import digest_reader, open_reader
from dptr.inference.reader import Prepared, Reader, ReaderOptions
from dptr.utils.errors import UserError
from dptr.utils.escapes import dump_json

ISOLATED_FROM = 3
"""From this try of a block on, files are decoded in a separate process: a file may have crashed the earlier tries."""
MOST_TRIES = 5

Row = dict[str, Any]
Outcome = tuple[int, list[Row], list[Row]]
"""The number of inputs in a block, and the resulting rows and failures."""
Do = Callable[[Job, int, bool], Outcome]
"""Processes a block, given the job, the block's number, and whether to decode files in a separate process."""


class Work(Protocol):
    """A kind of work on the blocks of a job.

    Attributes:
        table: the folder of the resulting rows.
        schema: the schema of the rows.
    """

    @property
    def table(self) -> str: ...

    @property
    def schema(self) -> pa.Schema: ...

    def open(self) -> Do:
        """Open the model or the renderer in the process that does the work.

        Raises:
            UserError: this machine has another model, or other fonts, than the one that planned the job.
        """


def do_block(job: Job, work: Work, do: Do, block: int) -> Record | Unfinished:
    """Process a block and publish the results. A finished block is not processed again; its record is returned."""
    try:
        if job.is_finished(block):
            return job.read_record(block)
        attempt = job.count_try(block)
        if attempt > MOST_TRIES:
            return Unfinished(block, f"the process that worked on it ended {MOST_TRIES} times")
        inputs, rows, failures = do(job, block, attempt >= ISOLATED_FROM)
        tables = pa.Table.from_pylist(rows, work.schema), pa.Table.from_pylist(failures, FAILURES)
        return job.publish(block, inputs, work.table, *tables)
    except UserError as error:
        return Unfinished(block, str(error))
    except MemoryError:
        return Unfinished(block, "out of memory; pass a smaller --block, or fewer --workers a machine")


@dataclass(frozen=True)
class ReadWork:
    """Read word crops with ``open_reader_of(settings)``.

    Attributes:
        source: the input.
        settings: see ``open_reader_of``.
        digest: digest of the model (``dptr.inference.auto.digest_reader``).
    """

    source: Source
    settings: dict[str, Any]
    digest: str
    table: str = "readings"
    schema: pa.Schema = READINGS

    def open(self) -> Do:
        """See ``Work``."""
        _check_model(self.settings["model"], self.digest)
        reader = open_reader_of(self.settings)

        def do(job: Job, block: int, isolate: bool) -> Outcome:
            block_reader = open_reader_of({**self.settings, "isolate": True}) if isolate else reader
            return self._read(block_reader, _open_items(job, self.source, block))

        return do

    def _read(self, reader: Reader, items: Iterable[Item]) -> Outcome:
        inputs, rows, failures = 0, [], []
        for item, outcome in read_items(reader, items):
            inputs += 1
            if isinstance(outcome, UserError):
                failures.append(_failure_row(item, outcome))
                continue
            reading = outcome.to_dict()
            reading["characters"] = [
                {"text": text, "confidence": confidence} for text, confidence in reading["characters"]
            ]
            rows.append({**_source_columns(item), **reading})
        return inputs, rows, failures


@dataclass(frozen=True)
class OcrWork:
    """Read photographs and pages with ``OCR(**settings)``.

    Attributes:
        source: the input.
        settings: arguments of ``dptr.photo.ocr.OCR``.
        options: ``dpi`` and ``text_layer`` of ``dptr.photo.inputs.InputOptions``.
        isolate: whether to decode files in a separate process from the first try on.
        least: words below this confidence, 0 to 1, are dropped.
        digest: as in ``ReadWork``.
        detector_digest: of a detector's file (``dptr.photo.detect.digest_detector``).
    """

    source: Source
    settings: dict[str, Any]
    options: dict[str, Any]
    isolate: bool
    least: float
    digest: str
    detector_digest: str = ""
    table: str = "pages"
    schema: pa.Schema = PAGES

    def open(self) -> Do:
        """See ``Work``."""
        from dptr.photo.detect import digest_detector
        from dptr.photo.ocr import OCR

        _check_model(self.settings["model"], self.digest)
        detector = self.settings.get("detector", "")
        if (digest := digest_detector(detector)) != self.detector_digest:
            raise UserError(
                f"detector '{detector}': this machine holds another ({digest}) than the job's "
                f"({self.detector_digest}); copy that here"
            )
        ocr = OCR(**self.settings)

        def do(job: Job, block: int, isolate: bool) -> Outcome:
            return self._read(ocr, _open_items(job, self.source, block), isolate or self.isolate)

        return do

    def _read(self, ocr: Any, items: Iterable[Item], isolate: bool) -> Outcome:
        from dptr.photo.inputs import Failure, InputOptions, Sheet, open_content
        from dptr.photo.isolated import open_content_apart
        from dptr.photo.run import keep_confident, run_ocr
        from dptr.utils.isolation import Isolation

        options = InputOptions(**self.options, draw=False)
        isolation = Isolation() if isolate else None
        waiting: deque[Item] = deque()  # the item of each sheet that is being read, in order
        inputs = 0

        def sheets() -> Iterator[Sheet | Failure]:
            nonlocal inputs
            for item in items:
                inputs += 1
                if isinstance(item.content, UserError):
                    opened: Iterable[Sheet | Failure] = [Failure(item.label, 0, item.content)]
                elif isolation:
                    opened = open_content_apart(isolation, item.content, item.label, "", options)
                else:
                    opened = open_content(item.content, item.label, options)
                for sheet in opened:
                    waiting.append(item)
                    yield sheet

        rows: list[Row] = []
        failures: list[Row] = []
        for outcome in run_ocr(ocr, sheets(), keep_pictures=False):
            item = waiting.popleft()
            if isinstance(outcome.page, UserError):
                failures.append({**_failure_row(item, outcome.page), "page": outcome.number or None})
                continue
            page, _ = keep_confident(outcome.page, self.least)
            rows.append(
                {
                    **_source_columns(item),
                    "page": page.number, "width": page.width, "height": page.height, "text": page.text,
                    "words": len(page.words), "json": dump_json(page.to_dict()), "notes": list(page.notes),
                }
            )  # fmt: skip
        return inputs, rows, failures


@dataclass(frozen=True)
class SynthWork:
    """Render the samples 0..``count - 1`` of a recipe.

    Attributes:
        recipe: a ``dptr.config.train.SynthRecipe`` as JSON.
        count: number of samples.
        size: samples in a block.
        renderer: fonts and versions that the pictures depend on besides the recipe (``describe_renderer``).
    """

    recipe: dict[str, Any]
    count: int
    size: int
    renderer: dict[str, str]
    table: str = "crops"
    schema: pa.Schema = CROPS

    def open(self) -> Do:
        """See ``Work``."""
        from dptr.config.train import SynthRecipe
        from dptr.synth.datasets import render_pictures
        from dptr.synth.worker import make_source

        source = make_source(SynthRecipe.model_validate(self.recipe))
        here = describe_renderer(source)
        if here != self.renderer:
            names = ", ".join(name for name in here if here[name] != self.renderer.get(name))
            raise UserError(f"this machine renders otherwise than the one that began: other {names}; install the same")

        def do(job: Job, block: int, isolate: bool) -> Outcome:
            first, last = block * self.size, min((block + 1) * self.size, self.count)
            pictures = render_pictures(source, (first, last))
            rows = [
                {"number": number, "label": label, "image": png} for number, (png, label) in enumerate(pictures, first)
            ]
            return last - first, rows, []

        return do


def describe_renderer(source: Any) -> dict[str, str]:
    """Everything that rendered pictures depend on besides the recipe.

    Args:
        source: a ``dptr.synth.source.RenderedWords``.

    Returns:
        A digest of the fonts, a digest of the first words, and the versions of the drawing libraries.
    """
    import hashlib
    from importlib.metadata import version

    from dptr.synth.manifest import digest_words

    fonts = sorted((font.family, font.style, font.number, font.coverage) for font in source.renderer.fonts.fonts)
    versions = {name: version(name) for name in ("numpy", "opencv-python-headless", "Pillow")}
    digest = hashlib.sha256(repr(fonts).encode()).hexdigest()[:16]
    return {"fonts": digest, "words": digest_words(source), **versions}


def read_items(reader: Reader, items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
    """Yield each item with its ``Prediction`` or its error. The batches are those of ``Reader.stream``."""
    remaining = iter(items)
    while batch := list(islice(remaining, reader.batch_size)):
        pictures = [_prepare(reader, item) for item in batch]
        predictions = iter(reader.read_prepared([each for each in pictures if isinstance(each, Prepared)]))
        for item, picture in zip(batch, pictures, strict=True):
            yield item, picture if isinstance(picture, UserError) else next(predictions)


def _prepare(reader: Reader, item: Item) -> Prepared | UserError:
    if isinstance(item.content, UserError):
        return item.content
    try:
        return reader.prepare(item.content, item.label)
    except UserError as error:
        return error


def _open_items(job: Job, source: Source, block: int) -> Iterator[Item]:
    for span in job.spans(block):
        yield from open_span(source, span)


def _source_columns(item: Item) -> Row:
    name = None if item.name is None else _escape_surrogates(item.name)
    return {"source": _escape_surrogates(item.source), "row": item.row, "name": name}


def _failure_row(item: Item, error: UserError) -> Row:
    return {**_source_columns(item), "page": None, "error": _escape_surrogates(str(error))}


def _escape_surrogates(text: str) -> str:
    """Write bytes of a name that are not UTF-8 as ``\\udcff``, because a table cannot hold them."""
    return text.encode("utf-8", "backslashreplace").decode()


def open_reader_of(settings: dict[str, Any]) -> Reader:
    """Open the reader of a job; its settings are ``model`` and the fields of ``ReaderOptions``.

    Raises:
        UserError: see ``dptr.inference.auto.open_reader``.
    """
    options = {key: value for key, value in settings.items() if key != "model"}
    return open_reader(settings["model"], ReaderOptions(**options))


def _check_model(model: str, expected: str) -> None:
    """Check that this machine has the model of the job.

    Raises:
        UserError: this machine has no model of this name, or one with another digest.
    """
    digest = digest_reader(model)
    if digest != expected:
        raise UserError(
            f"model '{model}': this machine holds another ({digest}) than the job's ({expected}); copy that here"
        )
