"""Running a case within limits, and telling what it did wrong."""

from __future__ import annotations

import hashlib
import os
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dptr.utils.errors import UserError

SECONDS = 2.0  # of computing time that a case may take
MEMORY = 1 << 30  # bytes that a case may take

_PACKAGE = f"{os.sep}dptr{os.sep}"


@dataclass(frozen=True)
class Finding:
    """What a case did wrong.

    Attributes:
        kind: ``traceback``, ``hang``, ``memory``, or, of a process that ended, ``death``.
        place: where, so that the same fault is told once.
        text: all that is known of it.
    """

    kind: str
    place: str
    text: str

    @property
    def name(self) -> str:
        """Of the file that keeps the case."""
        return f"{self.kind}-{hashlib.sha256(self.place.encode()).hexdigest()[:8]}"


def limit_memory() -> None:
    """Let this process allocate ``MEMORY`` more than it has, from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def watch(run: Callable[[bytes], None], data: bytes, most: float = SECONDS) -> Finding | None:
    """Run a case. Memory is limited only where ``limit_memory`` was called.

    Args:
        most: seconds of computing time that it may take.
    """
    begun = time.process_time()
    found = None
    try:
        run(data)
    except UserError as error:
        if _out_of_memory(error):
            found = _describe("memory", error)
        elif "\n" in str(error):
            found = Finding("traceback", f"several lines: {_place(error)}", str(error))
    except Exception as error:
        found = _describe("memory" if _out_of_memory(error) else "traceback", error)
    seconds = time.process_time() - begun
    if found is None and seconds > most:
        found = Finding("hang", "", f"{seconds:.1f} s")
    return found


def _describe(kind: str, error: BaseException) -> Finding:
    text = "".join(traceback.format_exception(error))
    return Finding(kind, f"{type(error).__name__} {_place(error)}", text)


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "bad allocation" in str(error) or "bad_alloc" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in frame.filename] or frames
    return f"{ours[-1].filename.rpartition(_PACKAGE)[2]}:{ours[-1].name}" if ours else ""
