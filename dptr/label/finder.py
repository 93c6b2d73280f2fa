"""Finding words in the background, while the page already asks about those that were found."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from dptr.label.propose import THRESHOLD, propose
from dptr.label.store import Store
from dptr.photo.ocr import OCR
from dptr.utils.errors import UserError
from dptr.utils.terminal import say, say_error


@dataclass
class Progress:
    """How far the finding is.

    Attributes:
        done, total: files.
        running: whether it goes on.
        error: why it ended early; empty if it did not.
        missing: a sentence on each script that no installed recognizer reads.
    """

    done: int = 0
    total: int = 0
    running: bool = False
    error: str = ""
    missing: list[str] = field(default_factory=list)


class Finder:
    """Runs ``propose`` in a thread.

    Args:
        crops, threshold: as for ``propose``.
    """

    def __init__(self, store: Store, crops: bool = False, threshold: float = THRESHOLD) -> None:
        self.store, self.crops, self.threshold = store, crops, threshold
        self.progress = Progress()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sources: Sequence[str], ocr: OCR) -> None:
        """Find words in files; once only."""
        assert self._thread is None, "it was started before"
        if not sources:
            return
        self.progress = Progress(0, len(sources), True)
        self._thread = threading.Thread(target=self._run, args=(sources, ocr), name="dptr-finder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after what is being read; what was found is in the set, and the next run goes on from there."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, sources: Sequence[str], ocr: OCR) -> None:
        try:
            found = propose(
                self.store, sources, ocr, self.crops, self.threshold,
                done=self._count, stopped=self._stop.is_set, complain=say_error, tell=self._tell,
            )  # fmt: skip
            say(found.describe())
        except UserError as error:
            self.progress.error = " ".join(str(error).split())
            say_error(error)
        finally:
            self.progress.running = False

    def _tell(self, note: str) -> None:
        self.progress.missing.append(note)
        say(f"dptr: {note}")

    def _count(self, done: int) -> None:
        self.progress.done = done
