import dataclasses
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.config.size import CropSize
from dptr.data.crops import UNREADABLE, load_crops
from dptr.data.labeled import LabeledRoot, open_labeled
from dptr.data.lmdb import write_lmdb
from dptr.data.report import DropReport
from dptr.text.charset import EMPTY, OUTSIDE, TOO_LONG, check_label, resolve_charset
from dptr.utils.errors import UserError

DIGITS = resolve_charset("36")
FULL = resolve_charset("94")


def picture(index: int) -> Image.Image:
    return Image.new("RGB", (40 + index, 20), (10 * index, 255 - 10 * index, 77))


def png(index: int) -> bytes:
    buffer = io.BytesIO()
    picture(index).save(buffer, "PNG")
    return buffer.getvalue()


def make_folder(folder: Path, labels: list[str], text: str | None = None) -> Path:
    """A data set of plain-colored crops ``images/0.png`` ...; ``text`` replaces its label file."""
    (folder / "images").mkdir(parents=True)
    for index in range(len(labels)):
        (folder / "images" / f"{index}.png").write_bytes(png(index))
    lines = [f"images/{index}.png\t{label}\n" for index, label in enumerate(labels)]
    (folder / "labels.tsv").write_bytes((text if text is not None else "".join(lines)).encode())
    return folder


def make_lmdb(folder: Path, labels: list[str]) -> Path:
    write_lmdb(folder, ((png(index), label) for index, label in enumerate(labels)))
    return folder


def refused(function, *parts: str) -> None:
    with pytest.raises(UserError) as error:
        function()
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


@pytest.mark.parametrize("make", [make_folder, make_lmdb])
def test_both_kinds_give_the_same_crops(tmp_path, make):
    labels = ["abc", "Ünï 12", "don't"]
    dataset = open_labeled(make(tmp_path / "set", labels))
    assert len(dataset) == 3
    assert [dataset.label(index) for index in range(3)] == labels
    for index, crop in enumerate(dataset):
        assert (crop.label, crop.key) == (labels[index], dataset.key(index))
        assert np.array_equal(np.asarray(crop.image), np.asarray(picture(index)))
    names = {make_folder: "images/2.png", make_lmdb: "image-000000003"}
    assert dataset.key(2) == names[make]
    with pytest.raises(IndexError):
        dataset[3]


def test_the_file_itself_is_taken_for_its_folder(tmp_path):
    make_folder(tmp_path / "a", ["x"])
    make_lmdb(tmp_path / "b", ["x", "y"])
    assert len(open_labeled(tmp_path / "a" / "labels.tsv")) == 1
    assert len(open_labeled(str(tmp_path / "b" / "data.mdb"))) == 2


def test_bom_crlf_and_blank_lines_are_tolerated(tmp_path):
    text = "\ufeffimages/0.png\tone\r\n\r\nimages/1.png\ttwo\r\n\nimages/2.png\tthree"
    dataset = open_labeled(make_folder(tmp_path, ["", "", ""], text))
    assert [dataset.label(index) for index in range(3)] == ["one", "two", "three"]
    assert [dataset.key(index) for index in range(3)] == [f"images/{index}.png" for index in range(3)]


def test_only_a_newline_ends_a_line(tmp_path):
    """``str.splitlines`` would cut at these characters, which turn up in scraped labels."""
    label = "a\u2028b\x0bc\x85d"
    dataset = open_labeled(make_folder(tmp_path, [label]))
    assert (len(dataset), dataset.label(0)) == (1, label)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("images/0.png\tok\nimages/1.png no tab\n", ("line 2", "no tabs", "path<TAB>label")),
        ("images/0.png\tok\t0.9\n", ("line 1", "2 tabs")),
        ("images/0.png\tok\n\n\tlabel\n", ("line 3", "no path")),
    ],
)
def test_a_broken_line_is_named(tmp_path, text, parts):
    refused(lambda: open_labeled(make_folder(tmp_path, ["", ""], text)), str(tmp_path / "labels.tsv"), *parts)


def test_other_encodings_are_named(tmp_path):
    make_folder(tmp_path, ["x"])
    (tmp_path / "labels.tsv").write_bytes("images/0.png\tok\nimages/0.png\tcafé\n".encode("latin-1"))
    refused(lambda: open_labeled(tmp_path), "labels.tsv", "line 2", "UTF-8")


def test_no_data_set_there(tmp_path):
    refused(lambda: open_labeled(tmp_path / "none"), "none", "no such folder")
    (tmp_path / "notes.txt").write_text("")
    refused(lambda: open_labeled(tmp_path / "notes.txt"), "notes.txt", "not a data set")
    (tmp_path / "empty").mkdir()
    refused(lambda: open_labeled(tmp_path / "empty"), "neither labels.tsv nor data.mdb", "path<TAB>label")
    make_lmdb(tmp_path / "b", ["x"])
    (tmp_path / "b" / "labels.tsv").write_text("images/0.png\tx\n")
    refused(lambda: open_labeled(tmp_path / "b"), "both")


# roots


def make_root(root: Path) -> Path:
    """PARSeq's layout: sets at several depths, a test part that is trained on, a link, unfinished work."""
    make_lmdb(root / "ArT" / "train", ["a", "bb"])
    make_lmdb(root / "LSVT" / "test", ["ccc"])
    make_folder(root / "own", ["d", "e"])
    make_lmdb(root.parent / "elsewhere" / "deep", ["f"])
    (root / "linked").symlink_to(root.parent / "elsewhere")
    (root / "again").symlink_to(root)
    make_lmdb(root / ".unfinished-x", ["g"])
    make_folder(root / "ArT" / "train" / "below", ["h"])
    return root


def test_a_root_is_its_data_sets_one_after_the_other(tmp_path):
    dataset = open_labeled(make_root(tmp_path / "real"))
    assert isinstance(dataset, LabeledRoot)
    assert [dataset.label(index) for index in range(len(dataset))] == ["a", "bb", "ccc", "f", "d", "e"]
    keys = [dataset.key(index) for index in range(len(dataset))]
    assert keys == [
        "ArT/train/image-000000001", "ArT/train/image-000000002", "LSVT/test/image-000000001",
        "linked/deep/image-000000001", "own/images/0.png", "own/images/1.png",
    ]  # fmt: skip
    assert dataset.describe() == (
        f"{tmp_path}/real: 6 crops in 4 data sets: ArT/train 2, LSVT/test 1, linked/deep 1, own 2"
    )
    shown = [0, 1, 0, 0, 0, 1]  # which picture each is in its own set
    for crop, number in zip(dataset, shown, strict=True):
        assert np.array_equal(np.asarray(crop.image), np.asarray(picture(number)))
    assert len(list(dataset.stamps())) == 5  # three LMDBs, two files


@pytest.mark.parametrize("cache", [False, True])
def test_crops_of_a_root_know_their_path_and_their_place(cache, tmp_path):
    """Beside another set, so that weights of ``data.train`` go by the paths given; decoded as each set alone is."""
    root = make_root(tmp_path / "real")
    alone = make_lmdb(tmp_path / "alone", ["x"])
    size = CropSize(height=8, width=16)
    crops = load_crops([alone, root], FULL, 25, size, tmp_path / "cache" if cache else "")
    assert crops.labels == ["x", "a", "bb", "ccc", "f", "d", "e"]
    assert crops.sources == [0, 1, 1, 1, 1, 1, 1]
    assert crops.keys == ["image-000000001", *(open_labeled(root).key(index) for index in range(6))]
    parts = [alone, root / "ArT" / "train", root / "LSVT" / "test", root / "linked" / "deep", root / "own"]
    each = np.concatenate([load_crops([part], FULL, 25, size).arrays for part in parts])
    assert np.array_equal(crops.arrays[0 : len(crops)], each)


def test_a_test_folder_beside_others_is_no_part_of_a_root(tmp_path):
    for name in ("train", "test"):
        make_lmdb(tmp_path / "iiit5k" / name, ["x"])
    refused(
        lambda: open_labeled(tmp_path / "iiit5k"), "test", f"pass the folders that you mean: {tmp_path}/iiit5k/train"
    )
    assert len(open_labeled(tmp_path / "iiit5k" / "test")) == 1
    assert len(open_labeled(tmp_path)) == 2  # below another root it is the project's own choice


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path):
    root = make_root(tmp_path / "real")
    (root / "LSVT").chmod(0)
    try:
        refused(lambda: open_labeled(root), "LSVT", "Permission denied")
    finally:
        (root / "LSVT").chmod(0o755)


# load_crops


def test_crops_are_decoded_at_the_target_size_with_their_sources(tmp_path):
    paths = [make_folder(tmp_path / "a", ["one", "two"]), make_lmdb(tmp_path / "b", ["three"])]
    crops = load_crops(paths, FULL, 25, CropSize())
    assert crops.arrays.shape == (3, 32, 128, 3)
    assert crops.arrays.dtype == np.uint8
    assert crops.labels == ["one", "two", "three"]
    assert crops.keys == ["images/0.png", "images/1.png", "image-000000001"]
    assert crops.sources == [0, 0, 1]
    assert crops.drops.total == 0
    for array, index in zip(crops.arrays, (0, 1, 0), strict=True):
        assert (array == picture(index).getpixel((0, 0))).all()


@pytest.mark.parametrize("make", [make_folder, make_lmdb])
def test_every_sample_is_kept_or_counted_with_its_reason(tmp_path, make):
    labels = ["good", "", " \u200b", "caf\u00e9", "smile \U0001f600", "a" * 26, "a" * 25, "w h i t e", "Upper", "x.y"]
    path = make(tmp_path / "set", labels)
    crops = load_crops([path], DIGITS, 25, CropSize(height=8, width=16))
    assert crops.labels == ["good", "a" * 25, "white", "upper"]
    assert crops.drops.counts == {EMPTY: 2, OUTSIDE: 3, TOO_LONG: 1}
    assert len(crops) + crops.drops.total == len(labels)
    listed = [key for found in crops.drops.examples.values() for key, _ in found]
    names = [open_labeled(path).key(index) for index in (1, 2, 3, 4, 9, 5)]
    assert listed == [f"{path}/{name}" for name in names]
    kept = [0, 6, 7, 8]
    assert [int(array[0, 0, 0]) for array in crops.arrays] == [10 * index for index in kept]


@pytest.mark.parametrize("make", [make_folder, make_lmdb])
def test_empty_labels_can_stand_for_pictures_without_text(tmp_path, make):
    path = make(tmp_path / "set", ["good", "", " \u200b", "caf\u00e9"])
    crops = load_crops([path], DIGITS, 25, CropSize(height=8, width=16), allow_empty=True)
    assert crops.labels == ["good", "", ""] and crops.drops.counts == {OUTSIDE: 1}
    assert [int(array[0, 0, 0]) for array in crops.arrays] == [0, 10, 20]


def test_unreadable_images_are_counted_and_listed_never_replaced(tmp_path):
    labels = [f"word{index}" for index in range(8)]
    path = make_folder(tmp_path / "set", labels)
    (path / "images" / "1.png").write_bytes(b"")
    (path / "images" / "2.png").write_text("not a picture")
    (path / "images" / "3.png").write_bytes(png(3)[:50])
    (path / "images" / "4.png").unlink()
    (path / "images" / "5.png").unlink()
    (path / "images" / "5.png").mkdir()
    crops = load_crops([path], DIGITS, 25, CropSize(height=8, width=16))
    assert crops.labels == ["word0", "word6", "word7"]
    assert crops.arrays.shape[0] == len(crops.keys) == len(crops.sources) == 3
    assert [int(array[0, 0, 0]) for array in crops.arrays] == [0, 60, 70]
    assert crops.drops.counts == {UNREADABLE: 5}
    keys, details = zip(*crops.drops.examples[UNREADABLE], strict=True)
    assert list(keys) == [f"{path}/images/{index}.png" for index in range(1, 6)]
    for detail, part in zip(details, ("zero bytes", "not a picture", "again", "No such file", "folder"), strict=True):
        assert part in detail


def test_unreadable_images_of_an_lmdb(tmp_path):
    write_lmdb(tmp_path / "set", [(png(0), "one"), (b"junk", "two"), (png(2), "three")])
    crops = load_crops([tmp_path / "set"], DIGITS, 25, CropSize(height=8, width=16))
    assert crops.labels == ["one", "three"]
    [(key, detail)] = crops.drops.examples[UNREADABLE]
    assert key == f"{tmp_path}/set/image-000000002"
    assert "not a picture" in detail


def test_odd_pictures_are_read_not_dropped(tmp_path):
    path = make_folder(tmp_path, ["tiny", "wide", "deep"])
    Image.new("RGB", (1, 1), "red").save(path / "images" / "0.png")
    Image.new("L", (20_000, 10), 200).save(path / "images" / "1.png")
    Image.fromarray(np.full((10, 10), 65535, np.uint16)).save(path / "images" / "2.png")
    crops = load_crops([path], DIGITS, 25, CropSize())
    assert crops.labels == ["tiny", "wide", "deep"]
    assert [array.reshape(-1, 3).mean(0).tolist() for array in crops.arrays] == [[255, 0, 0], [200] * 3, [255] * 3]


def test_nothing_left_is_an_error_that_counts(tmp_path):
    path = make_folder(tmp_path / "a", ["", "caf\u00e9", "na\u00efve"])
    refused(
        lambda: load_crops([path], DIGITS, 25, CropSize(height=8, width=16)), str(path), f"1 {EMPTY}", f"2 {OUTSIDE}"
    )
    refused(
        lambda: load_crops([make_folder(tmp_path / "b", [], "")], DIGITS, 25, CropSize(height=8, width=16)),
        "no crop left",
        "empty",
    )
    refused(lambda: load_crops([], DIGITS, 25, CropSize(height=8, width=16)), "labels.tsv")


# DropReport


def filled(reason: str, count: int, listed: int = 1000) -> DropReport:
    report = DropReport(listed=listed)
    for index in range(count):
        report.add(reason, f"key{index}", f"detail{index}")
    return report


def test_report_counts_all_and_lists_the_first():
    report = filled("too long", 5, listed=2)
    assert report.counts == {"too long": 5}
    assert report.examples == {"too long": [("key0", "detail0"), ("key1", "detail1")]}


def test_report_merges():
    report = filled("a", 2, listed=3)
    report.merge(filled("a", 2))
    report.merge(filled("b", 1))
    assert report.counts == {"a": 4, "b": 1}
    assert [key for key, _ in report.examples["a"]] == ["key0", "key1", "key0"]
    assert report.total == 5
    other = filled("c", 1)
    DropReport().merge(other)
    assert dataclasses.asdict(other) == dataclasses.asdict(filled("c", 1))


def test_report_for_people_and_machines():
    report = filled("rare", 1)
    report.merge(filled("frequent", 5))
    assert report.lines(show=2) == [
        "dropped 5 (frequent): key0: detail0; key1: detail1; ...",
        "dropped 1 (rare): key0: detail0",
    ]
    assert DropReport().lines() == []
    value = json.loads(json.dumps(report.to_json()))
    assert value["rare"] == {"count": 1, "examples": [{"key": "key0", "detail": "detail0"}]}
    assert value["frequent"]["count"] == len(value["frequent"]["examples"]) == 5


# Real crops


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="DPTR_DATA names no folder with iiit5k and ic15")
@pytest.mark.parametrize(("name", "kept", "outside"), [("iiit5k/train", 2000, (0, 0)), ("ic15/train", 4464, (4, 389))])
def test_public_training_sets(name, kept, outside):
    """Nothing is lost on the way: what is not kept are labels outside the charset, counted here on their own."""
    path = Path(os.environ["DPTR_DATA"]) / name
    crops = load_crops([path], FULL, 25, CropSize())
    assert len(crops) == kept
    assert crops.drops.counts == ({OUTSIDE: outside[0]} if outside[0] else {})
    assert 10 < crops.arrays.std() < 120
    labels = [line.split("\t")[1] for line in (path / "labels.tsv").read_text(encoding="utf-8").splitlines()]
    reasons = [check_label(label, DIGITS, 25)[1] for label in labels]
    assert reasons.count(OUTSIDE) == outside[1] == sum(not re.fullmatch("[0-9a-zA-Z ]+", label) for label in labels)
    assert len(labels) == kept + outside[0]
