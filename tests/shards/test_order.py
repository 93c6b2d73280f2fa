"""Each row once an epoch, whatever the chunks, the windows, and where a run begins."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptr.shards.order import EpochOrder


def make_order(kept: list[list[bool]], seed: int, window: int, stream: int = 0) -> EpochOrder:
    rows = np.array([len(chunk) for chunk in kept])
    counts = np.array([sum(chunk) for chunk in kept])
    return EpochOrder(rows, counts, lambda chunk: np.flatnonzero(kept[chunk]), seed, window, stream)


CHUNKS = st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=1, max_size=12).filter(
    lambda chunks: any(any(chunk) for chunk in chunks)
)


@settings(max_examples=150, deadline=None)
@given(kept=CHUNKS, seed=st.integers(0, 2**40), window=st.integers(1, 60), data=st.data())
def test_each_row_comes_once_an_epoch_from_wherever_one_begins(kept, seed, window, data) -> None:
    order = make_order(kept, seed, window)
    used = {(chunk, row) for chunk, some in enumerate(kept) for row, each in enumerate(some) if each}
    assert order.length == len(used)
    drawn = [order.locate(index) for index in range(3 * len(used))]
    for epoch in range(3):
        assert Counter(drawn[epoch * len(used) : (epoch + 1) * len(used)]) == Counter(used)
    index = data.draw(st.integers(0, len(drawn) - 1))
    fresh = make_order(kept, seed, window)
    assert [fresh.locate(place) for place in range(index, len(drawn))] == drawn[index:]
    backwards = make_order(kept, seed, window)
    assert [backwards.locate(place) for place in reversed(range(len(drawn)))] == drawn[::-1]


def test_epochs_seeds_and_streams_have_orders_of_their_own() -> None:
    kept = [[True] * 10 for _ in range(20)]
    orders = [make_order(kept, seed, 50, stream) for seed, stream in ((0, 0), (1, 0), (0, 1))]
    drawn = [[order.locate(index) for index in range(200)] for order in orders]
    drawn.append([orders[0].locate(index) for index in range(200, 400)])
    assert len({tuple(each) for each in drawn}) == 4
    chunks = [dict.fromkeys(chunk for chunk, _ in each[:50]) for each in (drawn[0], drawn[2])]
    assert chunks[0].keys() == chunks[1].keys(), "streams of one set read the same chunks at a time"


@pytest.mark.parametrize("window", [1, 40, 1000])
def test_a_chunk_is_read_once_an_epoch_and_few_at_a_time(window: int) -> None:
    order = make_order([[True] * 10 for _ in range(30)], 0, window)
    chunks = [order.locate(index)[0] for index in range(300)]
    at_once = max(len(set(chunks[start : start + 10])) for start in range(0, 300, 10))
    assert at_once <= max(1, min(10, window // 10))
    spans = [max(places) - min(places) for places in (np.flatnonzero(np.array(chunks) == n) for n in range(30))]
    assert max(spans) < max(10, window)


def test_rows_are_well_mixed_within_a_window() -> None:
    """The place of a row tells nothing of its chunk, and neighbors part."""
    order = make_order([[True] * 100 for _ in range(10)], 0, 1000)
    drawn = np.array([order.locate(index) for index in range(1000)])
    numbers = drawn[:, 0] * 100 + drawn[:, 1]
    assert abs(np.corrcoef(np.arange(1000), numbers)[0, 1]) < 0.1
    assert np.mean(np.abs(np.diff(numbers)) == 1) < 0.02
