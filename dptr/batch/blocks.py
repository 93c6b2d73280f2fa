"""A job's folder: what was asked for, which blocks of inputs there are, and which of them are finished.

| file | what it is |
|---|---|
| ``_dptr.json`` | the job, written first |
| ``_plan.parquet`` | the spans of the input, a row group a block |
| ``TABLE/part-000012.parquet`` | what came of block 12; ``TABLE`` is named by the work |
| ``failures/part-000012.parquet`` | its inputs that could not be read, if there are any |
| ``_blocks/000012.json`` | written after those: block 12 is finished, with so many inputs, rows, and failures |
| ``_tries/000012.json`` | how often work on block 12 began; removed with its end |
| ``_finished.json`` | written last: all blocks are |

Each file is whole or not there. A block that is done again writes the same files again. So whatever is killed at
whatever moment, the same command goes on with the blocks that have no mark, and each input is in one part.
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
_ROUND = 32  # requests to a store at once


@dataclass(frozen=True)
class Record:
    """A finished block: how many inputs it held, rows it gave, and failures."""

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
        asked: what decides over the output, as JSON: another job is not mixed with it.
        blocks: how many there are.
        plan: the digest of the plan.
    """

    place: Place
    asked: dict[str, Any]
    blocks: int
    plan: str

    def spans(self, block: int) -> list[Span]:
        """The spans of a block of a planned job.

        Raises:
            UserError: the plan is damaged or of another job.
        """
        rows = _open_plan(self.place, self.plan).read_row_group(block).to_pylist()
        return [Span(os.fsdecode(row["name"]), row["first"], row["last"], row["rows"]) for row in rows]

    def finished(self) -> set[int]:
        """The numbers of finished blocks."""
        names = Place(_below(self.place, BLOCKS)).list() if _has_folder(self.place, BLOCKS) else []
        return {int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()}

    def is_finished(self, block: int) -> bool:
        """Whether a block is."""
        return self.place.exists(_mark(block))

    def read_record(self, block: int) -> Record:
        """What the mark of a finished block says.

        Raises:
            UserError: it is damaged.
        """
        name = _mark(block)
        try:
            held = json.loads(self.place.read(name))
            return Record(block, int(held["inputs"]), int(held["rows"]), int(held["failures"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{self.place}/{name}: damaged ({one_line(error)}); delete it, and run it again") from error

    def publish(self, block: int, inputs: int, table: str, rows: pa.Table, failures: pa.Table) -> Record:
        """Write what came of a block, and then its mark."""
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
        """Note that work on a block begins, and return how often it did."""
        name = _try(block)
        before = int(self.place.read(name)) if self.place.exists(name) else 0
        self.place.write(name, str(before + 1).encode())
        return before + 1

    def finish(self, records: Iterable[Record]) -> Record:
        """Write that all blocks are finished; the sums of their records."""
        held = [*records]
        sums = [sum(getattr(each, name) for each in held) for name in ("inputs", "rows", "failures")]
        total = Record(len(held), *sums)
        self.place.write(FINISHED, _json({"dptr": __version__, **asdict(total), "block": None, "blocks": len(held)}))
        return total

    def read_records(self, blocks: Iterable[int]) -> list[Record]:
        """The marks of finished blocks."""
        with ThreadPoolExecutor(_ROUND) as pool:
            return [*pool.map(self.read_record, blocks)]


@contextmanager
def open_job(
    url: str, asked: dict[str, Any], spans: Sequence[Span], size: int, blocks: int = 0
) -> Iterator[tuple[Job, str]]:
    """Begin a job in a folder, or go on with it. A local folder is locked meanwhile.

    Args:
        url: a folder; new, empty, or of the same job.
        asked: see ``Job``.
        spans: of the input, which are cut into blocks.
        size: items of a block, at least; the last holds the rest. A span is never cut.
        blocks: in place of ``spans``, how many there are: what is in each follows from its number.

    Returns:
        The job, and what the user is to know of it: that the input is another than when the job began, or "".

    Raises:
        UserError: the folder holds something else, another job, or cannot be written to; another run holds it.
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
            note = "the input is another than when this job began; the job goes on with what it was then"
            yield Job(place, asked, before["blocks"], before["plan"]), note
            return
        if before is None or changed:
            place.write(JOB, _json(described))
        if plan and not place.exists(PLAN):
            place.write(PLAN, plan)
        yield Job(place, asked, blocks, digest), ""


def cut_blocks(spans: Iterable[Span], size: int) -> Iterator[list[Span]]:
    """Spans in a row that together hold ``size`` items or more; a span of unknown size is a block of its own."""
    block: list[Span] = []
    held = 0
    for span in spans:
        if not span.rows:
            if block:
                yield block
            yield [span]
            block, held = [], 0
            continue
        block.append(span)
        held += span.rows
        if held >= size:
            yield block
            block, held = [], 0
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
    """Make a local folder where there is none, and lock it; a store has neither."""
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
    """The job that a folder holds; None for a new or empty one.

    Raises:
        UserError: it holds something else.
    """
    if place.exists(JOB):
        try:
            held = json.loads(place.read(JOB))
            if isinstance(held["job"], dict) and isinstance(held["plan"], str) and int(held["blocks"]) >= 0:
                return held
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise UserError(f"{place}: its {JOB} is damaged or of something else; pass another folder")
    names = [name for name in place.list() if not ASIDE.match(name.rpartition("/")[2])]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise UserError(f"{place}: not empty ({', '.join(names[:3])}{more}) and no job of dptr; pass another folder")
    return None


def _difference(before: dict[str, Any], asked: dict[str, Any]) -> str:
    """The first settings in which two jobs differ."""
    keys = [key for key in {**before, **asked} if before.get(key) != asked.get(key)]
    return "; ".join(f"{key} {before.get(key)!r}, not {asked.get(key)!r}" for key in keys[:2])


def _tidy(place: Place) -> None:
    """Remove what a killed run left: files that were being written, and counts of tries."""
    if place.local:
        for folder in (Path(place.url), *(path for path in Path(place.url).iterdir() if path.is_dir())):
            remove_partial(folder)
    if _has_folder(place, TRIES):
        for name in Place(_below(place, TRIES)).list():
            place.remove(f"{TRIES}/{name}")


def _below(place: Place, name: str) -> str:
    path, mark, settings = place.url.partition("?") if is_url(place.url) else (place.url, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{settings}"


def _has_folder(place: Place, name: str) -> bool:
    return not place.local or os.path.isdir(os.path.join(place.url, name))


def _mark(block: int) -> str:
    return f"{BLOCKS}/{block:06d}.json"


def _try(block: int) -> str:
    return f"{TRIES}/{block:06d}.json"


def _json(value: dict[str, Any]) -> bytes:
    return (dump_json(value) + "\n").encode()
