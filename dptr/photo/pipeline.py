"""Taking pictures, searching them, and reading what was found, all at the same time; outcomes come in order.

The caller's thread takes the pictures and hands the outcomes out. A second thread searches them one by one, and a third
reads what was found, in groups. Which pictures make a group depends on what was found in them, never on time.

A generator that was dropped is closed by the garbage collector, in any thread and between any two lines of it, also of
``threading`` and ``concurrent.futures`` where they hold a lock. So threads are told to end without a lock of these
modules, through queues that may be used there, and are waited for only by the thread that took the outcomes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread, get_ident
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


class _End:
    """Behind the last that goes through a queue."""


def run_pipeline(
    items: Iterable[Item],
    find: Callable[[Item], Found],
    read: Callable[[Sequence[Found], Check], Iterable[Outcome]],
    is_enough: Callable[[Sequence[Found]], bool],
    weigh: Callable[[Item], int],
    most_items: int,
    most_weight: int,
) -> Generator[Outcome, None, None]:
    """Yield an outcome for each item, in order.

    An error of ``items``, ``find`` or ``read`` is raised in its turn, once the outcomes before it are out. When the
    caller gives up (an interrupt, or a generator that is closed), the item that is just being searched and the batch
    that is just being read are finished, and nothing else; the caller waits for them.

    Args:
        items: taken in the caller's thread.
        find: is called in one thread, in order.
        read: a group of what was found to as many outcomes, in one thread; it calls its second argument between steps.
        is_enough: whether what was found makes a group. It must be true for ``most_items`` items, and for what weighs
            ``most_weight``.
        weigh: of an item, as it counts for ``most_weight``.
        most_items, most_weight: of the items that are taken and have no outcome yet; beyond these none is taken.
    """
    taken: SimpleQueue[Item | _End] = SimpleQueue()
    groups: SimpleQueue[tuple[Found, ...] | _Failure | _End] = SimpleQueue()
    done: SimpleQueue[Outcome | _Failure] = SimpleQueue()
    ended: SimpleQueue[None] = SimpleQueue()
    abandoned = Event()

    def check() -> None:
        if abandoned.is_set():
            raise Abandoned

    def find_all() -> None:
        group: list[Found] = []
        while not isinstance(item := taken.get(), _End) and not abandoned.is_set():
            try:
                group.append(find(item))
                enough = is_enough(group)
            except BaseException as error:  # raised where its outcome is awaited
                groups.put(tuple(group))
                groups.put(_Failure(error))
                group.clear()
            else:
                if enough:
                    groups.put(tuple(group))
                    group.clear()
            del item
        groups.put(tuple(group))
        groups.put(_End())
        ended.put(None)

    def read_all() -> None:
        while not isinstance(group := groups.get(), _End):
            if isinstance(group, _Failure):
                done.put(group)
            elif not abandoned.is_set():
                read_group(group)
            del group
        ended.put(None)

    def read_group(group: tuple[Found, ...]) -> None:
        try:
            for outcome in read(group, check):
                done.put(outcome)
        except BaseException as error:  # raised where the outcome is awaited
            done.put(_Failure(error))

    waiting: deque[int] = deque()  # the weight of each item without outcome
    source, more, broken = iter(items), True, None
    owner = get_ident()
    threads: list[Thread] = []
    try:
        for name, work in (("dptr-find", find_all), ("dptr-read", read_all)):
            thread = Thread(target=work, name=name)
            thread.start()
            threads.append(thread)
        while more or waiting:
            owner = get_ident()
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
                    taken.put(item)
                    del item
                if not more:
                    taken.put(_End())
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
        taken.put(_End())
        if owner == get_ident():
            for _ in threads:
                ended.get()
