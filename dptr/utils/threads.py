"""A function in a thread of its own, which an interrupt of the first thread cannot lose.

``KeyboardInterrupt`` may come while a thread is being started. A pool then forgets the thread, which runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def begin(future: Future[Result], name: str, function: Callable[..., Result], *arguments: Any) -> None:
    """Start a thread that runs ``function``; what it returns or raises goes to ``future``."""

    def work() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # raised by ``future``
                future.set_exception(error)

    Thread(target=work, name=name).start()


def stop(future: Future[Any]) -> None:
    """Return once the function of ``begin`` does not run: it has ended, or was not begun and never will be."""
    if not future.cancel():
        future.exception()
