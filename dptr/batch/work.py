"""What is done with a block: crops read, pages read, or words rendered.

A work is a description that travels to any process. There ``open`` opens its model, once, and gives a function from a
block to what comes of it. To add a work, write a class like those here, and a command.
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
"""The try of a block from which on files are decoded in a process of their own: what decodes them may have died."""
MOST_TRIES = 5

Row = dict[str, Any]
Outcome = tuple[int, list[Row], list[Row]]
"""How many inputs a block holds, and the rows and failures that came of them."""
Do = Callable[[Job, int, bool], Outcome]
"""Job, number of the block, and whether files are decoded in a process of their own, to what comes of the block."""


class Work(Protocol):
    """What is done with the blocks of a job.

    Attributes:
        table: the folder of its rows.
        schema: of them.
    """

    @property
    def table(self) -> str: ...

    @property
    def schema(self) -> pa.Schema: ...

    def open(self) -> Do:
        """Open what it needs, in the process that does it.

        Raises:
            UserError: the model or the fonts here are others than those of the job.
        """


def do_block(job: Job, work: Work, do: Do, block: int) -> Record | Unfinished:
    """Do a block and publish what came of it; one that is finished already is left alone."""
    try:
        if job.is_finished(block):
            return job.read_record(block)
        tried = job.count_try(block)
        if tried > MOST_TRIES:
            return Unfinished(block, f"the process that worked on it ended {MOST_TRIES} times")
        inputs, rows, failures = do(job, block, tried >= ISOLATED_FROM)
        tables = pa.Table.from_pylist(rows, work.schema), pa.Table.from_pylist(failures, FAILURES)
        return job.publish(block, inputs, work.table, *tables)
    except UserError as error:
        return Unfinished(block, str(error))
    except MemoryError:
        return Unfinished(block, "out of memory; pass a smaller --block, or fewer --workers a machine")


@dataclass(frozen=True)
class ReadWork:
    """Word crops, read by ``open_reader_of(settings)``.

    Attributes:
        digest: of the model (``dptr.inference.auto.digest_reader``).
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
            chosen = open_reader_of({**self.settings, "isolate": True}) if isolate else reader
            return self._do(chosen, _items(job, self.source, block))

        return do

    def _do(self, reader: Reader, items: Iterable[Item]) -> Outcome:
        inputs, rows, failures = 0, [], []
        for item, outcome in read_items(reader, items):
            inputs += 1
            if isinstance(outcome, UserError):
                failures.append(_failure(item, outcome))
                continue
            held = outcome.to_dict()
            held["characters"] = [{"text": text, "confidence": share} for text, share in held["characters"]]
            rows.append({**_named(item), **held})
        return inputs, rows, failures


@dataclass(frozen=True)
class OcrWork:
    """Photographs and pages, read by ``OCR(**settings)``.

    Attributes:
        options: dots per inch and use of the text layer (``dptr.photo.inputs.InputOptions``).
        isolate: whether files are decoded in a process of their own from the first try on.
        least: confidence below which words are left out, 0 to 1.
        digest: as of ``ReadWork``.
    """

    source: Source
    settings: dict[str, Any]
    options: dict[str, Any]
    isolate: bool
    least: float
    digest: str
    table: str = "pages"
    schema: pa.Schema = PAGES

    def open(self) -> Do:
        """See ``Work``."""
        from dptr.photo.ocr import OCR

        _check_model(self.settings["model"], self.digest)
        ocr = OCR(**self.settings)

        def do(job: Job, block: int, isolate: bool) -> Outcome:
            return self._do(ocr, _items(job, self.source, block), isolate or self.isolate)

        return do

    def _do(self, ocr: Any, items: Iterable[Item], isolate: bool) -> Outcome:
        from dptr.photo.inputs import Failure, InputOptions, Sheet, open_content
        from dptr.photo.isolated import open_content_apart
        from dptr.photo.run import keep_confident, run_ocr
        from dptr.utils.isolation import Isolation

        options = InputOptions(**self.options, draw=False)
        apart = Isolation() if isolate else None
        waiting: deque[Item] = deque()  # of each sheet that was taken, in order
        inputs = 0

        def sheets() -> Iterator[Sheet | Failure]:
            nonlocal inputs
            for item in items:
                inputs += 1
                if isinstance(item.content, UserError):
                    opened: Iterable[Sheet | Failure] = [Failure(item.label, 0, item.content)]
                elif apart:
                    opened = open_content_apart(apart, item.content, item.label, "", options)
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
                failures.append({**_failure(item, outcome.page), "page": outcome.number or None})
                continue
            page, _ = keep_confident(outcome.page, self.least)
            rows.append(
                {
                    **_named(item),
                    "page": page.number, "width": page.width, "height": page.height, "text": page.text,
                    "words": len(page.words), "json": dump_json(page.to_dict()), "notes": list(page.notes),
                }
            )  # fmt: skip
        return inputs, rows, failures


@dataclass(frozen=True)
class SynthWork:
    """Rendered words, the samples 0..``count - 1`` of a recipe, ``size`` a block.

    Attributes:
        recipe: as JSON.
        renderer: what the bytes depend on beside it (``describe_renderer``).
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
                {"number": first + place, "label": label, "image": png} for place, (png, label) in enumerate(pictures)
            ]
            return last - first, rows, []

        return do


def describe_renderer(source: Any) -> dict[str, str]:
    """What rendered words depend on beside the recipe: the fonts, the versions of what draws, and the first texts.

    Args:
        source: a ``dptr.synth.source.RenderedWords``.
    """
    import hashlib
    from importlib.metadata import version

    from dptr.synth.manifest import digest_words

    fonts = sorted((font.family, font.style, font.number, font.coverage) for font in source.renderer.fonts.fonts)
    drawing = {name: version(name) for name in ("numpy", "opencv-python-headless", "Pillow")}
    digest = hashlib.sha256(repr(fonts).encode()).hexdigest()[:16]
    return {"fonts": digest, "words": digest_words(source), **drawing}


def read_items(reader: Reader, items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
    """Each item, with its ``Prediction`` or the error why there is none; batches are those of ``Reader.stream``."""
    rest = iter(items)
    while batch := list(islice(rest, reader.batch_size)):
        opened = [_prepare(reader, item) for item in batch]
        predictions = iter(reader.read_prepared([each for each in opened if isinstance(each, Prepared)]))
        for item, each in zip(batch, opened, strict=True):
            yield item, each if isinstance(each, UserError) else next(predictions)


def _prepare(reader: Reader, item: Item) -> Prepared | UserError:
    if isinstance(item.content, UserError):
        return item.content
    try:
        return reader.prepare(item.content, item.label)
    except UserError as error:
        return error


def _items(job: Job, source: Source, block: int) -> Iterator[Item]:
    for span in job.spans(block):
        yield from open_span(source, span)


def _named(item: Item) -> Row:
    return {"source": _plain(item.source), "row": item.row, "name": None if item.name is None else _plain(item.name)}


def _failure(item: Item, error: UserError) -> Row:
    return {**_named(item), "page": None, "error": _plain(str(error))}


def _plain(text: str) -> str:
    """Bytes of a name that are not UTF-8, which a table cannot hold, as ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


def open_reader_of(settings: dict[str, Any]) -> Reader:
    """The reader that a job describes: its ``model``, and the fields of ``ReaderOptions``.

    Raises:
        UserError: see ``dptr.inference.auto.open_reader``.
    """
    options = {key: value for key, value in settings.items() if key != "model"}
    return open_reader(settings["model"], ReaderOptions(**options))


def _check_model(model: str, wanted: str) -> None:
    """Every machine reads with the same model.

    Raises:
        UserError: this one has another of the same name, or none.
    """
    held = digest_reader(model)
    if held != wanted:
        raise UserError(
            f"model '{model}': this machine holds another ({held}) than the job's ({wanted}); copy that here"
        )
