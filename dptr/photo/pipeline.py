"""Taking pictures, searching them, and reading what was found, all at the same time; outcomes come in order.

The caller's thread takes the pictures and hands the outcomes out. A second thread searches them one by one, and a third
reads what was found, in groups. Which pictures make a group depends on what was found in them, never on time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")
Outcome = TypeVar("Outcome")

Check = Callable[[], None]
"""Raises ``Abandoned`` once nobody waits for the outcomes any more."""


class Abandoned(Exception):
    """Nobody waits for the outcomes any more."""


@dataclass(frozen=True)
class _Failure:
    """In place of what was found or read: an error, raised when its turn comes."""

    error: BaseException


def run_pipeline(
    items: Iterable[Item],
    find: Callable[[Item], Found],
    read: Callable[[Sequence[Found], Check], Iterable[Outcome]],
    is_enough: Callable[[Sequence[Found]], bool],
    weigh: Callable[[Item], int],
    most_items: int,
    most_weight: int,
) -> Iterator[Outcome]:
    """Yield an outcome for each item, in order.

    An error of ``items``, ``find`` or ``read`` is raised in its turn, once the outcomes before it are out. When the
    caller gives up (an interrupt, or a generator that is closed), the item that is just being searched and the batch
    that is just being read are finished, and nothing else.

    Args:
        items: taken in the caller's thread.
        find: is called in one thread, in order.
        read: a group of what was found to as many outcomes, in one thread; it calls its second argument between steps.
        is_enough: whether what was found makes a group. It must be true for ``most_items`` items, and for what weighs
            ``most_weight``.
        weigh: of an item, as it counts for ``most_weight``.
        most_items, most_weight: of the items that are taken and have no outcome yet; beyond these none is taken.
    """
    done: SimpleQueue[Outcome | _Failure] = SimpleQueue()
    group: list[Found] = []
    abandoned = Event()

    def check() -> None:
        if abandoned.is_set():
            raise Abandoned

    def take(item: Item) -> None:
        try:
            group.append(find(item))
            enough = is_enough(group)
        except BaseException as error:  # raised where its outcome is awaited
            flush()
            readers.submit(done.put, _Failure(error))
        else:
            if enough:
                flush()

    def flush() -> None:
        readers.submit(finish, tuple(group))
        group.clear()

    def finish(found: Sequence[Found]) -> None:
        try:
            for outcome in read(found, check):
                done.put(outcome)
        except BaseException as error:  # raised where the outcome is awaited
            done.put(_Failure(error))

    finders, readers = ThreadPoolExecutor(1, "dptr-find"), ThreadPoolExecutor(1, "dptr-read")
    waiting: deque[int] = deque()  # the weight of each item without outcome
    source, more, broken = iter(items), True, None
    try:
        while more or waiting:
            room = more and len(waiting) < most_items and sum(waiting) < most_weight
            if room:
                try:
                    item = next(source)
                except StopIteration:
                    more = False
                except Exception as error:
                    more, broken = False, error
                else:
                    waiting.append(weigh(item))
                    finders.submit(take, item)
                    del item
                if not more:
                    finders.submit(flush)
            if waiting and not (room and more and done.empty()):
                outcome = done.get()
                waiting.popleft()
                if isinstance(outcome, _Failure):
                    raise outcome.error
                yield outcome
        if broken is not None:
            raise broken
    finally:
        abandoned.set()
        for pool in (finders, readers):  # the first hands to the second
            pool.shutdown(cancel_futures=True)
