"""SIGTERM and SIGHUP end a command as Ctrl-C does: nothing is left half-written, and a line says so."""

from __future__ import annotations

import os
import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""The exit code of a command that was told to stop."""


@contextmanager
def stops_by_signals() -> Iterator[None]:
    """The first SIGTERM or SIGHUP raises ``KeyboardInterrupt`` meanwhile; the handlers are put back afterwards.

    Those that follow are passed over: a machine that is shut down and a terminal that is closed send several. SIGHUP is
    left alone where it is ignored (nohup). Processes that are forked meanwhile are ended by both, as without this. In
    another thread than the main one nothing is changed.
    """
    owner, came = os.getpid(), False

    def stop(number: int, frame: types.FrameType | None) -> None:
        nonlocal came
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(signal.Signals(number))
        elif not came:
            came = True
            raise KeyboardInterrupt

    in_charge = threading.current_thread() is threading.main_thread()
    names = [name for name in ("SIGTERM", "SIGHUP") if in_charge and hasattr(signal, name)]
    taken = [each for each in map(signal.Signals.__getitem__, names) if signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
