"""Make SIGTERM and SIGHUP end a command like Ctrl-C: no partial files are left, and a line says that it was stopped."""

from __future__ import annotations

import os
import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""The exit code of a command that was interrupted."""


@contextmanager
def stops_by_signals() -> Iterator[None]:
    """In the ``with`` block, the first SIGTERM or SIGHUP raises ``KeyboardInterrupt``.

    Later signals are ignored, because shutting down a machine or closing a terminal sends several. SIGHUP stays ignored
    if it was ignored before (nohup). The signals still end forked processes in the default way. The handlers are
    restored afterwards. In a thread other than the main one, this function changes nothing.
    """
    owner, stopped = os.getpid(), False

    def stop(number: int, frame: types.FrameType | None) -> None:
        nonlocal stopped
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(signal.Signals(number))
        elif not stopped:
            stopped = True
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    names = [name for name in ("SIGTERM", "SIGHUP") if is_main and hasattr(signal, name)]
    signals = [each for each in map(signal.Signals.__getitem__, names) if signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
