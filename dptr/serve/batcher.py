"""Dynamic batching: a bounded queue whose items, from different callers, are computed together.

Callers put items into the queue and get a future for each. A thread computes items of the same kind in one batch: those
that arrived while it was busy, or else within a short waiting time after the first.
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

_LONGEST_WAIT = 60  # seconds; the longest time that ``Busy`` gives


class Busy(Exception):
    """The queue is full, or the batcher is closed.

    Args:
        seconds: after this time another try is worthwhile.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


class Batcher(Generic[Item, Outcome]):
    """A bounded queue, and a thread that computes its items in batches.

    Args:
        run: computes a batch: maps a kind and an iterator of items to one outcome for each item, in order. It may take
            items from the iterator while it yields outcomes. If it raises, the futures of the items that it has taken
            and that have no outcome yet get the exception.
        queue: the largest number of waiting items.
        together: the largest number of items in a batch.
        wait: seconds for which a batch stays open for further items when the queue has none of its kind.
        name: the name of the thread.
        observe: called with the size of each batch.
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
        self._seconds = 0.0  # per item: exponential moving average over batches
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, kind: Hashable, items: Sequence[Item]) -> list[Future[Outcome]]:
        """Put items into the queue, all or none.

        Args:
            kind: items of the same kind can be in one batch.
            items: the items.

        Returns:
            The future of each item, in order. A future can be canceled while its item waits.

        Raises:
            Busy: the items do not fit into the queue, or the batcher is closed.
        """
        with self._changed:
            if self._closed:
                raise Busy(1)
            if not items:  # otherwise the thread would find a kind without items, in an endless loop
                return []
            if self._count() + len(items) > self._queue:
                self._remove_canceled()
            if (waiting := self._count()) + len(items) > self._queue:
                raise Busy(min(max(1, math.ceil(waiting * self._seconds)), _LONGEST_WAIT))
            futures: list[Future[Outcome]] = [Future() for _ in items]
            self._waiting.setdefault(kind, deque()).extend(zip(futures, items, strict=True))
            self._changed.notify()
        return futures

    @property
    def waiting(self) -> int:
        """The number of items in the queue."""
        with self._changed:
            return self._count()

    @property
    def alive(self) -> bool:
        """Whether the thread runs and the batcher is not closed."""
        return not self._closed and self._thread.is_alive()

    def close(self) -> None:
        """Finish the batch that is being computed, and cancel the waiting items."""
        with self._changed:
            self._closed = True
            for future, _ in (each for items in self._waiting.values() for each in items):
                future.cancel()
            self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))

    def _remove_canceled(self) -> None:
        for kind, items in [*self._waiting.items()]:
            if remaining := deque(each for each in items if not each[0].cancelled()):
                self._waiting[kind] = remaining
            else:
                del self._waiting[kind]

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if self._closed:
                    return
                kind = next(iter(self._waiting))  # the kind that was served least recently
            self._compute(kind)

    def _compute(self, kind: Hashable) -> None:
        """Compute one batch of a kind."""
        deadline = time.monotonic() + self._wait
        if (first := self._take(kind, 0.0)) is None:  # all items were canceled
            return
        started = time.monotonic()
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
        except Exception as error:  # the futures raise it where they are awaited
            if not count:
                taken.append(first[0])
            for future in taken:
                future.set_exception(error)
        source.close()
        self._seconds += 0.2 * ((time.monotonic() - started) / max(count, 1) - self._seconds)
        self._observe(count)

    def _take(self, kind: Hashable, deadline: float) -> tuple[Future[Outcome], Item] | None:
        """Remove the next item of a kind from the queue, with its future, and wait for one until ``deadline``.

        Args:
            deadline: on the monotonic clock, in seconds; a time in the past = do not wait.

        Returns:
            The item that is not canceled and waits longest; None if there is none.
        """
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
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._closed:
                    return None
                self._changed.wait(remaining)


def cancel(futures: Iterable[Future[Any]]) -> None:
    """Cancel futures. Items that are being computed already are finished, and their outcomes are dropped."""
    for future in futures:
        future.cancel()
