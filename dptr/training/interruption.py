"""Ctrl-C and its kin in a training: the current step is finished, and its state saved, before the run ends."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Whether a signal to stop came to this process.

    Attributes:
        came: it did, while ``caught``.
    """

    def __init__(self) -> None:
        self.came = False
        self._by_hand = False  # one of them was Ctrl-C

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note a signal to stop in ``came``; a second Ctrl-C raises at once. The handlers are put back afterwards.

        The signals are SIGINT (Ctrl-C), SIGTERM and, but for a run that was started to outlive its terminal (nohup),
        SIGHUP. A machine that is shut down, or a program that ends with all that it started, sends several different
        ones, which are one wish to stop. In another thread than the main one the caller handles them.

        Raises:
            KeyboardInterrupt: by the second SIGINT.
        """
        in_charge = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._note) for number in (_stop_signals() if in_charge else ())}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        if number == signal.SIGINT and self._by_hand:
            raise KeyboardInterrupt
        self._by_hand |= number == signal.SIGINT
        self.came = True


def _stop_signals() -> list[signal.Signals]:
    """SIGINT counts also where the shell that started the run in the background had it ignored."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    signals = [signal.Signals[name] for name in names]
    return [each for each in signals if each.name != "SIGHUP" or signal.getsignal(each) != signal.SIG_IGN]
