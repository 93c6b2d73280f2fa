"""Every input is listed once, and opened; what is damaged comes with its reason."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers_batch import draw_words, pack_tar, write_folder, write_parquet

from dptr.batch.blocks import cut_blocks
from dptr.batch.inputs import find_source, open_span
from dptr.batch.items import Item, Span
from dptr.data.lmdb import write_lmdb
from dptr.utils.errors import UserError
from dptr.utils.places import Place, check_apart

PICTURES = draw_words(20)


def items_of(url: Path | str, **settings: str) -> list[Item]:
    source, spans = find_source(str(url), **settings)
    return [item for span in spans for item in open_span(source, span)]


def contents(items: list[Item]) -> list[bytes]:
    assert not [item.content for item in items if isinstance(item.content, UserError)]
    return [item.content for item in items]


def test_folders_parquet_archives_and_lmdbs_give_the_same_pictures(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", PICTURES)
    write_parquet(tmp_path / "parquet" / "a.parquet", PICTURES[:13])
    write_parquet(tmp_path / "parquet" / "b.parquet", PICTURES[13:])
    (tmp_path / "tars").mkdir()
    named = [
        (f"{number:03}.{kind}", content)
        for number, each in enumerate(PICTURES)
        for kind, content in (("png", each), ("txt", b"x"))
    ]
    (tmp_path / "tars" / "0.tar").write_bytes(pack_tar(named[:10]))
    (tmp_path / "tars" / "1.tar").write_bytes(pack_tar(named[10:]))
    write_lmdb(tmp_path / "lmdb", [(each, "word") for each in PICTURES])
    for name in ("folder", "parquet", "tars", "lmdb"):
        items = items_of(tmp_path / name)
        assert contents(items) == PICTURES, name
        assert len({(item.source, item.row) for item in items}) == len(PICTURES), name


def test_one_file_is_an_input_too(tmp_path: Path) -> None:
    write_folder(tmp_path, PICTURES[:1])
    write_parquet(tmp_path / "a.parquet", PICTURES[:3])
    assert contents(items_of(tmp_path / "0" / "0000.png")) == PICTURES[:1]
    assert [item.source for item in items_of(tmp_path / "a.parquet")] == ["a.parquet"] * 3


def test_rows_may_name_files_and_hold_hugging_face_s_structs(tmp_path: Path) -> None:
    write_folder(tmp_path / "pictures", PICTURES[:3])
    paths = ["pictures/0/0000.png", str(tmp_path / "pictures" / "0" / "0001.png"), "pictures/none.png", None]
    pq.write_table(pa.table({"file": paths}), tmp_path / "paths.parquet")
    first, second, missing, empty = items_of(tmp_path / "paths.parquet")
    assert [first.content, second.content] == PICTURES[:2] and first.name == paths[0]
    assert "No such file" in str(missing.content) and "row 3 holds no picture" in str(empty.content)
    held = [{"bytes": each, "path": f"{number}.png"} for number, each in enumerate(PICTURES[:2])]
    pq.write_table(pa.table({"image": held, "label": ["a", "b"]}), tmp_path / "struct.parquet")
    items = items_of(tmp_path / "struct.parquet")
    assert contents(items) == PICTURES[:2] and [item.name for item in items] == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("tables", "column", "expected"),
    [
        ([{"image": [b"x"]}], "picture", "no column 'picture', but image; pass another --column"),
        ([{"image": [b"x"]}, {"other": [b"x"]}], "", "b.parquet: no column 'image', but other"),
        ([{"image": [b"x"]}, {"image": ["x"]}], "", "holds paths, but bytes in a.parquet"),
        ([{"image": [1]}], "image", "column 'image' of int64, neither bytes nor paths"),
        ([{"image": [1]}], "", "no column of bytes or paths"),
        ([{"one": [b"x"], "two": [b"x"]}], "", "columns one, two hold bytes; choose one with --column"),
    ],
)  # fmt: skip
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, tables: list[dict], column: str, expected: str) -> None:
    for name, table in zip("ab", tables, strict=False):
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match=expected):
        find_source(str(tmp_path), column)


def test_a_truncated_parquet_file_is_refused_at_once(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", PICTURES)
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a\.parquet: no whole Parquet file .*; copy it again"):
        find_source(str(tmp_path))


def test_rows_of_a_damaged_row_group_are_failures_each(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", PICTURES, rows=10)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4:400] = bytes(396)  # the first pages
    (tmp_path / "a.parquet").write_bytes(data)
    items = items_of(tmp_path)
    assert [item.row for item in items] == [*range(20)]
    assert all(isinstance(item.content, UserError) for item in items[:10])
    assert [item.content for item in items[10:]] == PICTURES[10:]


@pytest.mark.parametrize("cut", [1024 + 100, 512, 3 * 512])
def test_a_truncated_archive_says_so_and_keeps_what_was_before(tmp_path: Path, cut: int) -> None:
    members = [(f"{number}.png", PICTURES[number]) for number in range(5)]
    whole = pack_tar(members)
    ends = [whole.index(f"{number}.png".encode()) for number in range(5)]
    (tmp_path / "a.tar").write_bytes(whole[: ends[3] + (0 if cut == 512 else cut % 512)])
    items = items_of(tmp_path)
    assert [item.content for item in items[:3]] == PICTURES[:3]
    (damage,) = items[3:]
    assert "damaged after 3 pictures" in str(damage.content)


def test_suffixes_and_links_in_archives(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(pack_tar([("1.jpg", b"a"), ("1.mask.png", b"b"), ("2.JPG", b"c"), ("3.txt", b"")]))
    assert [item.content for item in items_of(tmp_path, column="jpg")] == [b"a", b"c"]
    assert [item.content for item in items_of(tmp_path, column="mask.png")] == [b"b"]


def test_what_is_not_there_or_of_several_kinds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is there"):
        find_source(str(tmp_path / "none"))
    with pytest.raises(UserError, match="holds nothing that is read"):
        find_source(str(tmp_path))
    write_folder(tmp_path, PICTURES[:2])
    write_parquet(tmp_path / "a.parquet", PICTURES[:3])
    with pytest.raises(UserError, match="holds pictures and Parquet files; choose with --kind"):
        find_source(str(tmp_path))
    assert len(items_of(tmp_path, kind="parquet")) == 3
    with pytest.raises(UserError, match=r"nothing that is read .archives."):
        find_source(str(tmp_path), kind="tar")
    with pytest.raises(UserError, match="install what it needs"):
        find_source("nosuchscheme://host/folder")


def test_blocks_hold_each_span_once() -> None:
    spans = [Span(f"{number}", 0, 1, rows) for number, rows in enumerate([1, 1, 5, 0, 0, 2, 1, 1])]
    blocks = [*cut_blocks(spans, 3)]
    assert [span for block in blocks for span in block] == spans
    assert [[span.rows for span in block] for block in blocks] == [[1, 1, 5], [0], [0], [2, 1], [1]]


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "a/out"), ("a/in", "a"), ("s3://b/x", "s3://b/x/y?z=1")])
def test_outputs_in_inputs_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(UserError, match="lies in"):
        check_apart(*pair)
    check_apart("a", "ab")


def test_fsspec_s_places_are_read_and_written() -> None:
    place = Place("memory://batch-test")
    place.write("folder/a.txt", b"one")
    place.write("folder/a.txt", b"two")
    assert place.list() == ["folder/a.txt"] and place.read("folder/a.txt") == b"two"
    place.remove("folder/a.txt")
    assert not place.exists("folder/a.txt")
    with pytest.raises(UserError, match="no such file"):
        place.read("folder/a.txt")
