"""Functions in threads that an interrupt cannot lose."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError, Future
from threading import Thread

import pytest

from dptr.photo.outputs.pdf import _Apart
from dptr.utils.threads import begin, stop


def test_what_it_returns_and_raises() -> None:
    returned: Future[int] = Future()
    begin(returned, "sum", sum, [1, 2])
    assert returned.result(5) == 3
    failed: Future[int] = Future()
    begin(failed, "sum", sum, ["a"])
    with pytest.raises(TypeError):
        failed.result(5)


def test_stopped_before_it_begins_it_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[Thread] = []
    ran: list[int] = []
    monkeypatch.setattr(Thread, "start", lambda thread: threads.append(thread))
    future: Future[None] = Future()
    begin(future, "later", ran.append, 1)
    stop(future)
    monkeypatch.undo()
    threads[0].start()
    threads[0].join(5)
    assert not ran
    with pytest.raises(CancelledError):
        future.result(0)


def test_an_interrupt_while_the_thread_starts_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C in ``Thread.start``, once the thread runs: pdfium must not be called from two threads."""
    ended: list[int] = []
    start = Thread.start

    def work() -> None:
        time.sleep(0.2)
        ended.append(1)

    def interrupted(thread: Thread) -> None:
        start(thread)
        time.sleep(0.05)
        raise KeyboardInterrupt

    apart = _Apart()
    monkeypatch.setattr(Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        apart.run(work)
    assert ended and apart.given_up
