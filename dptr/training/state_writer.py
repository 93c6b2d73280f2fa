"""Writes training states in a background thread, so that steps do not wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from dptr.utils.errors import UserError
from dptr.utils.threads import begin


class StateWriter:
    """Writes one state at a time in the background.

    A write that has begun is completed even if the program ends by an exception or a second Ctrl-C, since Python waits
    for the thread. ``kill -9`` ends it too, and leaves the previous state whole.
    """

    def __init__(self) -> None:
        self._pending: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Wait for the previous write, then begin this one.

        Raises:
            UserError: the previous write failed.
        """
        self.wait()
        self._pending = Future()
        begin(self._pending, "state", write)

    def wait(self) -> None:
        """Wait for the write in progress.

        Raises:
            UserError: the last write failed.
        """
        if self._pending is not None:
            error = self._pending.exception()  # after Ctrl-C here, the next call waits for it
            self._pending = None
            if error is not None:
                raise error

    def check(self) -> None:
        """Raise the error of a finished write, without waiting for one in progress.

        Raises:
            UserError: the last write failed.
        """
        if self._pending is not None and self._pending.done():
            self.wait()

    @contextmanager
    def waiting_at_exit(self, say: Callable[[str], None]) -> Iterator[None]:
        """Wait for the write in progress at the end of the block, however it ends.

        Args:
            say: gets a warning if a write failed while another exception ends the block.

        Raises:
            UserError: the last write failed.
        """
        try:
            yield
        except BaseException:
            try:
                if self._pending is not None and not self._pending.cancel():  # cancelled: its thread never started
                    self.wait()
            except UserError as error:
                say(f"warning: {error}")
            raise
        self.wait()
