"""Our reader of LMDB's pages: what the lmdb package reads of whole files, and an error or a value of damaged ones."""

from __future__ import annotations

import errno
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from dptr.data.lmdb import write_lmdb
from dptr.utils.errors import UserError
from dptr.utils.lmdb import LmdbReader
from dptr.utils.lmdb_pages import BRANCH, LEAF, Damaged, Pages


def write(folder: Path, values: dict[bytes, bytes | None]) -> Path:
    """Put values by the lmdb package, and take keys with None away; the file."""
    with lmdb.open(str(folder), map_size=1 << 28, lock=False, sync=False) as environment:
        for key, value in values.items():
            with environment.begin(write=True) as transaction:
                transaction.delete(key) if value is None else transaction.put(key, value)
    return folder / "data.mdb"


def read_by_package(folder: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def draw_values(drawn: random.Random, count: int) -> dict[bytes, bytes | None]:
    sizes = 0, 1, 30, 800, 2000, 2040, 4080, 5000, 20_000
    return {drawn.randbytes(drawn.randint(1, 60)): drawn.randbytes(drawn.choice(sizes)) for _ in range(count)}


@pytest.mark.parametrize("count", [0, 1, 2, 40, 700])
def test_values_are_those_of_the_lmdb_package(count: int, tmp_path: Path) -> None:
    drawn = random.Random(count)
    values = draw_values(drawn, count)
    write(tmp_path, values)
    gone = drawn.sample([*values], count // 3)
    write(tmp_path, {**dict.fromkeys(gone), **draw_values(drawn, count // 4)})  # pages that are free, and used again
    expected = read_by_package(tmp_path)
    pages = Pages(tmp_path / "data.mdb")
    assert {key: pages.get(key) for key in expected} == expected
    assert pages.description.entries == len(expected)
    others = [*gone, *(key + b"\0" for key in expected), *(key[:-1] for key in expected), b"\xff" * 200]
    assert [pages.get(key) for key in others if key] == [expected.get(key) for key in others if key]


def test_three_levels_and_many_threads(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    samples = [(b"x" * (index % 300 + 1), f"label {index}") for index in range(20_000)]
    write_lmdb(tmp_path / "set", samples)
    with LmdbReader(tmp_path / "set") as reader, ThreadPoolExecutor(8) as pool:
        chosen = range(0, len(samples), 7)
        assert [*pool.map(reader.image_bytes, chosen)] == [samples[index][0] for index in chosen]
        assert [*pool.map(reader.label, chosen)] == [samples[index][1] for index in chosen]


def outcome(file: Path, keys: list[bytes]) -> list[bytes | str | None]:
    """Values, or the errors in their place."""
    try:
        pages = Pages(file)
    except Damaged as error:
        return [str(error)] * len(keys)
    found: list[bytes | str | None] = []
    for key in keys:
        try:
            found.append(pages.get(key))
        except Damaged as error:
            found.append(str(error))
    pages.close()
    return found


@pytest.mark.parametrize("cases", [400, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_flipped_bytes_end_in_a_value_or_an_error(cases: int, tmp_path: Path) -> None:
    """The lmdb package ends the process for a part of them. Most changes hit what leads to values."""
    drawn = random.Random(cases)
    values = draw_values(drawn, 150)
    whole = write(tmp_path / "whole", values).read_bytes()
    trees = [place for place in range(0, len(whole), 4096) if whole[place + 10] & (BRANCH | LEAF)]
    keys = drawn.sample(sorted(values), 40)
    file = tmp_path / "data.mdb"
    errors = 0
    for _ in range(cases):
        data = bytearray(whole)
        for _ in range(drawn.randint(1, 8)):
            page = drawn.choice([0, 4096, *trees, *trees])
            data[page + drawn.randrange(drawn.choice((24, 160, 4096)))] = drawn.randrange(256)
        file.write_bytes(data)
        begun = time.process_time()
        found = outcome(file, keys)
        assert time.process_time() - begun < 2
        errors += any(isinstance(each, str) for each in found)
    assert errors > cases / 10


def edit(change: Callable[[bytearray, int], None]) -> Callable[[bytearray], None]:
    """Change the root page, whose place is given."""

    def apply(data: bytearray) -> None:
        newest = max(0, 4096, key=lambda place: struct.unpack_from("<Q", data, place + 144)[0])
        change(data, 4096 * struct.unpack_from("<Q", data, newest + 128)[0])

    return apply


def set_at(offset: int, form: str, value: int) -> Callable[[bytearray, int], None]:
    return lambda data, page: struct.pack_into(form, data, page + offset, value)


def point_at_itself(data: bytearray, page: int) -> None:
    count = (struct.unpack_from("<H", data, page + 12)[0] - 16) // 2
    for node in struct.unpack_from(f"<{count}H", data, page + 16):
        struct.pack_into("<HHH", data, page + node, page // 4096, 0, 0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_at(0, "<Q", 7_000), "none of a tree"),
        (set_at(10, "<H", 4), "none of a tree"),
        (set_at(12, "<H", 16), "no nodes"),
        (set_at(12, "<H", 60_000), "no nodes"),
        (set_at(16, "<H", 4095), "beyond its end"),
        (set_at(16, "<H", 2), "beyond its end"),
        (point_at_itself, "32 levels"),
    ],
)
def test_faults_that_are_planted_are_named(
    change: Callable[[bytearray, int], None], expected: str, tmp_path: Path
) -> None:
    write_lmdb(tmp_path / "set", [(b"x" * 900, str(index)) for index in range(400)])
    file = tmp_path / "set" / "data.mdb"
    data = bytearray(file.read_bytes())
    edit(change)(data)
    file.write_bytes(data)
    with pytest.raises(UserError, match=expected) as error:
        LmdbReader(tmp_path / "set").label(3)
    assert str(tmp_path / "set") in str(error.value) and "\n" not in str(error.value)


def test_a_value_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, {b"key": b"v" * 5000})
    data = bytearray(file.read_bytes())
    place = data.rindex(b"\x03\0key") - 6
    assert struct.unpack_from("<HHHH", data, place) == (5000, 0, 1, 3)
    struct.pack_into("<HH", data, place, 0xFFFF, 0xFFFF)
    file.write_bytes(data)
    with pytest.raises(Damaged, match="4294967295 bytes on 2 pages"):
        Pages(file).get(b"key")


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    """A map of it would end the process."""
    write_lmdb(tmp_path / "set", [(b"x" * 9000, str(index)) for index in range(50)])
    reader = LmdbReader(tmp_path / "set")
    os.truncate(tmp_path / "set" / "data.mdb", 3 * 4096)
    for index in range(50):
        with pytest.raises(UserError, match="truncated"):
            reader.image_bytes(index)


def test_a_disk_that_fails_is_an_error_of_that_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lmdb(tmp_path / "set", [(b"x" * 9000, "a")])
    reader = LmdbReader(tmp_path / "set")

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(UserError, match=r"image-000000001 \(Input/output error\); copy"):
        reader.image_bytes(0)
    monkeypatch.undo()
    assert reader.image_bytes(0) == b"x" * 9000


def test_reads_that_take_a_few_bytes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lmdb(tmp_path / "set", [(bytes(range(256)) * 20, "a")])
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, place: pread(file, min(count, 700), place))
    assert LmdbReader(tmp_path / "set").image_bytes(0) == bytes(range(256)) * 20


def test_other_databases_than_plain_ones_are_refused(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path / "a"), max_dbs=1, lock=False) as environment:
        named = environment.open_db(b"inside", dupsort=True)
        with environment.begin(write=True) as transaction:
            transaction.put(b"key", b"value", db=named)
    with pytest.raises(Damaged, match="unknown kind"):
        Pages(tmp_path / "a" / "data.mdb").get(b"inside")
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="no LMDB"):
        LmdbReader(tmp_path / "b")
