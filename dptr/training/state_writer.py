"""States written in a thread of their own, so that steps do not wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from dptr.utils.errors import UserError


class StateWriter:
    """Writes one state at a time in the background.

    What was begun is written to its end also when the program ends by an exception, a second Ctrl-C among them:
    Python waits for such threads. ``kill -9`` ends them, and leaves the state before whole.
    """

    def __init__(self) -> None:
        self._idle = Event()
        self._idle.set()
        self._error: Exception | None = None

    def submit(self, write: Callable[[], None]) -> None:
        """Begin to write, after what is being written.

        Raises:
            UserError: what that raised.
        """
        self.wait()
        self._idle.clear()
        Thread(target=self._work, args=(write,), name="state").start()

    def wait(self) -> None:
        """Until nothing is being written.

        Raises:
            UserError: what was written last could not be.
        """
        self._idle.wait()  # not ``Thread.join``: torn out of that by Ctrl-C, Python 3.11 no longer waits at its end
        error, self._error = self._error, None
        if error is not None:
            raise error

    def check(self) -> None:
        """Without waiting.

        Raises:
            UserError: as ``wait``.
        """
        if self._idle.is_set():
            self.wait()

    @contextmanager
    def finished(self, say: Callable[[str], None]) -> Iterator[None]:
        """At the end of the block, however it ends, nothing is being written.

        Args:
            say: told of a state that could not be written where another exception ends the block.

        Raises:
            UserError: as ``wait``.
        """
        try:
            yield
        except BaseException:
            try:
                self.wait()
            except UserError as error:
                say(f"warning: {error}")
            raise
        self.wait()

    def _work(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:
            self._error = error
        finally:
            self._idle.set()
