"""Requests of different callers, computed together.

Callers put items into a queue and get a future for each. A thread takes the items that are of one kind, a few
milliseconds' worth or whatever came while it was busy, and computes them together.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

_LONGEST_WAIT = 60  # seconds that ``Busy`` asks for at most


class Busy(Exception):
    """The queue is full; ``seconds`` is when it will be worth trying again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


class Batcher(Generic[Item, Outcome]):
    """A bounded queue, and a thread that computes what is in it.

    Args:
        run: computes items of one kind: (kind, items) to an outcome for each, in order. It may take the items one by
            one while it yields outcomes. What it raises goes to those whose items it has taken.
        queue: items that wait at most.
        together: items that one call of ``run`` gets at most.
        wait: seconds to wait for further items after the first, if none are there.
        name: of the thread.
        observe: is called with the number of items of each call of ``run``.
    """

    def __init__(
        self,
        run: Callable[[Any, Iterator[Item]], Iterable[Outcome]],
        queue: int,
        together: int,
        wait: float,
        name: str,
        observe: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._run, self._queue, self._together, self._wait, self._observe = run, queue, together, wait, observe
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Hashable, deque[tuple[Future[Outcome], Item]]] = OrderedDict()
        self._closed = False
        self._seconds = 0.0  # that an item takes, averaged over the last ones
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, kind: Hashable, items: Sequence[Item]) -> list[Future[Outcome]]:
        """Put items into the queue, all or none.

        Args:
            kind: items of one kind are computed together.

        Raises:
            Busy: they do not fit.
        """
        with self._changed:
            if self._closed:
                raise Busy(1)
            if not items:  # a kind without items would be taken for work, again and again
                return []
            if self._count() + len(items) > self._queue:
                self._forget_cancelled()
            if (waiting := self._count()) + len(items) > self._queue:
                raise Busy(min(max(1, math.ceil(waiting * self._seconds)), _LONGEST_WAIT))
            futures: list[Future[Outcome]] = [Future() for _ in items]
            self._waiting.setdefault(kind, deque()).extend(zip(futures, items, strict=True))
            self._changed.notify()
        return futures

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        with self._changed:
            return self._count()

    @property
    def alive(self) -> bool:
        """Whether items are taken."""
        return not self._closed and self._thread.is_alive()

    def close(self) -> None:
        """Finish what is being computed, and cancel the rest."""
        with self._changed:
            self._closed = True
            for future, _ in (each for items in self._waiting.values() for each in items):
                future.cancel()
            self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _forget_cancelled(self) -> None:
        for kind, items in [*self._waiting.items()]:
            if kept := deque(each for each in items if not each[0].cancelled()):
                self._waiting[kind] = kept
            else:
                del self._waiting[kind]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if self._closed:
                    return
                kind = next(iter(self._waiting))  # the one that was served longest ago
            self._compute(kind)

    def _compute(self, kind: Hashable) -> None:
        deadline = time.monotonic() + self._wait
        if (first := self._take(kind, 0.0)) is None:  # all were cancelled
            return
        begun = time.monotonic()
        taken: deque[Future[Outcome]] = deque()
        count = 0

        def items() -> Generator[Item, None, None]:
            nonlocal count
            following: tuple[Future[Outcome], Item] | None = first
            while following is not None:
                taken.append(following[0])
                count += 1
                yield following[1]
                following = self._take(kind, deadline) if count < self._together else None

        source = items()
        try:
            for outcome in self._run(kind, source):
                taken.popleft().set_result(outcome)
            if taken or not count:
                raise RuntimeError(f"{len(taken)} items without outcome")
        except Exception as error:  # raised where the outcome is awaited
            if not count:
                taken.append(first[0])
            for future in taken:
                future.set_exception(error)
        source.close()
        self._seconds += 0.2 * ((time.monotonic() - begun) / max(count, 1) - self._seconds)
        self._observe(count)

    def _take(self, kind: Hashable, deadline: float) -> tuple[Future[Outcome], Item] | None:
        """The next item of that kind, waited for until ``deadline``; None if there is none."""
        with self._changed:
            while True:
                items = self._waiting.get(kind)
                while items:
                    future, item = items.popleft()
                    if items:
                        self._waiting.move_to_end(kind)
                    else:
                        del self._waiting[kind]
                    if future.set_running_or_notify_cancel():
                        return future, item
                rest = deadline - time.monotonic()
                if rest <= 0 or self._closed:
                    return None
                self._changed.wait(rest)


def cancel(futures: Iterable[Future[Any]]) -> None:
    """Give up futures; those that are being computed go on, and nobody waits for them."""
    for future in futures:
        future.cancel()
