"""Finds words in a background thread, so that people can start labeling before all files are read."""

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
    """The progress of a ``Finder``.

    Attributes:
        done, total: the number of files that were read, and of all files.
        running: whether the thread still works.
        error: why the thread ended early; empty if it did not.
        missing: one sentence for each script in the files that no installed recognizer reads.
    """

    done: int = 0
    total: int = 0
    running: bool = False
    error: str = ""
    missing: list[str] = field(default_factory=list)


class Finder:
    """Runs ``dptr.label.propose.propose`` in a thread.

    Args:
        store: the label set that the words are added to.
        crops: whether each picture is one word.
        threshold: the confidence from which words are accepted unseen, 0 to 1; above 1 none is.
    """

    def __init__(self, store: Store, crops: bool = False, threshold: float = THRESHOLD) -> None:
        self.store, self.crops, self.threshold = store, crops, threshold
        self.progress = Progress()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sources: Sequence[str], ocr: OCR) -> None:
        """Start to find words in files. Call it once only; without files it does nothing."""
        assert self._thread is None, "it was started before"
        if not sources:
            return
        self.progress = Progress(0, len(sources), True)
        self._thread = threading.Thread(target=self._run, args=(sources, ocr), name="dptr-finder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the files that are being read, and end the thread. A later run continues with the other files."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, sources: Sequence[str], ocr: OCR) -> None:
        try:
            summary = propose(
                self.store, sources, ocr, self.crops, self.threshold,
                done=self._set_done, stopped=self._stop.is_set, complain=say_error, tell=self._report_missing,
            )  # fmt: skip
            say(summary.describe())
        except UserError as error:
            self.progress.error = " ".join(str(error).split())
            say_error(error)
        finally:
            self.progress.running = False

    def _report_missing(self, note: str) -> None:
        self.progress.missing.append(note)
        say(f"dptr: {note}")

    def _set_done(self, done: int) -> None:
        self.progress.done = done
