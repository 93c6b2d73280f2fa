"""Plan and run jobs: check the settings, process the unfinished blocks, and count the results."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dptr.batch.blocks import Job, Record, Unfinished, open_job
from dptr.batch.inputs import find_source
from dptr.batch.items import Source, Span
from dptr.batch.work import OcrWork, ReadWork, SynthWork, Work, describe_renderer, do_block, open_reader_of
from dptr.inference.auto import digest_reader
from dptr.text.charset import CHARSETS, resolve_charset
from dptr.text.languages import LANGUAGES
from dptr.text.lexicon import FileWords
from dptr.utils.errors import UserError
from dptr.utils.places import Place, is_url
from dptr.weights import AUTO, SHIPPED
from dptr.weights.packages import find_folder

READ_BLOCK, OCR_BLOCK, SYNTH_BLOCK = 1024, 16, 2000  # inputs in a block
MOST_UNFINISHED = 16  # failed blocks after which a run stops; the next run does the rest

Done = Generator[Record | Unfinished, None, None]
Run = Callable[[Job, Work, Sequence[int]], Done]
"""Processes blocks: ``dptr.batch.engine.run_blocks`` with a pool, or ``run_here``."""


@dataclass(frozen=True)
class Task:
    """A planned job.

    Attributes:
        work: what to do with each block.
        asked: the settings that determine the output (``dptr.batch.blocks.Job``).
        spans: the spans of the input, which are grouped into blocks of ``size`` inputs; empty for jobs without input
            files, which give the number of ``blocks`` instead.
    """

    work: Work
    asked: dict[str, Any]
    spans: tuple[Span, ...] = ()
    size: int = READ_BLOCK
    blocks: int = 0


def plan_reading(url: str, settings: dict[str, Any], column: str = "", kind: str = "", size: int = READ_BLOCK) -> Task:
    """Plan a job that reads all word crops at a path or URL.

    Args:
        url: the input.
        settings: ``model``, and the fields of ``dptr.inference.reader.ReaderOptions``.
        column, kind: see ``dptr.batch.inputs.find_source``.
        size: crops in a block. One process reads a block; if the process dies, the block is read again.

    Raises:
        UserError: see ``find_source`` and ``dptr.inference.auto.open_reader``.
    """
    settings = _make_portable(settings)
    source, spans = find_source(url, column, kind)
    open_reader_of({**settings, "device": "cpu"})  # reports wrong settings here, before a worker meets them
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
    """Plan a job that reads all photographs and documents at a path or URL.

    Args:
        url: the input.
        settings: arguments of ``dptr.photo.ocr.OCR``.
        options, isolate, least: see ``dptr.batch.work.OcrWork``.
        column, kind, size: as for ``plan_reading``.

    Raises:
        UserError: see ``find_source``, ``OCR``, and ``dptr.photo.inputs.InputOptions``.
    """
    from dptr.photo.detect import DETECTORS, digest_detector
    from dptr.photo.inputs import SUFFIXES_READ, InputOptions
    from dptr.photo.ocr import OCR

    InputOptions(**options)
    settings = _make_portable(settings)
    if "detector" in settings:
        settings["detector"] = _absolute_path(settings["detector"], DETECTORS)
    source, spans = find_source(url, column, kind, frozenset(SUFFIXES_READ))
    OCR(**{**settings, "device": "cpu"})
    detector = digest_detector(settings.get("detector", ""))
    work = OcrWork(source, settings, options, isolate, least, digest_reader(settings["model"]), detector)
    asked = {
        "command": "ocr",
        **_describe(url, source, size),
        **_describe_reader(settings, work.digest),
        **({"detector": f"{Path(settings['detector']).name} {detector}"} if detector else {}),
        **options,
        "least": least,
    }
    return Task(work, asked, tuple(spans), size)


def plan_synth(recipe: Any, count: int, size: int = SYNTH_BLOCK) -> Task:
    """Plan a job that renders the samples 0..``count - 1`` of a ``dptr.config.train.SynthRecipe``.

    Raises:
        UserError: see ``dptr.synth.manifest.check_unstretched`` and ``dptr.synth.worker.make_source``.
    """
    from dptr.synth.manifest import check_unstretched
    from dptr.synth.worker import make_source

    check_unstretched(recipe.size)
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
    """Begin or continue a job in its folder.

    Args:
        task: the job.
        out: the folder, a path or URL.
        run: processes blocks.
        note: called with notes for the user.
        progress: called with the number of finished blocks and the number of all blocks.

    Returns:
        The numbers of inputs, rows, and failures of the whole job; ``block`` is the number of blocks.

    Raises:
        UserError: see ``dptr.batch.blocks.open_job``; or some blocks could not be finished. Finished blocks are kept.
    """
    with open_job(out, task.asked, task.spans, task.size, task.blocks) as (job, change):
        if change:
            note(change)
        finished = job.finished()
        remaining = [block for block in range(job.blocks) if block not in finished]
        if finished and remaining:
            note(f"{len(finished)} of {job.blocks} blocks are finished already")
        progress(len(finished), job.blocks)
        records: list[Record] = []
        failed: list[Unfinished] = []
        with closing(run(job, task.work, remaining)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Record):
                    records.append(outcome)
                    progress(len(finished) + len(records), job.blocks)
                    continue
                failed.append(outcome)
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
    """Process blocks in this process, one after the other.

    Raises:
        UserError: see ``dptr.batch.work.Work.open``.
    """
    do = work.open()
    for block in blocks:
        yield do_block(job, work, do, block)


def _describe(url: str, source: Source, size: int) -> dict[str, Any]:
    absolute = str(Place(url)) if is_url(url) else os.path.abspath(url)
    return {"input": absolute, "kind": source.kind, "column": source.column, "block": size}


def _describe_reader(settings: dict[str, Any], digest: str) -> dict[str, Any]:
    """The settings that determine the readings, as JSON."""
    relevant = {key: value for key, value in settings.items() if key not in ("device", "batch_size", "isolate")}
    charset = resolve_charset(relevant["charset"]).characters if relevant.get("charset") else ()
    lexicon = relevant.get("lexicon")
    return {
        **relevant, "model": f"{Path(relevant['model']).name} {digest}", "charset": "".join(charset),
        "lexicon": None if lexicon is None else sorted(lexicon),
    }  # fmt: skip


def _make_portable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that do not depend on the working folder: absolute paths, and a lexicon's words instead of its file."""
    portable = dict(settings)
    if find_folder(portable["model"]) == Path(portable["model"]):  # it is not the name of an installed recognizer
        portable["model"] = _absolute_path(portable["model"], (*SHIPPED, AUTO))
    portable["charset"] = _absolute_path(portable.get("charset", ""), (*CHARSETS, *LANGUAGES))
    if isinstance(portable.get("lexicon"), str | Path):
        portable["lexicon"] = FileWords.load(portable["lexicon"])
    return portable


def _absolute_path(value: str | Path, known: Collection[str]) -> str:
    """The absolute path of a file or folder. Names in ``known`` and URLs stay as they are."""
    value = str(value)
    is_path = value and value not in known and not is_url(value) and os.path.exists(value)
    return os.path.abspath(value) if is_path else value
