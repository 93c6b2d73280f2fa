"""States written in a thread of their own, so that steps do not wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from dptr.utils.errors import UserError
from dptr.utils.threads import begin


class StateWriter:
    """Writes one state at a time in the background.

    What was begun is written to its end also when the program ends by an exception, a second Ctrl-C among them:
    Python waits for such threads. ``kill -9`` ends them, and leaves the state before whole.
    """

    def __init__(self) -> None:
        self._written: Future[None] | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begin to write, after what is being written.

        Raises:
            UserError: what that raised.
        """
        self.wait()
        self._written = Future()
        begin(self._written, "state", write)

    def wait(self) -> None:
        """Until nothing is being written.

        Raises:
            UserError: what was written last could not be.
        """
        if self._written is not None:
            error = self._written.exception()  # Ctrl-C leaves it to the next call
            self._written = None
            if error is not None:
                raise error

    def check(self) -> None:
        """Without waiting.

        Raises:
            UserError: as ``wait``.
        """
        if self._written is not None and self._written.done():
            self.wait()

    @contextmanager
    def finished(self, say: Callable[[str], None]) -> Iterator[None]:
        """At the end of the block, however it ends, nothing is being written.

        Args:
            say: gets a warning of a state that could not be written, if another exception ends the block.

        Raises:
            UserError: as ``wait``.
        """
        try:
            yield
        except BaseException:
            try:
                if self._written is not None and not self._written.cancel():  # else its thread never started
                    self.wait()
            except UserError as error:
                say(f"warning: {error}")
            raise
        self.wait()
