"""Three steps at the same time give what one after another gives, in little memory, and stop when they are told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from dptr.photo.pipeline import Abandoned, Check, run_pipeline

SECONDS = 20  # until a step that waits for another one gives up: they do not run at the same time


def _run(items, find=lambda item: item, read=lambda found, check: found, together=3, most_items=6, most_weight=1000):
    return run_pipeline(
        items, find, read, lambda found: len(found) >= together, lambda item: 1, most_items, most_weight
    )


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Threads of other tests, such as those of servers, may be there before."""
    before = set(threading.enumerate())
    yield
    own = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("dptr-")]
    for thread in own:
        thread.join(SECONDS)
    assert not [thread.name for thread in own if thread.is_alive()]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_outcomes_come_in_order_and_groups_do_not_depend_on_time(count: int) -> None:
    groups: list[list[int]] = []

    def read(found: Sequence[int], check: Check) -> Iterator[str]:
        groups.append(list(found))
        yield from (str(each) for each in found)

    assert list(_run(range(count), lambda item: 10 * item, read)) == [str(10 * item) for item in range(count)]
    expected = [[10 * item for item in range(count)[start : start + 3]] for start in range(0, count, 3)]
    assert [group for group in groups if group] == expected


def test_the_steps_run_at_the_same_time() -> None:
    """Each step of one item waits for an earlier step of a later item."""
    taken, searched = [threading.Event() for _ in range(9)], [threading.Event() for _ in range(9)]

    def items() -> Iterator[int]:
        for item in range(8):
            taken[item].set()
            yield item

    def find(item: int) -> int:
        assert item > 4 or taken[item + 2].wait(SECONDS)
        searched[item].set()
        return item

    def read(found: Sequence[int], check: Check) -> Iterator[int]:
        for item in found:
            assert item > 4 or searched[item + 2].wait(SECONDS)
            yield item

    assert list(_run(items(), find, read, together=1)) == list(range(8))


@pytest.mark.parametrize(("most_items", "most_weight", "most"), [(4, 1000, 4), (100, 5, 5)])
def test_no_more_items_are_taken_than_agreed(most_items: int, most_weight: int, most: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    for done, _ in enumerate(_run(items(), together=2, most_items=most_items, most_weight=most_weight)):
        assert taken - done <= most


@pytest.mark.parametrize("step", ["take", "find", "read"])
def test_an_error_is_raised_in_its_turn(step: str) -> None:
    def items() -> Iterator[int]:
        for item in range(10):
            if step == "take" and item == 7:
                raise ValueError("broken")
            yield item

    def find(item: int) -> int:
        if step == "find" and item == 7:
            raise ValueError("broken")
        return item

    def read(found: Sequence[int], check: Check) -> Iterator[int]:
        for item in found:
            if step == "read" and item == 7:
                raise ValueError("broken")
            yield item

    outcomes = []
    with pytest.raises(ValueError, match="broken"):
        for outcome in _run(items(), find, read):
            outcomes.append(outcome)
    assert outcomes == list(range(7))


def test_all_ends_when_the_caller_gives_up() -> None:
    read_up_to, ends = [], []

    def read(found: Sequence[int], check: Check) -> Iterator[int]:
        for item in found:
            try:
                check()
            except Abandoned:
                ends.append(item)
                raise
            read_up_to.append(item)
            yield item
            if item == 1:
                assert given_up.wait(SECONDS)

    given_up = threading.Event()
    outcomes = _run(range(1000), read=read, together=3)
    assert [next(outcomes), next(outcomes)] == [0, 1]
    threading.Timer(0.05, given_up.set).start()
    outcomes.close()
    assert read_up_to == [0, 1] and ends == [2]


def test_a_dropped_generator_that_another_thread_collects_ends_without_a_wait() -> None:
    """As where the garbage collector finds one while another thread starts: waiting there stopped everything."""
    begun, released = threading.Event(), threading.Event()

    def find(item: int) -> int:
        if item == 1:
            begun.set()
            assert released.wait(SECONDS)
        return item

    outcomes = _run(range(1000), find, together=1)
    assert next(outcomes) == 0 and begun.wait(SECONDS)
    collector = threading.Thread(target=outcomes.close)
    collector.start()
    collector.join(SECONDS)
    stopped = not collector.is_alive()
    released.set()
    assert stopped
