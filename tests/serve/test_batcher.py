"""Items of different callers are computed together; nobody gets another's outcome, and the queue has an end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError

import pytest

from dptr.serve.batcher import Batcher, Busy


class Recorder:
    """Doubles numbers, remembers which came together, and waits at a gate before it begins."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.gate, self.begun = threading.Event(), threading.Event()

    def __call__(self, kind: str, items: Iterator[int]) -> Iterable[int]:
        first = next(items)
        self.begun.set()
        assert self.gate.wait(10)
        numbers = [first, *items]
        self.batches.append((kind, numbers))
        if 13 in numbers:
            raise ValueError("13")
        return [2 * each for each in numbers]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def batcher(recorder: Recorder) -> Iterator[Batcher[int, int]]:
    made: Batcher[int, int] = Batcher(recorder, queue=10, together=4, wait=0.001, name="test")
    yield made
    recorder.gate.set()
    made.close()


def test_what_comes_while_others_are_computed_is_computed_together(recorder: Recorder, batcher: Batcher) -> None:
    first = batcher.submit("a", [1])
    assert recorder.begun.wait(10)
    others = [batcher.submit("a", [number]) for number in (2, 3, 4, 5, 6)]
    recorder.gate.set()
    assert [future.result(10) for futures in (first, *others) for future in futures] == [2, 4, 6, 8, 10, 12]
    assert recorder.batches == [("a", [1, 2, 3, 4]), ("a", [5, 6])]


def test_kinds_are_computed_apart_and_take_turns(recorder: Recorder, batcher: Batcher) -> None:
    futures = batcher.submit("a", [0])
    assert recorder.begun.wait(10)
    futures += [*batcher.submit("b", [1, 2]), *batcher.submit("a", [3, 4, 5, 6, 7]), *batcher.submit("c", [8])]
    recorder.gate.set()
    assert [future.result(10) for future in futures] == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert [kind for kind, _ in recorder.batches] == ["a", "b", "c", "a"]


def test_a_full_queue_refuses_all_or_none(recorder: Recorder, batcher: Batcher) -> None:
    batcher.submit("a", [0])
    assert recorder.begun.wait(10)
    kept = batcher.submit("a", [1, 2, 3, 4, 5, 6, 7])
    with pytest.raises(Busy) as busy:
        batcher.submit("b", [8, 9, 10, 11])
    assert 1 <= busy.value.seconds <= 60 and batcher.waiting == 7
    for future in kept[:4]:
        assert future.cancel()
    more = batcher.submit("b", [8, 9, 10, 11])  # in the place of what nobody waits for any more
    recorder.gate.set()
    assert [future.result(10) for future in (*kept[4:], *more)] == [10, 12, 14, 16, 18, 20, 22]
    assert not {1, 2, 3, 4} & {number for _, numbers in recorder.batches for number in numbers}


def test_nothing_to_compute_is_no_work(batcher: Batcher) -> None:
    """As of a request all of whose pictures are damaged: its kind kept the thread busy until the next one came."""

    class Kind:
        asked = 0

        def __hash__(self) -> int:
            self.asked += 1
            return 0

    kind = Kind()
    assert batcher.submit(kind, []) == [] and batcher.waiting == 0
    time.sleep(0.1)
    assert kind.asked <= 2


def test_an_error_goes_to_those_whose_items_were_taken(recorder: Recorder, batcher: Batcher) -> None:
    recorder.gate.set()
    (broken,) = batcher.submit("a", [13])
    with pytest.raises(ValueError, match="13"):
        broken.result(10)
    (whole,) = batcher.submit("a", [4])
    assert whole.result(10) == 8


def test_an_error_before_an_item_is_taken_is_told_too() -> None:
    def refuse(kind: str, items: Iterator[int]) -> Iterable[int]:
        raise ValueError("no")

    batcher: Batcher[int, int] = Batcher(refuse, queue=2, together=2, wait=0, name="test")
    (future,) = batcher.submit("a", [1])
    with pytest.raises(ValueError, match="no"):
        future.result(10)
    batcher.close()


def test_outcomes_come_before_the_last_item_is_taken() -> None:
    def one_by_one(kind: str, items: Iterator[int]) -> Iterable[int]:
        return (2 * each for each in items)

    batcher: Batcher[int, int] = Batcher(one_by_one, queue=9, together=9, wait=30, name="test")
    futures = batcher.submit("a", [1, 2])
    assert futures[0].result(10) == 2  # though 30 seconds are waited for a third
    batcher.close()
    assert futures[1].result(10) == 4


def test_closing_finishes_what_is_computed_and_cancels_the_rest(recorder: Recorder, batcher: Batcher) -> None:
    (running,) = batcher.submit("a", [1])
    assert recorder.begun.wait(10)
    (waiting,) = batcher.submit("b", [2])
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(10)
    recorder.gate.set()
    closing.join(10)
    assert running.result(10) == 2 and not batcher.alive
    with pytest.raises(Busy):
        batcher.submit("a", [3])
