"""S3 on loopback: read, written, busy, denied, and cut off."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest
from helpers_batch import MODEL, Store, connect_store, draw_words, write_parquet

from dptr.batch.blocks import Record
from dptr.batch.run import plan_reading, run_here, run_task
from dptr.utils.errors import UserError

PICTURES = draw_words(10)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    with connect_store(monkeypatch) as store:
        for number, content in enumerate(PICTURES):
            store.objects[f"bucket/in/{number}.png"] = content
        yield store


def read(store: Store) -> Record:
    task = plan_reading(store.url("in"), {"model": MODEL}, size=4)
    return run_task(task, store.url("out"), run_here)


def rows(store: Store) -> list[dict]:
    parts = sorted(key for key in store.objects if key.startswith("bucket/out/readings/"))
    return [row for key in parts for row in pq.read_table(io.BytesIO(store.objects[key])).to_pylist()]


def test_pictures_of_a_store_are_read_into_a_store(store: Store) -> None:
    total = read(store)
    assert (total.inputs, total.rows, total.failures) == (10, 10, 0)
    assert [row["source"] for row in rows(store)] == [f"{number}.png" for number in range(10)]
    assert "bucket/out/_finished.json" in store.objects and not store.uploads
    before = len(store.requests)
    assert read(store).rows == 10
    assert not [each for each in store.requests[before:] if each.startswith("PUT bucket/out/readings")]


def test_parquet_of_a_store(store: Store, tmp_path) -> None:
    write_parquet(tmp_path / "a.parquet", PICTURES, rows=4)
    store.objects = {"bucket/in/a.parquet": (tmp_path / "a.parquet").read_bytes()}
    assert read(store).rows == 10
    assert [row["row"] for row in rows(store)] == [*range(10)]


def test_a_busy_store_is_asked_again(store: Store) -> None:
    store.busy = 2
    assert read(store).rows == 10 and not store.busy


def test_a_store_that_refuses_is_one_line(store: Store) -> None:
    store.refuses = True
    with pytest.raises(UserError, match=r"check the .*credentials") as caught:
        read(store)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.slow  # Arrow itself waits before it asks again
def test_an_object_that_is_cut_off_leaves_its_block_unfinished(store: Store) -> None:
    store.cut.add("bucket/in/5.png")
    with pytest.raises(UserError, match=r"1 of 3 blocks are not finished; block 1: .*5.png"):
        read(store)
    assert "bucket/out/_finished.json" not in store.objects
    assert len(rows(store)) == 6
    store.cut.clear()
    assert read(store).rows == 10
    assert [row["source"] for row in rows(store)] == [f"{number}.png" for number in range(10)]


def test_an_object_that_was_stored_cut_off_is_a_failure(store: Store) -> None:
    store.objects["bucket/in/5.png"] = PICTURES[5][:80]
    total = read(store)
    assert (total.rows, total.failures) == (9, 1)
