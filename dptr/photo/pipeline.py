"""A pipeline of three threads that take, search, and read pictures; outcomes have the order of the pictures.

The caller's thread takes the pictures and yields the outcomes. A second thread searches the pictures one by one. A
third thread reads the search results in groups. How pictures are grouped depends only on their search results, never on
timing.

If the caller drops the generator, the garbage collector closes it. This may happen in any thread and between any two
lines of code, even inside ``threading`` or ``concurrent.futures`` while these hold a lock. So the threads are stopped
without such a lock, by a flag and by queues that are safe to use at that moment. Only the thread that took the outcomes
waits for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread, get_ident
from typing import Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")
Outcome = TypeVar("Outcome")

Check = Callable[[], None]
"""Raises ``Abandoned`` if nobody waits for the outcomes any more."""


class Abandoned(Exception):
    """Nobody waits for the outcomes any more."""


@dataclass(frozen=True)
class _Failure:
    """An error in the place of a search result or an outcome; it is raised when its turn comes."""

    error: BaseException


class _End:
    """The last entry of a queue."""


@dataclass(frozen=True)
class _Queues(Generic[Item, Found, Outcome]):
    """What the threads hand to each other.

    Attributes:
        items: to search.
        groups: search results to read.
        outcomes: to yield.
        ends: has an entry for each thread that has ended.
        abandoned: is set if nobody waits for the outcomes any more.
    """

    items: SimpleQueue[Item | _End] = field(default_factory=SimpleQueue)
    groups: SimpleQueue[tuple[Found, ...] | _Failure | _End] = field(default_factory=SimpleQueue)
    outcomes: SimpleQueue[Outcome | _Failure] = field(default_factory=SimpleQueue)
    ends: SimpleQueue[None] = field(default_factory=SimpleQueue)
    abandoned: Event = field(default_factory=Event)

    def check(self) -> None:
        """See ``Check``."""
        if self.abandoned.is_set():
            raise Abandoned


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

    An error of ``items``, ``find``, or ``read`` is raised in its turn, after the outcomes before it. If the caller
    gives up (an interrupt, or the generator is closed), the item that is being searched and the batch that is being
    read are finished, and nothing else is started; the caller waits for them.

    Args:
        items: are taken in the caller's thread.
        find: searches an item; it is called in one thread, in order.
        read: turns a group of search results into as many outcomes, in one thread. It calls its second argument between
            steps.
        is_enough: whether search results form a full group. It must be true for the results of ``most_items`` items,
            and of items that weigh ``most_weight``.
        weigh: the weight of an item, which counts toward ``most_weight``.
        most_items, most_weight: limits on the items that were taken but have no outcome yet; once either is reached, no
            further item is taken.
    """
    queues: _Queues[Item, Found, Outcome] = _Queues()
    finder = Thread(target=_find_all, args=(queues, find, is_enough), name="dptr-find")
    reader = Thread(target=_read_all, args=(queues, read), name="dptr-read")
    pending_weights: deque[int] = deque()  # of the items without an outcome
    source, has_more, source_error = iter(items), True, None
    consumer = get_ident()
    started: list[Thread] = []
    try:
        for thread in (finder, reader):
            thread.start()
            started.append(thread)
        while has_more or pending_weights:
            consumer = get_ident()
            has_room = has_more and len(pending_weights) < most_items and sum(pending_weights) < most_weight
            if has_room:
                try:
                    item = next(source)
                except StopIteration:
                    has_more = False
                except Exception as error:
                    has_more, source_error = False, error
                else:
                    pending_weights.append(weigh(item))
                    queues.items.put(item)
                    del item
                if not has_more:
                    queues.items.put(_End())
            if pending_weights and not (has_room and has_more and queues.outcomes.empty()):
                outcome = queues.outcomes.get()
                pending_weights.popleft()
                if isinstance(outcome, _Failure):
                    raise outcome.error
                yield outcome
        if source_error is not None:
            raise source_error
    finally:
        queues.abandoned.set()
        queues.items.put(_End())
        if consumer == get_ident():
            for _ in started:
                queues.ends.get()


def _find_all(
    queues: _Queues[Item, Found, Outcome], find: Callable[[Item], Found], is_enough: Callable[[Sequence[Found]], bool]
) -> None:
    group: list[Found] = []
    while not isinstance(item := queues.items.get(), _End) and not queues.abandoned.is_set():
        try:
            group.append(find(item))
            is_full = is_enough(group)
        except BaseException as error:  # raised when its outcome is due
            queues.groups.put(tuple(group))
            queues.groups.put(_Failure(error))
            group.clear()
        else:
            if is_full:
                queues.groups.put(tuple(group))
                group.clear()
        del item
    queues.groups.put(tuple(group))
    queues.groups.put(_End())
    queues.ends.put(None)


def _read_all(
    queues: _Queues[Item, Found, Outcome], read: Callable[[Sequence[Found], Check], Iterable[Outcome]]
) -> None:
    while not isinstance(group := queues.groups.get(), _End):
        if isinstance(group, _Failure):
            queues.outcomes.put(group)
        elif not queues.abandoned.is_set():
            _read_group(queues, read, group)
        del group
    queues.ends.put(None)


def _read_group(
    queues: _Queues[Item, Found, Outcome],
    read: Callable[[Sequence[Found], Check], Iterable[Outcome]],
    group: tuple[Found, ...],
) -> None:
    try:
        for outcome in read(group, queues.check):
            queues.outcomes.put(outcome)
    except BaseException as error:  # raised when the outcome is due
        queues.outcomes.put(_Failure(error))
