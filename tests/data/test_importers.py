"""Tables, ICDAR's text files and the data sets that are written from them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers_import import is_upright, labels_of, photograph, refused, words_of
from PIL import Image

from dptr.data import importers
from dptr.data.crops import UNREADABLE
from dptr.data.importers import IMPORTERS, build
from dptr.data.importers.common import BROKEN_LINES, ILLEGIBLE, LONE_SURROGATE, OTHER_LANGUAGE
from dptr.data.importers.geometry import DEGENERATE, OUTSIDE_PICTURE
from dptr.data.labeled import open_labeled
from dptr.data.lmdb import write_lmdb
from dptr.text.charset import EMPTY
from dptr.utils.errors import UserError


def picture(index: int) -> Image.Image:
    return Image.new("RGB", (30 + index, 12), (10 * index, 200, 50))


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    picture(index).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(folder: Path, *names: str) -> Path:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(index))
    return folder


def labeled(folder: Path, *labels: str) -> Path:
    pictures(folder, *(f"{index}.png" for index in range(len(labels))))
    lines = [f"{index}.png\t{label}\n" for index, label in enumerate(labels)]
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def text_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


# Words that are cut out already


def test_a_folder_and_an_lmdb_give_their_words(tmp_path):
    labeled(tmp_path / "a", "one", "", "zwölf", "###")
    write_lmdb(tmp_path / "b", [(png(0), "one"), (b"junk", "two"), (png(2), "three")])
    words, drops = words_of(tmp_path / "a", "folder")
    assert [(word.label, word.key, word.image.width) for word in words] == [
        ("one", "0.png", 30),
        ("zwölf", "2.png", 32),
    ]
    assert drops.counts == {EMPTY: 1, ILLEGIBLE: 1}
    for kind in ("folder", "bctr"):
        words, drops = words_of(tmp_path / "b", kind)
        assert [word.label for word in words] == ["one", "three"]
        assert np.array_equal(np.asarray(words[1].image), np.asarray(picture(2)))
        assert [key for key, _ in drops.examples[UNREADABLE]] == ["image-000000002"]
    refused(lambda: words_of(tmp_path / "a", "bctr"), "no LMDB", "benchmark")
    refused(lambda: words_of(tmp_path, "bctr"), "pass one of b")
    refused(lambda: words_of(tmp_path / "none", "bctr"), "no such folder")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", 'a.png\tone\nsub/b.png\ttwo, "2"\n'),
        ("t.txt", '\ufeffpath\tlabel\r\na.png\tone\r\n\r\nsub/b.png\ttwo, "2"\r\n'),
        ("t.tsv", 'id\tText\tscore\tFileName\n1\tone\t.5\ta.png\n2\ttwo, "2"\t.7\tsub/b.png\n'),
        ("t.csv", 'image,text\na.png,one\nsub/b.png,"two, ""2"""\n'),
        ("t.csv", 'a.png,one\nsub/b.png,"two, ""2"""'),
        (
            "t.jsonl",
            '{"text": "one", "n": 1, "image_path": "a.png"}\n\n{"img": "sub/b.png", "label": "two, \\"2\\""}\n',
        ),
    ],
)
def test_tables_tell_their_columns(tmp_path, name, text):
    pictures(tmp_path / "images", "a.png", "sub/b.png")
    table = text_file(tmp_path / name, text)
    words, drops = words_of(table, "table", images=tmp_path / "images")
    assert [(word.label, word.image.width) for word in words] == [("one", 30), ('two, "2"', 31)]
    assert drops.total == 0
    assert words_of(table, "table")[1].counts == {UNREADABLE: 2}  # paths are relative to the table


def test_columns_are_named_or_numbered(tmp_path):
    pictures(tmp_path, "a.png", "b.png")
    named = text_file(tmp_path / "named.tsv", "where\twhat\tpath\nb.png\tone\tx\n")
    assert labels_of(named, "table", columns=("where", "what")) == (["one"], {})
    bare = text_file(tmp_path / "bare.csv", "1,one,a.png\n2,two,b.png\n")
    assert labels_of(bare, "table", columns=("3", "2")) == (["one", "two"], {})
    lines = text_file(tmp_path / "lines.jsonl", '{"a": "a.png", "b": "one"}')
    assert labels_of(lines, "table", columns=("a", "b")) == (["one"], {})
    refused(lambda: labels_of(named, "table", columns=("were", "what")), "no column 'were'", "did you mean 'where'")
    refused(lambda: labels_of(bare, "table"), "3 columns", "name them with columns")
    refused(lambda: labels_of(bare, "table", columns=("0", "1")), "column 0", "from 1")
    refused(lambda: labels_of(bare, "table", columns=("4", "1")), "line 1", "column 4")
    refused(lambda: labels_of(lines, "table"), "line 1", "name their keys")


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("t.tsv", "a.png\tone\nb.png\n", ("line 2", "1 columns")),
        ("t.tsv", "a.png\tone\nb.png\ttwo\tthree\n", ("line 2", "3 columns")),
        ("t.tsv", "", ("no line",)),
        ("t.csv", "path;label\na.png;one\n", ("one column (path;label)", "with commas between columns")),
        ("t.tsv", "a.png,one\n", ("one column (a.png,one)", "with tabs between columns")),
        ("t.csv", 'a.png,one\nb.png,"two\n', ("line 2", "not valid CSV")),
        ("t.jsonl", '{"path": "a.png", "label": "one"}\n{"path": \n', ("line 2", "not valid JSON")),
        ("t.jsonl", '{"path": "a.png", "label": 12}\n', ("line 1", "'label' is '12', a int")),
        ("t.jsonl", '["a.png", "one"]\n', ("line 1", "no path and label")),
    ],
)
def test_broken_tables_are_refused_with_the_line(tmp_path, name, text, parts):
    table = text_file(tmp_path / name, text)
    refused(lambda: words_of(table, "table"), str(table), *parts)


def test_files_that_cannot_be_read(tmp_path):
    refused(lambda: words_of(tmp_path / "none.tsv", "table"), "none.tsv", "No such file")
    (tmp_path / "latin.tsv").write_bytes("a.png\tone\nb.png\tcafé\n".encode("latin-1"))
    refused(lambda: words_of(tmp_path / "latin.tsv", "table"), "line 2", "UTF-8")


def test_labels_that_no_data_set_can_hold_are_counted(tmp_path):
    pictures(tmp_path, "a.png")
    lines = [
        json.dumps({"path": "a.png", "label": label}) for label in ("a\tb", "a\nb", "\ud800x", "", " \u200b", "ok")
    ]
    table = text_file(tmp_path / "t.jsonl", "\n".join(lines))
    assert labels_of(table, "table") == (["ok"], {BROKEN_LINES: 2, LONE_SURROGATE: 1, EMPTY: 2})


# ICDAR

WORDS = (
    '\ufeffword_1.png, "PROPER"\r\nword_2.png, "a, \\"b\\" \\\\"\r\nword_3.png, "###"\r\n'
    'word_4.png,plain\r\nword_9.png, "x"'
)


def test_icdar_words(tmp_path):
    pictures(tmp_path, *(f"word_{number}.png" for number in (1, 2, 3, 4)))
    text_file(tmp_path / "gt.txt", WORDS)
    text_file(tmp_path / "coords.txt", "word_1.png,1,2,3,4,5,6,7,8\n")
    words, drops = words_of(tmp_path, "icdar-words")
    assert [word.label for word in words] == ["PROPER", 'a, "b" \\', "plain"]
    assert [word.key for word in words] == ["word_1.png", "word_2.png", "word_4.png"]
    assert drops.counts == {ILLEGIBLE: 1, UNREADABLE: 1}
    apart = text_file(tmp_path / "gt" / "Challenge2_Test_Task3_GT.txt", WORDS)
    assert len(words_of(apart.parent, "icdar-words", images=tmp_path)[0]) == 3
    text_file(tmp_path / "gt.txt", 'word_1.png, "PROPER"\nword_2.png\n')
    refused(lambda: words_of(tmp_path, "icdar-words"), "gt.txt, line 2", 'word_1.png, "label"')
    refused(lambda: words_of(tmp_path / "none", "icdar-words"), "no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(lambda: words_of(tmp_path / "empty", "icdar-words"), "no gt.txt or *_GT.txt")


SLANTED = [(40, 30), (110, 45), (104, 80), (36, 62)]


def line(corners, *rest: str) -> str:
    return ",".join([*(str(value) for corner in corners for value in corner), *rest])


def test_icdar_scenes_of_both_years(tmp_path):
    photograph(SLANTED).save(tmp_path / "img_2.png")
    lines = [line(SLANTED, "a, b"), line(SLANTED, "###"), line([(1, 1), (2, 1), (2, 3), (1, 3)], "dot")]
    text_file(tmp_path / "gt_img_2.txt", "\ufeff" + "\r\n".join(lines) + "\r\n")
    photograph([(10, 20), (60, 20), (60, 50), (10, 50)]).save(tmp_path / "img_10.png")
    text_file(
        tmp_path / "gt_img_10.txt",
        '10 20 60 50 "F\\"t"\n10, 20, 60, 50, "kills"\n300 20 360 50 "far"\n10 20 60 50 ""\n',
    )
    text_file(tmp_path / "gt_img_11.txt", line(SLANTED, "lost"))
    text_file(tmp_path / "other.txt", "not read")
    words, drops = words_of(tmp_path, "icdar-scenes")
    assert [word.label for word in words] == ["a, b", 'F"t', "kills"]  # img_2 before img_10
    assert [word.key for word in words] == ["img_2, word 1", "img_10, word 1", "img_10, word 2"]
    assert all(is_upright(word.image) for word in words)
    assert [word.image.size for word in words[1:]] == [(50, 30)] * 2
    assert drops.counts == {ILLEGIBLE: 1, DEGENERATE: 1, OUTSIDE_PICTURE: 1, EMPTY: 1, UNREADABLE: 1}
    assert drops.examples[DEGENERATE] == [("img_2, word 3", "1 1 2 1 2 3 1 3")]


def test_icdar_scenes_apart_from_their_pictures(tmp_path):
    (tmp_path / "images").mkdir()
    photograph(SLANTED).save(tmp_path / "images" / "img_1.png")
    gt = text_file(tmp_path / "gt" / "gt_img_1.txt", line(SLANTED, "1234"))
    assert labels_of(gt.parent, "icdar-scenes", images=tmp_path / "images") == (["1234"], {})
    text_file(gt, line(SLANTED, "ok") + "\n1,2,3,4,text\n")
    refused(lambda: words_of(gt.parent, "icdar-scenes", images=tmp_path / "images"), "gt_img_1.txt, line 2", "x1,y1")
    refused(lambda: words_of(gt.parent, "icdar-scenes", images=tmp_path / "none"), "none", "no such folder")
    refused(lambda: words_of(tmp_path, "icdar-scenes"), "no gt_*.txt")
    refused(lambda: words_of(tmp_path / "none", "icdar-scenes"), "no such folder")
    photograph().save(tmp_path / "images" / "img_1.jpg")
    refused(lambda: words_of(gt.parent, "icdar-scenes", images=tmp_path / "images"), "both img_1.jpg and img_1.png")


def test_mlt_scenes_and_words(tmp_path):
    upside_down = SLANTED[2:] + SLANTED[:2]
    photograph(upside_down).save(tmp_path / "tr_img_00001.png")
    lines = [line(upside_down, "Latin", "a,b"), line(SLANTED, "Arabic", "سلام"), line(SLANTED, "None", "###")]
    text_file(tmp_path / "tr_img_00001.txt", "\n".join(lines))
    words, drops = words_of(tmp_path, "mlt")
    assert [(word.label, is_upright(word.image)) for word in words] == [("a,b", True), ("سلام", False)]
    assert drops.counts == {ILLEGIBLE: 1}
    assert labels_of(tmp_path, "mlt", languages=("latin",)) == (["a,b"], {OTHER_LANGUAGE: 2})
    crops = pictures(tmp_path / "task2", "word_1.png", "word_2.png")
    text_file(crops / "gt.txt", "word_1.png,Latin,a,b\nword_2.png,Korean,한글\n")
    assert labels_of(crops, "mlt") == (["a,b", "한글"], {})
    assert labels_of(crops / "gt.txt", "mlt", languages=("Korean",)) == (["한글"], {OTHER_LANGUAGE: 1})
    text_file(crops / "gt.txt", "word_1.png,Latin\n")
    refused(lambda: words_of(crops, "mlt"), "line 1", "script")
    text_file(tmp_path / "tr_img_00001.txt", line(SLANTED, "Latin"))
    refused(lambda: words_of(tmp_path, "mlt"), "line 1", "script,text")


def test_quads(tmp_path):
    photograph(SLANTED).save(tmp_path / "a.png")
    row = line(SLANTED, "word").replace(",", "\t")
    rows = ["# image\tx1 ...", f"a.png\t{row}", f"a.png\t{row.replace('word', '###')}", f"b.png\t{row}"]
    table = text_file(tmp_path / "words.tsv", "\n".join(rows))
    words, drops = words_of(tmp_path, "quads")
    assert [(word.label, word.key, is_upright(word.image)) for word in words] == [("word", "a.png, line 2", True)]
    assert drops.counts == {ILLEGIBLE: 1, UNREADABLE: 1}
    text_file(table, "image\tx1\ty1\tx2\ty2\tx3\ty3\tx4\ty4\ttext\n" + rows[1])
    assert labels_of(table, "quads") == (["word"], {})
    text_file(table, f"{rows[1]}\na.png\t1\t2\n")
    refused(lambda: words_of(table, "quads"), "line 2", "eight coordinates")


# build


def test_options_belong_to_kinds(tmp_path):
    refused(lambda: words_of(tmp_path, "icdar-word"), "'icdar-word'", "did you mean 'icdar-words'")
    refused(lambda: words_of(tmp_path, "folder", images=tmp_path), "takes no images", "table")
    refused(lambda: words_of(tmp_path, "quads", languages=("Latin",)), "takes no languages, only mlt")
    refused(lambda: words_of(tmp_path, "mlt", columns=("a", "b")), "takes no columns, only table")


@pytest.mark.parametrize("name", ["out", "out.lmdb"])
def test_a_data_set_is_what_the_source_holds(tmp_path, name):
    source = labeled(tmp_path / "source", "one", "", "drei", "vier")
    seen: list[int] = []
    result = build(source, tmp_path / name, "folder", progress=seen.append)
    assert (result.words, result.drops.counts, seen) == (3, {EMPTY: 1}, [1, 2, 3])
    dataset = open_labeled(tmp_path / name)
    assert [dataset.label(index) for index in range(len(dataset))] == ["one", "drei", "vier"]
    for index, original in enumerate((0, 2, 3)):
        assert np.array_equal(np.asarray(dataset[index].image), np.asarray(picture(original)))
    record = json.loads((tmp_path / name / "import.json").read_text())
    assert (record["kind"], record["words"], record["dropped"][EMPTY]["count"]) == ("folder", 3, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["source", name])


@pytest.mark.parametrize("name", ["out", "out.lmdb"])
def test_what_exists_is_kept_compared_or_replaced(tmp_path, name):
    source = labeled(tmp_path / "source", "one", "two")
    out = tmp_path / name
    build(source, out, "folder")
    refused(lambda: build(source, out, "folder"), str(out), "exists", "overwrite")
    assert build(source, out, "folder", resume=True).words == 2
    labeled(source, "one", "zwei")
    with pytest.raises(UserError):
        build(source, out, "folder", resume=True)
    for labels in (["one"], ["one", "two", "three"]):
        labeled(source, *labels)
        with pytest.raises(UserError):
            build(source, out, "folder", resume=True)
    assert open_labeled(out).label(1) == "two"
    labeled(source, "eins", "zwei", "drei")
    assert build(source, out, "folder", overwrite=True).words == 3
    dataset = open_labeled(out)
    assert [dataset.label(index) for index in range(len(dataset))] == ["eins", "zwei", "drei"]
    refused(lambda: build(source, out, "folder", resume=True, overwrite=True), "both resume and overwrite")
    (out / "thesis.txt").write_text("mine")
    refused(lambda: build(source, out, "folder", overwrite=True), "thesis.txt", "not as dptr wrote it")
    assert (out / "thesis.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["source", name])


@pytest.mark.parametrize("name", ["out", "out.lmdb"])
def test_an_interrupted_import_goes_on(tmp_path, name):
    labels = [f"word{index}" for index in range(6)]
    source = labeled(tmp_path / "source", *labels)

    def interrupt(words: int) -> None:
        if words == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / name, "folder", progress=interrupt)
    assert not (tmp_path / name).exists()
    assert build(source, tmp_path / name, "folder", resume=True).words == 6
    dataset = open_labeled(tmp_path / name)
    assert [dataset.label(index) for index in range(6)] == labels
    build(source, tmp_path / "at-once", "folder")
    if name == "out":
        for file in sorted((tmp_path / "at-once").rglob("*")):
            if file.is_file():
                assert file.read_bytes() == (tmp_path / name / file.relative_to(tmp_path / "at-once")).read_bytes()


def test_resuming_with_another_source_is_refused(tmp_path):
    source = labeled(tmp_path / "source", "one", "two", "three")

    def interrupt(words: int) -> None:
        if words == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "out", "folder", progress=interrupt)
    (source / "0.png").write_bytes(png(7))
    refused(lambda: build(source, tmp_path / "out", "folder", resume=True), "another picture", "overwrite")
    assert build(source, tmp_path / "out", "folder").words == 3  # begins anew
    assert open_labeled(tmp_path / "out")[0].image.width == 37


def test_nothing_left_is_an_error_that_counts(tmp_path):
    source = labeled(tmp_path / "source", "", "two")
    (source / "1.png").unlink()
    refused(
        lambda: build(source, tmp_path / "out", "folder"),
        "no word left",
        f"1 ({EMPTY})",
        f"1 ({UNREADABLE})",
        "No such",
    )
    assert not (tmp_path / "out").exists()
    refused(lambda: build(source, source, "folder", overwrite=True), "holds the source")
    refused(lambda: build(source, tmp_path, "folder", overwrite=True), "holds the source")


def test_jpeg_where_it_is_asked_for(tmp_path):
    source = labeled(tmp_path / "source", "one", "two")
    build(source, tmp_path / "out", "folder", quality=90)
    dataset = open_labeled(tmp_path / "out")
    assert dataset.key(0) == "images/000000001.jpg"
    assert np.abs(np.asarray(dataset[1].image).astype(int) - np.asarray(picture(1))).max() < 5
    refused(lambda: build(source, tmp_path / "b", "folder", quality=0), "quality 0", "1 to 95")


def test_a_full_disk_leaves_what_can_be_resumed(tmp_path, monkeypatch):
    source = labeled(tmp_path / "source", "one", "two", "three")
    whole = Path.write_bytes

    def fails(path: Path, data: bytes) -> int:
        if path.name.endswith("000000003.png"):
            raise OSError(28, "No space left on device")
        return whole(path, data)

    monkeypatch.setattr(Path, "write_bytes", fails)
    refused(lambda: build(source, tmp_path / "out", "folder"), "No space left", "resumed")
    monkeypatch.undo()
    assert build(source, tmp_path / "out", "folder", resume=True).words == 3


def test_every_kind_says_what_it_reads():
    for function in IMPORTERS.values():
        assert "Raises:" in function.__doc__ or "arguments as there" in function.__doc__
    assert set(importers.__all__) <= set(dir(importers))


# Real photographs


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="DPTR_DATA names no folder with ic15/scenes")
def test_photographs_of_icdar_2015(tmp_path):
    source = Path(os.environ["DPTR_DATA"]) / "ic15" / "scenes"
    rows = [row.split("\t") for row in (source / "words.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    result = build(source, tmp_path / "words.lmdb", "quads")
    illegible = sum(row[9] == "###" for row in rows)
    assert result.drops.counts == {ILLEGIBLE: illegible}
    assert result.words == len(rows) - illegible
    dataset = open_labeled(tmp_path / "words.lmdb")
    legible = [row for row in rows if row[9] != "###"]
    assert [dataset.label(index) for index in range(len(dataset))] == [row[9] for row in legible]
    for index, row in enumerate(legible):
        corners = np.array(row[1:9], float).reshape(4, 2)
        sides = np.linalg.norm(np.roll(corners, -1, 0) - corners, axis=1)
        width, height = dataset[index].image.size
        assert abs(width - (sides[0] + sides[2]) / 2) <= 1 and abs(height - (sides[1] + sides[3]) / 2) <= 1
