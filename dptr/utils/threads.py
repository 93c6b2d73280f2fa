"""Functions that run in a thread, and that an interrupt of the main thread cannot lose.

``KeyboardInterrupt`` may come while a thread is being started. A thread pool would then forget the thread, which goes
on running.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def begin(future: Future[Result], name: str, function: Callable[..., Result], *arguments: Any) -> None:
    """Start a thread that runs ``function``; ``future`` gets its result or its exception."""

    def work() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # ``future.result`` raises it
                future.set_exception(error)

    Thread(target=work, name=name).start()


def stop(future: Future[Any]) -> None:
    """Cancel the function of ``begin`` if it has not started; else wait for its end."""
    if not future.cancel():
        future.exception()
