"""Jobs from their beginning to their end: what is asked for is checked, the unfinished blocks are done, and counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dptr.batch.blocks import Job, Record, Unfinished, open_job
from dptr.batch.inputs import find_source
from dptr.batch.items import Source, Span
from dptr.batch.work import OcrWork, ReadWork, SynthWork, Work, describe_renderer, do_block, open_reader_of
from dptr.inference.auto import digest_reader
from dptr.text.charset import resolve_charset
from dptr.text.lexicon import load_words
from dptr.utils.errors import UserError
from dptr.utils.places import Place, is_url
from dptr.weights import AUTO, SHIPPED

READ_BLOCK, OCR_BLOCK, SYNTH_BLOCK = 1024, 16, 2000  # inputs of a block
MOST_UNFINISHED = 16  # blocks, after which the others are left for another run

Done = Generator[Record | Unfinished, None, None]
Run = Callable[[Job, Work, Sequence[int]], Done]
"""What does blocks: ``dptr.batch.engine.run_blocks`` with its pool, or ``run_here``."""


@dataclass(frozen=True)
class Task:
    """A job that is not begun yet.

    Attributes:
        work: what is done.
        asked: what decides over the output (``dptr.batch.blocks.Job``).
        spans: of the input, cut into blocks of ``size`` inputs; none where ``blocks`` says how many there are.
    """

    work: Work
    asked: dict[str, Any]
    spans: tuple[Span, ...] = ()
    size: int = READ_BLOCK
    blocks: int = 0


def plan_reading(url: str, settings: dict[str, Any], column: str = "", kind: str = "", size: int = READ_BLOCK) -> Task:
    """Read all word crops at a path or an address.

    Args:
        settings: of ``Reader``.
        column, kind: see ``dptr.batch.inputs.find_source``.
        size: crops of a block; a block is read by one process, and done again if that dies.

    Raises:
        UserError: what ``find_source`` and ``Reader`` raise.
    """
    settings = _make_portable(settings)
    source, spans = find_source(url, column, kind)
    open_reader_of({**settings, "device": "cpu"})  # what is wrong with the settings is said here, and not by a worker
    work = ReadWork(source, settings, digest_reader(settings["model"]))
    asked = {"command": "read", **_describe(url, source, size), **_describe_reader(settings, work.digest)}
    return Task(work, asked, tuple(spans), size)


def plan_ocr(
    url: str,
    settings: dict[str, Any],
    options: dict[str, Any],
    isolate: bool = False,
    least: float = 0.0,
    column: str = "",
    kind: str = "",
    size: int = OCR_BLOCK,
) -> Task:
    """Read all photographs and documents at a path or an address.

    Args:
        settings: of ``dptr.photo.ocr.OCR``.
        options, isolate, least: see ``dptr.batch.work.OcrWork``.
        column, kind, size: as for ``plan_reading``.

    Raises:
        UserError: what ``find_source``, ``OCR`` and ``InputOptions`` raise.
    """
    from dptr.photo.inputs import SUFFIXES_READ, InputOptions
    from dptr.photo.ocr import OCR

    InputOptions(**options)
    settings = _make_portable(settings)
    source, spans = find_source(url, column, kind, frozenset(SUFFIXES_READ))
    OCR(**{**settings, "device": "cpu"})
    work = OcrWork(source, settings, options, isolate, least, digest_reader(settings["model"]))
    asked = {
        "command": "ocr",
        **_describe(url, source, size),
        **_describe_reader(settings, work.digest),
        **options,
        "least": least,
    }
    return Task(work, asked, tuple(spans), size)


def plan_synth(recipe: Any, count: int, size: int = SYNTH_BLOCK) -> Task:
    """Render the samples 0..``count - 1`` of a ``dptr.config.train.SynthRecipe``.

    Raises:
        UserError: what ``dptr.synth.worker.make_source`` raises.
    """
    from dptr.synth.worker import make_source

    described = recipe.model_dump(mode="json")
    work = SynthWork(described, count, size, describe_renderer(make_source(recipe)))
    asked = {"command": "synth", "count": count, "block": size, "recipe": described, "renderer": work.renderer}
    return Task(work, asked, (), size, -(-count // size))


def run_task(
    task: Task,
    out: str,
    run: Run,
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Record:
    """Do what is left of a job in its folder.

    Args:
        out: the folder, a path or an address.
        run: what does blocks.
        note: is called with what the user is to know.
        progress: is called with how many blocks are done, and of how many.

    Returns:
        How many inputs, rows, and failures the whole job has; ``block`` is the number of blocks.

    Raises:
        UserError: see ``dptr.batch.blocks.open_job``; or blocks could not be finished. Those that could be stay.
    """
    with open_job(out, task.asked, task.spans, task.size, task.blocks) as (job, other):
        if other:
            note(other)
        finished = job.finished()
        left = [block for block in range(job.blocks) if block not in finished]
        if finished and left:
            note(f"{len(finished)} of {job.blocks} blocks are finished already")
        progress(len(finished), job.blocks)
        records: list[Record] = []
        failed: list[Unfinished] = []
        with closing(run(job, task.work, left)) as outcomes:
            for done in outcomes:
                if isinstance(done, Record):
                    records.append(done)
                    progress(len(finished) + len(records), job.blocks)
                    continue
                failed.append(done)
                if len(failed) == MOST_UNFINISHED:
                    break
        if failed:
            missing = job.blocks - len(finished) - len(records)
            first = failed[0]
            raise UserError(
                f"{missing} of {job.blocks} blocks are not finished; block {first.block}: {first.reason}; "
                "mend that, and run the same command again"
            )
        return job.finish([*job.read_records(finished), *records])


def run_here(job: Job, work: Work, blocks: Sequence[int]) -> Done:
    """Do blocks in this process, one after the other."""
    do = work.open()
    for block in blocks:
        yield do_block(job, work, do, block)


def _describe(url: str, source: Source, size: int) -> dict[str, Any]:
    whole = str(Place(url)) if is_url(url) else os.path.abspath(url)
    return {"input": whole, "kind": source.kind, "column": source.column, "block": size}


def _describe_reader(settings: dict[str, Any], digest: str) -> dict[str, Any]:
    """What of the settings decides over the readings, as JSON."""
    held = {key: value for key, value in settings.items() if key not in ("device", "batch_size", "isolate")}
    charset = resolve_charset(held["charset"]).characters if held.get("charset") else ()
    lexicon = held.get("lexicon")
    return {
        **held, "model": f"{Path(held['model']).name} {digest}", "charset": "".join(charset),
        "lexicon": None if lexicon is None else sorted(lexicon),
    }  # fmt: skip


def _make_portable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that mean the same in another folder: whole paths, and the words of a lexicon in place of its file."""
    held = dict(settings)
    for name in ("model", "charset", "detector"):
        value = str(held.get(name) or "")
        if value and value not in (*SHIPPED, AUTO) and not is_url(value) and os.path.exists(value):
            held[name] = os.path.abspath(value)
    if isinstance(held.get("lexicon"), str | Path):
        held["lexicon"] = tuple(load_words(held["lexicon"]))
    return held
