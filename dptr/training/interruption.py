"""Ctrl-C and other signals to stop: training finishes the current step and saves its state before it ends."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Whether this process received a signal to stop.

    Attributes:
        requested: True once a signal arrived within ``handle_signals``.
    """

    def __init__(self) -> None:
        self.requested = False
        self._had_ctrl_c = False

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Record signals to stop in ``requested``; restore the previous handlers afterwards.

        The signals are SIGINT (Ctrl-C), SIGTERM, and SIGHUP; not SIGHUP if the run ignores it (nohup). A shutdown sends
        several of them, so only a second Ctrl-C ends the run at once. Outside the main thread nothing is recorded: the
        caller handles signals there.

        Raises:
            KeyboardInterrupt: at the second SIGINT.
        """
        is_main = threading.current_thread() is threading.main_thread()
        previous = {number: signal.signal(number, self._record) for number in (_stop_signals() if is_main else ())}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _record(self, number: int, frame: types.FrameType | None) -> None:
        if number == signal.SIGINT and self._had_ctrl_c:
            raise KeyboardInterrupt
        self._had_ctrl_c |= number == signal.SIGINT
        self.requested = True


def _stop_signals() -> list[signal.Signals]:
    """The signals to handle; SIGINT even if the shell that started the run in the background ignores it."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    signals = [signal.Signals[name] for name in names]
    return [each for each in signals if each.name != "SIGHUP" or signal.getsignal(each) != signal.SIG_IGN]
