"""The folder of a job: its settings, its blocks of inputs, and which blocks are finished.

| file | content |
|---|---|
| ``_dptr.json`` | the job; written first |
| ``_plan.parquet`` | the spans of the input, a row group for each block |
| ``TABLE/part-000012.parquet`` | the results of block 12; the kind of work determines ``TABLE`` |
| ``failures/part-000012.parquet`` | the inputs of block 12 that could not be read, if any |
| ``_blocks/000012.json`` | marks block 12 as finished and counts its inputs, rows, and failures; written after these |
| ``_tries/000012.json`` | how often work on block 12 began; removed when the block is finished |
| ``_finished.json`` | all blocks are finished; written last |

All writes are atomic, and a repeated block writes the same files again. Any process can therefore be killed at any
time: the same command continues with the blocks that have no mark, and each input is in exactly one part.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from dptr.batch.items import Span
from dptr.utils.errors import UserError, one_line
from dptr.utils.escapes import dump_json
from dptr.utils.files import lock_folder, remove_partial
from dptr.utils.outputs import ASIDE
from dptr.utils.places import Place, is_url
from dptr.version import __version__

JOB, PLAN, FINISHED = "_dptr.json", "_plan.parquet", "_finished.json"
BLOCKS, TRIES, FAILURES = "_blocks", "_tries", "failures"
_PLAN = pa.schema([("name", pa.binary()), ("first", pa.int64()), ("last", pa.int64()), ("rows", pa.int64())])
_REQUESTS = 32  # concurrent requests to a store


@dataclass(frozen=True)
class Record:
    """A finished block: its number, and its numbers of inputs, rows, and failures."""

    block: int
    inputs: int
    rows: int
    failures: int


@dataclass(frozen=True)
class Unfinished:
    """A block that could not be finished, and why."""

    block: int
    reason: str


@dataclass(frozen=True)
class Job:
    """A job in its folder.

    Attributes:
        place: the folder.
        asked: the settings that determine the output, as JSON. A folder accepts only a job with equal settings.
        blocks: number of blocks.
        plan: SHA-256 of the plan.
    """

    place: Place
    asked: dict[str, Any]
    blocks: int
    plan: str

    def spans(self, block: int) -> list[Span]:
        """The spans of a block of a planned job.

        Raises:
            UserError: the plan is damaged or belongs to another job.
        """
        rows = _open_plan(self.place, self.plan).read_row_group(block).to_pylist()
        return [Span(os.fsdecode(row["name"]), row["first"], row["last"], row["rows"]) for row in rows]

    def finished(self) -> set[int]:
        """The numbers of finished blocks."""
        names = Place(_below(self.place, BLOCKS)).list() if _has_folder(self.place, BLOCKS) else []
        return {int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()}

    def is_finished(self, block: int) -> bool:
        """Whether a block is finished."""
        return self.place.exists(_mark(block))

    def read_record(self, block: int) -> Record:
        """Read the mark of a finished block.

        Raises:
            UserError: the mark is damaged.
        """
        name = _mark(block)
        try:
            counts = json.loads(self.place.read(name))
            return Record(block, int(counts["inputs"]), int(counts["rows"]), int(counts["failures"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.place}/{name}: damaged ({one_line(error)}); delete it, and run it again") from error

    def publish(self, block: int, inputs: int, table: str, rows: pa.Table, failures: pa.Table) -> Record:
        """Write the results and failures of a block, and then its mark; ``table`` is the folder of the results."""
        for name, each in ((table, rows), (FAILURES, failures)):
            if len(each):
                data = io.BytesIO()
                parquet.write_table(each, data, compression="zstd")
                self.place.write(f"{name}/part-{block:06d}.parquet", data.getvalue())
        record = Record(block, inputs, len(rows), len(failures))
        self.place.write(_mark(block), _json(asdict(record)))
        self.place.remove(_try(block))
        return record

    def count_try(self, block: int) -> int:
        """Record that work on a block begins, and return the number of tries so far, this one included."""
        name = _try(block)
        before = int(self.place.read(name)) if self.place.exists(name) else 0
        self.place.write(name, str(before + 1).encode())
        return before + 1

    def finish(self, records: Iterable[Record]) -> Record:
        """Record that all blocks are finished.

        Returns:
            The sums over all records; ``block`` is the number of blocks.
        """
        finished = [*records]
        sums = [sum(getattr(each, name) for each in finished) for name in ("inputs", "rows", "failures")]
        total = Record(len(finished), *sums)
        content = {"dptr": __version__, **asdict(total), "block": None, "blocks": len(finished)}
        self.place.write(FINISHED, _json(content))
        return total

    def read_records(self, blocks: Iterable[int]) -> list[Record]:
        """Read the marks of finished blocks.

        Raises:
            UserError: a mark is damaged.
        """
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return [*pool.map(self.read_record, blocks)]


@contextmanager
def open_job(
    url: str, asked: dict[str, Any], spans: Sequence[Span], size: int, blocks: int = 0
) -> Iterator[tuple[Job, str]]:
    """Begin a job in a folder, or continue it. A local folder stays locked in the ``with`` block.

    Args:
        url: a folder that is new, empty, or holds the same job.
        asked: see ``Job``.
        spans: the spans of the input, which are grouped into blocks.
        size: smallest number of items in a block, except for the last one. A span is never split.
        blocks: number of blocks, instead of ``spans``, if a block's number alone determines its inputs.

    Yields:
        The job, and a note for the user if the input has changed since the job began, else "".

    Raises:
        UserError: the folder holds another job or something else, is not writable, or is locked by another run.
    """
    place = Place(url if is_url(url) else os.path.abspath(url))
    plan = _write_plan(spans, size) if spans else b""
    blocks = parquet.ParquetFile(io.BytesIO(plan)).num_row_groups if plan else blocks
    digest = hashlib.sha256(plan).hexdigest()
    described = {
        "dptr": __version__,
        "job": asked,
        "blocks": blocks,
        "inputs": sum(span.rows for span in spans),
        "plan": digest,
    }
    with _open_folder(place):
        before = _read_job(place)
        if before is not None and before["job"] != json.loads(dump_json(asked)):
            raise UserError(f"{place}: holds another job ({_difference(before['job'], asked)}); pass another folder")
        _tidy(place)
        changed = before is not None and before["plan"] != digest
        if before is not None and changed and place.exists(PLAN):
            note = "the input has changed since this job began; the job continues with the input as it was then"
            yield Job(place, asked, before["blocks"], before["plan"]), note
            return
        if before is None or changed:
            place.write(JOB, _json(described))
        if plan and not place.exists(PLAN):
            place.write(PLAN, plan)
        yield Job(place, asked, blocks, digest), ""


def cut_blocks(spans: Iterable[Span], size: int) -> Iterator[list[Span]]:
    """Group consecutive spans into blocks of at least ``size`` items; a span of unknown size is a block by itself."""
    block: list[Span] = []
    items = 0
    for span in spans:
        if not span.rows:
            if block:
                yield block
            yield [span]
            block, items = [], 0
            continue
        block.append(span)
        items += span.rows
        if items >= size:
            yield block
            block, items = [], 0
    if block:
        yield block


def _write_plan(spans: Sequence[Span], size: int) -> bytes:
    data = io.BytesIO()
    with parquet.ParquetWriter(data, _PLAN, compression="zstd") as writer:
        for block in cut_blocks(spans, size):
            columns = [
                [os.fsencode(span.name) for span in block],
                [span.first for span in block], [span.last for span in block], [span.rows for span in block],
            ]  # fmt: skip
            writer.write_table(pa.table(columns, schema=_PLAN), row_group_size=len(block))
    return data.getvalue()


@lru_cache(maxsize=4)
def _open_plan(place: Place, digest: str) -> parquet.ParquetFile:
    data = place.read(PLAN)
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"{place}/{PLAN}: damaged, or of another job; begin the job in another folder")
    return parquet.ParquetFile(pa.BufferReader(data))


@contextmanager
def _open_folder(place: Place) -> Iterator[None]:
    """Create and lock a local folder. A remote store has neither folders nor locks."""
    if not place.local:
        yield
        return
    if os.path.lexists(place.url) and not os.path.isdir(place.url):
        raise UserError(f"cannot write {place}: a file; pass the name of a folder")
    try:
        Path(place.url).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}; pass another folder") from error
    with lock_folder(Path(place.url)):
        yield


def _read_job(place: Place) -> dict[str, Any] | None:
    """The job in a folder, or None if the folder is empty.

    Raises:
        UserError: the folder holds something else.
    """
    if place.exists(JOB):
        try:
            job = json.loads(place.read(JOB))
            if isinstance(job["job"], dict) and isinstance(job["plan"], str) and int(job["blocks"]) >= 0:
                return job
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise UserError(f"{place}: its {JOB} is damaged or of something else; pass another folder")
    names = [name for name in place.list() if not ASIDE.match(name.rpartition("/")[2])]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise UserError(f"{place}: not empty ({', '.join(names[:3])}{more}) and no job of dptr; pass another folder")
    return None


def _difference(before: dict[str, Any], asked: dict[str, Any]) -> str:
    """The first two settings in which two jobs differ, for an error message."""
    keys = [key for key in {**before, **asked} if before.get(key) != asked.get(key)]
    return "; ".join(f"{key} {before.get(key)!r}, not {asked.get(key)!r}" for key in keys[:2])


def _tidy(place: Place) -> None:
    """Remove what a killed run left behind: partial files, and the counts of tries."""
    if place.local:
        for folder in (Path(place.url), *(path for path in Path(place.url).iterdir() if path.is_dir())):
            remove_partial(folder)
    if _has_folder(place, TRIES):
        for name in Place(_below(place, TRIES)).list():
            place.remove(f"{TRIES}/{name}")


def _below(place: Place, name: str) -> str:
    """The path or URL of a folder in a place; the query of a URL is kept."""
    path, mark, query = place.url.partition("?") if is_url(place.url) else (place.url, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{query}"


def _has_folder(place: Place, name: str) -> bool:
    """Whether a local folder exists; a remote store can be listed in any case."""
    return not place.local or os.path.isdir(os.path.join(place.url, name))


def _mark(block: int) -> str:
    return f"{BLOCKS}/{block:06d}.json"


def _try(block: int) -> str:
    return f"{TRIES}/{block:06d}.json"


def _json(value: dict[str, Any]) -> bytes:
    return (dump_json(value) + "\n").encode()
