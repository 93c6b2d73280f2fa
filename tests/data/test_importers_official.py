"""Benchmarks and JSON annotations in their official formats, small ones written here."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers_import import is_upright, labels_of, photograph, refused, words_of
from PIL import Image

from dptr.cli.app import run
from dptr.data.crops import UNREADABLE
from dptr.data.importers import build
from dptr.data.importers.benchmarks import _parse_line
from dptr.data.importers.common import ILLEGIBLE, OTHER_LANGUAGE, OTHER_SIZE
from dptr.data.importers.geometry import DEGENERATE, OUTSIDE_PICTURE
from dptr.text.charset import EMPTY
from dptr.utils.errors import UserError

SLANTED = [(40, 30), (110, 45), (104, 80), (36, 62)]
BOX = [(10, 20), (60, 20), (60, 50), (10, 50)]


def pictures(folder: Path, *names: str) -> Path:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + index, 12), (10 * index, 200, 50)).save(folder / name)
    return folder


def text_file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def json_file(path: Path, value) -> Path:
    return text_file(path, json.dumps(value))


def flat(corners) -> list[float]:
    return [float(value) for corner in corners for value in corner]


# IIIT5K


def mat_file(folder: Path, name: str, words: list[tuple[str, str]]) -> Path:
    """As the official files: a 1 x n struct array with the lexicon fields beside those that are read."""
    scipy_io = pytest.importorskip("scipy.io")
    kind = [("ImgName", object), ("GroundTruth", object), ("smallLexi", object)]
    lexicon = np.array([["THE", "END"]], object)
    records = np.array([[(path, label, lexicon) for path, label in words]], kind)
    scipy_io.savemat(folder / f"{name}.mat", {name: records})
    return folder / f"{name}.mat"


def test_iiit5k(tmp_path):
    pictures(tmp_path, "train/1_1.png", "train/1_2.png", "test/2_1.png")
    train = mat_file(tmp_path, "traindata", [("train/1_1.png", "You"), ("train/1_2.png", ""), ("train/9.png", "gone")])
    words, drops = words_of(tmp_path, "iiit5k")
    assert [(word.label, word.image.width) for word in words] == [("You", 30)]
    assert drops.counts == {EMPTY: 1, UNREADABLE: 1}
    mat_file(tmp_path, "testdata", [("test/2_1.png", "one")])  # a single word is no array
    refused(lambda: words_of(tmp_path, "iiit5k"), "2 files fit", "split")
    assert labels_of(tmp_path, "iiit5k", split="test") == (["one"], {})
    assert labels_of(train, "iiit5k")[0] == ["You"]
    refused(lambda: words_of(train, "iiit5k", split="test"), "not of split 'test'")
    train.rename(tmp_path / "renamed.mat")
    refused(lambda: words_of(tmp_path / "renamed.mat", "iiit5k"), "no struct 'renamed'", "only traindata")
    data = (tmp_path / "testdata.mat").read_bytes()
    for damaged in (b"", b"no mat", data[:150], data[:-40]):
        (tmp_path / "testdata.mat").write_bytes(damaged)
        refused(lambda: words_of(tmp_path, "iiit5k"), "testdata.mat", "damaged .mat file")


def test_a_mat_file_that_ends_its_reader_is_one_line(tmp_path, monkeypatch):
    """SciPy's reader is C code, which flipped bytes may crash: here for certain."""
    mat_file(tmp_path, "traindata", [("a.png", "word")])
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").touch()
    (tmp_path / "scipy" / "io.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    refused(lambda: words_of(tmp_path / "traindata.mat", "iiit5k"), "traindata.mat", "damaged .mat file")


@pytest.mark.parametrize("line", ["a" + " " * 100_000 + "b", "a.png " + "1 " * 50_000, "a.png" + " x" * 50_001])
def test_a_line_of_white_space_takes_no_time(tmp_path, line):
    """A regular expression for "label, number, label" took minutes for 5,000 blanks."""
    (tmp_path / "gt.txt").write_text(line + "\n")
    begin = time.process_time()
    words, drops = words_of(tmp_path, "cute80")
    assert not words and drops.counts == {UNREADABLE: 1}
    assert time.process_time() - begin < 2


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("a.png AB 1 AB", "AB"),
        ("a.png A B 1 A B", "A B"),
        ("a.png, A 1 B", "A 1 B"),
        ("a.png 1 1 1", "1"),
        ("a.png  A ", "A"),
        ("a.png A 1", "A 1"),
        ("a.png 1 A", "1 A"),
    ],
)
def test_the_label_of_cute80_may_be_written_twice(line, label):
    assert _parse_line(line, "") == ("a.png", label)


@pytest.mark.parametrize("kind", ["icdar-scenes", "mlt", "icdar-words", "quads"])
def test_lines_that_fit_in_many_ways_take_no_time(kind, tmp_path):
    names = {"icdar-words": "gt.txt", "quads": "words.tsv"}
    for line in ("1 " * 50_000, "1 1 1 1 " + " " * 50_000 + '"a', '1 1 1 1 "' + '" ' * 50_000, "1." * 50_000):
        (tmp_path / names.get(kind, "gt_1.txt")).write_text(line + "\n")
        begin = time.process_time()
        with contextlib.suppress(UserError):
            words_of(tmp_path, kind)
        assert time.process_time() - begin < 2


def test_half_a_character_from_json_is_counted(tmp_path, capsys):
    for path, label in (("a\\ud800.png", "x"), ("a.png", "x\\ud800")):
        (tmp_path / "table.jsonl").write_text(f'{{"path": "{path}", "label": "{label}"}}\n')
        assert (
            run(["data", "build", str(tmp_path / "table.jsonl"), "--kind", "table", "-o", str(tmp_path / "set")]) == 2
        )
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "no word left (dropped 1 (" in said and "\\ud800" in said


def test_paths_that_lead_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "gt.txt").write_text("../up.png word\n")
    refused(lambda: words_of(tmp_path, "cute80"), "../up.png", "leads out of")


def test_numbers_of_hundreds_of_digits_are_one_line(tmp_path):
    big = 10**400
    content = {
        "imgs": {"1": {"file_name": "1.jpg", "width": big, "height": 1, "set": "train"}},
        "anns": {"1": {"image_id": 1, "utf8_string": "a", "points": [0, 0, 9, 0, 9, 9, 0, 9]}},
    }
    (tmp_path / "TextOCR_0.1_train.json").write_text(json.dumps(content))
    refused(lambda: words_of(tmp_path / "TextOCR_0.1_train.json", "textocr"), "is no list of x, y pairs")


def test_iiit5k_without_scipy(tmp_path, monkeypatch):
    (tmp_path / "traindata.mat").write_bytes(b"")
    (tmp_path / "scipy").mkdir()
    (tmp_path / "scipy" / "__init__.py").touch()  # with nothing in it
    monkeypatch.syspath_prepend(str(tmp_path))
    refused(lambda: words_of(tmp_path, "iiit5k"), "needs scipy", "pip install '.[import]'")


# SVT, SVTP, CUTE80

SVT = """<?xml version="1.0" encoding="utf-8"?>
<tagset>
  <image>
    <imageName>img/14_03.png</imageName>
    <address>341 Southwest 10th Avenue</address>
    <lex>LIVING,ROOM</lex>
    <Resolution x="160" y="120"/>
    <taggedRectangles>
      <taggedRectangle height="30" width="50" x="10" y="20"><tag>LIVING</tag></taggedRectangle>
      <taggedRectangle height="30" width="1" x="-9" y="20"><tag>OUT</tag></taggedRectangle>
      <taggedRectangle height="1" width="3" x="10" y="20"><tag>DOT</tag></taggedRectangle>
      <taggedRectangle height="30" width="50" x="10" y="20"><tag></tag></taggedRectangle>
    </taggedRectangles>
  </image>
  <image>
    <imageName>img/gone.png</imageName>
    <taggedRectangles>
      <taggedRectangle height="9" width="9" x="1" y="1"><tag>GONE</tag></taggedRectangle>
    </taggedRectangles>
  </image>
</tagset>
"""


def test_svt(tmp_path):
    (tmp_path / "img").mkdir()
    photograph(BOX).save(tmp_path / "img" / "14_03.png")
    text_file(tmp_path / "train.xml", SVT)
    words, drops = words_of(tmp_path, "svt")
    assert [(word.label, word.image.size, is_upright(word.image)) for word in words] == [("LIVING", (50, 30), True)]
    assert drops.counts == {EMPTY: 1, OUTSIDE_PICTURE: 1, DEGENERATE: 1, UNREADABLE: 1}
    text_file(tmp_path / "test.xml", SVT)
    refused(lambda: words_of(tmp_path, "svt"), "2 files fit")
    assert len(words_of(tmp_path, "svt", split="test")[0]) == 1
    text_file(tmp_path / "test.xml", SVT.replace("</taggedRectangles>", "", 1))
    refused(lambda: words_of(tmp_path, "svt", split="test"), "test.xml, line 14", "broken XML")
    text_file(tmp_path / "test.xml", SVT.replace('x="10"', 'x="ten"', 1))
    refused(lambda: words_of(tmp_path, "svt", split="test"), "img/14_03.png", "'ten'")
    text_file(tmp_path / "test.xml", "<tagset></tagset>")
    refused(lambda: words_of(tmp_path, "svt", split="test"), "no image element")


def test_svtp_and_cute80(tmp_path):
    pictures(tmp_path / "svtp" / "par1", "13_15_0_par.jpg", "13_15_1_par.jpg")
    text_file(tmp_path / "svtp" / "gt.txt", "13_15_0_par.jpg WYNDHAM\n13_15_1_par.jpg HOTEL 1\ngone.jpg GONE\n")
    assert labels_of(tmp_path / "svtp", "svtp") == (["WYNDHAM", "HOTEL 1"], {UNREADABLE: 1})
    assert labels_of(tmp_path / "svtp", "svtp", images=tmp_path) == ([], {UNREADABLE: 3})
    pictures(tmp_path / "ct80", "timage/001.jpg", "timage/002.jpg")
    text_file(tmp_path / "ct80" / "test_label.txt", "timage/001.jpg RONALDO 1 RONALDO\ntimage/002.jpg 7 1 7\n")
    assert labels_of(tmp_path / "ct80", "cute80") == (["RONALDO", "7"], {})
    text_file(tmp_path / "ct80" / "test_label.txt", "timage/001.jpg RONALDO 1 RONALDO\ntimage/002.jpg\n")
    refused(lambda: words_of(tmp_path / "ct80", "cute80"), "line 2", "a picture and its label")
    refused(lambda: words_of(tmp_path, "cute80"), "no gt.txt or *label*.txt")


@pytest.mark.parametrize("kind", ["svtp", "cute80"])
def test_labels_with_case_a_file_each(tmp_path, kind):
    pictures(tmp_path, "IMG/1.jpg", "IMG/2.jpg", "IMG/10.jpg")
    for name, label in (("1", "One\nlexicon\n"), ("2", "two"), ("10", "TEN!"), ("11", "gone")):
        text_file(tmp_path / "label" / f"{name}.txt", label)
    words, drops = words_of(tmp_path, kind)
    assert [(word.label, word.image.width) for word in words] == [("One", 30), ("two", 31), ("TEN!", 32)]
    assert drops.counts == {UNREADABLE: 1}


# COCO-Text, TextOCR, ArT


def coco(outline: str) -> dict:
    """Two pictures; ``outline`` names the key of version 1 or 2. Outlines begin anywhere, either way round."""
    upright = {"legibility": "legible", "language": "english", "class": "machine printed"}
    other_way = [SLANTED[0], SLANTED[3], SLANTED[2], SLANTED[1]]
    return {
        "imgs": {
            "7": {"id": 7, "file_name": "COCO_train2014_7.png", "width": 160, "height": 120, "set": "train"},
            "8": {"id": 8, "file_name": "COCO_train2014_8.png", "width": 640, "height": 480, "set": "val"},
        },
        "anns": {
            "1": {"image_id": 7, "utf8_string": "R&amp;B", outline: flat(other_way), "bbox": [0, 0, 9, 9], **upright},
            "2": {"image_id": 7, "utf8_string": "box", "bbox": [10, 85, 50, 30], **upright, "language": "na"},
            "3": {"image_id": 7, "bbox": [10, 20, 50, 30], **upright, "legibility": "illegible"},
            "4": {"image_id": 8, "utf8_string": "resized", "bbox": [10, 20, 50, 30], **upright},
        },
        "imgToAnns": {"7": [1, 2, 3], "8": [4]},
        "info": {},
    }


@pytest.mark.parametrize(("name", "outline"), [("COCO_Text.json", "polygon"), ("cocotext.v2.json", "mask")])
def test_coco_text(tmp_path, name, outline):
    (tmp_path / "train2014").mkdir()
    image = photograph(SLANTED, [(10, 85), (60, 85), (60, 115), (10, 115)])
    for number in (7, 8):
        image.save(tmp_path / "train2014" / f"COCO_train2014_{number}.png")
    file = json_file(tmp_path / name, coco(outline))
    words, drops = words_of(tmp_path, "coco-text")
    assert [(word.label, word.key) for word in words] == [("R&B", "annotation 1"), ("box", "annotation 2")]
    assert all(is_upright(word.image) for word in words)
    assert words[1].image.size == (50, 30)
    assert drops.counts == {ILLEGIBLE: 1, OTHER_SIZE: 1}
    assert drops.examples[OTHER_SIZE] == [("annotation 4", "160x120, annotated 640x480")]
    assert labels_of(file, "coco-text", split="train", languages=("english",)) == (
        ["R&B"],
        {OTHER_LANGUAGE: 1, ILLEGIBLE: 1},
    )
    content = coco(outline)
    content["anns"]["1"]["utf8_string"] = None
    assert labels_of(json_file(file, content), "coco-text")[1][EMPTY] == 1
    refused(lambda: words_of(file, "coco-text", split="test"), "no picture of split 'test'", "train, val")


def test_broken_json_is_told(tmp_path):
    content = coco("mask")
    file = text_file(tmp_path / "COCO_Text.json", json.dumps(content, indent=1)[:300])
    refused(lambda: words_of(file, "coco-text"), "COCO_Text.json", "not valid JSON", "line 21 column 4")
    for change, parts in [
        (lambda value: value.pop("imgs"), ("no 'imgs'",)),
        (lambda value: value["anns"]["1"].pop("image_id"), ("annotation 1", "no 'image_id'")),
        (lambda value: value["anns"]["1"].update(image_id=99), ("annotation 1", "picture 99")),
        (lambda value: value["anns"]["1"].update(mask=[1, 2, 3]), ("annotation 1", "x, y pairs")),
        (lambda value: value["anns"]["1"].update(mask=["a", "b"]), ("annotation 1", "x, y pairs")),
        (lambda value: value["anns"]["1"].update(utf8_string=12), ("annotation 1", "'utf8_string' is '12'")),
        (lambda value: value["anns"]["2"].update(bbox=[1, 2]), ("annotation 2", "bbox of 2")),
        (lambda value: value["anns"]["2"].pop("bbox"), ("annotation 2", "no 'bbox'")),
        (lambda value: value["imgs"].update({"7": "x"}), ("imgs", "'7'")),
        (lambda value: value["imgs"]["7"].pop("width"), ("picture 7", "no 'width'")),
        (lambda value: value.update(anns=[]), ("'anns' is '[]', a list",)),
    ]:
        broken = json.loads(json.dumps(content))
        change(broken)
        json_file(file, broken)
        refused(lambda: words_of(file, "coco-text"), "COCO_Text.json", *parts)


def test_textocr(tmp_path):
    (tmp_path / "train").mkdir()
    arch = [(40, 40), (80, 20), (120, 40), (120, 60), (80, 40), (40, 60)]
    upside_down = SLANTED[2:] + SLANTED[:2]
    photograph(upside_down).save(tmp_path / "train" / "a.png")
    content = {
        "imgs": {"a": {"id": "a", "width": 160, "height": 120, "set": "train", "file_name": "train/a.png"}},
        "anns": {
            "a_1": {"image_id": "a", "points": flat(upside_down), "utf8_string": "down", "bbox": [], "area": 1},
            "a_2": {"image_id": "a", "points": flat(arch), "utf8_string": "arch", "bbox": [], "area": 1},
            "a_3": {"image_id": "a", "points": flat(arch), "utf8_string": ".", "bbox": [], "area": 1},
        },
        "imgToAnns": {"a": ["a_1", "a_2", "a_3"]},
    }
    json_file(tmp_path / "TextOCR_0.1_train.json", content)
    words, drops = words_of(tmp_path, "textocr")
    assert [word.label for word in words] == ["down", "arch"]
    assert is_upright(words[0].image)
    assert words[1].image.size == (80, 40)
    assert drops.counts == {ILLEGIBLE: 1}
    content["imgs"]["a"]["filename"] = content["imgs"]["a"].pop("file_name")
    json_file(tmp_path / "TextOCR_0.1_val.json", content)
    assert labels_of(tmp_path, "textocr", split="val")[0] == ["down", "arch"]
    assert labels_of(tmp_path, "textocr", split="train", images=tmp_path / "train")[0] == ["down", "arch"]


def test_art(tmp_path):
    (tmp_path / "train_images").mkdir()
    photograph(SLANTED).save(tmp_path / "train_images" / "gt_17.png")
    word = {"points": SLANTED, "transcription": "ArT", "language": "Latin", "illegibility": False}
    content = {
        "gt_17": [
            word,
            {**word, "transcription": "燎申", "language": "Chinese"},
            {**word, "illegibility": True},
            {**word, "transcription": "###"},
        ],
        "gt_18": [word],
    }
    json_file(tmp_path / "train_labels.json", content)
    words, drops = words_of(tmp_path, "art")
    assert [(word.label, word.key) for word in words] == [("ArT", "gt_17, word 1"), ("燎申", "gt_17, word 2")]
    assert is_upright(words[0].image)
    assert drops.counts == {ILLEGIBLE: 2, UNREADABLE: 1}
    assert labels_of(tmp_path, "art", languages=("chinese",)) == (["燎申"], {OTHER_LANGUAGE: 4})
    json_file(tmp_path / "train_labels.json", {"gt_17": [{"transcription": "a"}]})
    refused(lambda: words_of(tmp_path, "art"), "gt_17, word 1", "no 'points'")
    json_file(tmp_path / "train_labels.json", [1])
    refused(lambda: words_of(tmp_path, "art"), "list where an object")


def test_art_crops(tmp_path):
    (tmp_path / "train_task2_images").mkdir()
    photograph(SLANTED).save(tmp_path / "train_task2_images" / "gt_17_0.png")
    word = {"points": SLANTED, "transcription": "crop", "language": "Latin", "illegibility": False}
    file = json_file(tmp_path / "train_task2_labels.json", {"gt_17_0": [word]})
    [word], drops = words_of(file, "art")
    assert (word.label, is_upright(word.image), drops.total) == ("crop", True, 0)


# Union14M


def test_union14m(tmp_path):
    root = pictures(tmp_path / "Union14M-L", "full_images/art/1.png", "full_images/art/2.png")
    names = ["full_images/art/1.png", "full_images/art/2.png", "full_images/art/3.png"]
    lines = [
        json.dumps({"filename": name, "text": text}) for name, text in zip(names, ("a b", "", "gone"), strict=True)
    ]
    file = text_file(root / "train_annos" / "mmocr-0.x" / "train_easy.jsonl", "\n".join(lines))
    assert labels_of(file, "union14m") == (["a b"], {EMPTY: 1, UNREADABLE: 1})
    entries = [{"img_path": names[0], "instances": [{"text": "a b"}]}, {"img_path": names[1], "instances": []}]
    new = json_file(root / "train_annos" / "mmocr1.0" / "train_easy.json", {"metainfo": {}, "data_list": entries})
    assert labels_of(new, "union14m") == (["a b"], {})
    assert labels_of(new, "union14m", images=root) == (["a b"], {})
    bench = pictures(root / "Union14M-Benchmarks" / "artistic", "imgs/1.png")
    assert labels_of(
        text_file(bench / "annotation.jsonl", '{"filename": "imgs/1.png", "text": "art"}'), "union14m"
    ) == (["art"], {})
    text_file(file, lines[0] + '\n{"filename": "x.png"}\n')
    refused(lambda: words_of(file, "union14m"), "line 2", "no 'text'")
    text_file(file, lines[0] + "\n{]\n")
    refused(lambda: words_of(file, "union14m"), "line 2", "not valid JSON")
    refused(lambda: words_of(root / "none.jsonl", "union14m"), "No such file")
    json_file(new, {"data_list": [{"img_path": "x", "instances": [{}]}]})
    refused(lambda: words_of(new, "union14m"), "entry 1", "no 'text'")


def test_damaged_annotations_are_read_or_refused(tmp_path):
    """Whatever is cut out of a file or put into it: words, drops, or an error of one line, never a crash."""
    pictures(tmp_path, "train2014/COCO_train2014_7.png", "img/14_03.png", "img_1.png", "x.jpg")
    numbers = ",".join(f"{value:g}" for value in flat(SLANTED))
    files = {
        ("coco-text", "COCO_Text.json"): json.dumps(coco("mask")),
        ("svt", "train.xml"): SVT,
        ("icdar-scenes", "gt_img_1.txt"): f'{numbers},one\n10 20 60 50 "x"\n',
        ("mlt", "gt_img_1.txt"): f"{numbers},Latin,one\n",
        ("icdar-words", "gt.txt"): 'x.jpg, "one"\nx.jpg, "t\\\\w\\"o"\n',
        ("cute80", "gt.txt"): "x.jpg ONE 1 ONE\nx.jpg TWO\n",
    }
    parts = [b"", b"\x00", b"\xff", b'"', b",", b"\n", b"null", b"1e400", b"NaN", b"-", b"9" * 5000, b"\\ud800", b"[{"]
    rng = np.random.default_rng(0)
    read, refusals = 0, 0
    for (kind, name), text in files.items():
        for _ in range(60):
            data = text.encode()
            start = int(rng.integers(len(data)))
            cut, put = int(rng.integers(4)), parts[rng.integers(len(parts))]
            (tmp_path / name).write_bytes(data[:start] + put + data[start + cut :])
            try:
                words_of(tmp_path, kind)
                read += 1
            except UserError as error:
                assert "\n" not in str(error)
                refusals += 1
        (tmp_path / name).unlink()
    assert read > 50 and refusals > 50


def test_official_sets_are_built_like_others(tmp_path):
    pictures(tmp_path / "svtp", "a.jpg", "b.jpg")
    text_file(tmp_path / "svtp" / "gt.txt", "a.jpg ONE\nb.jpg TWO\n")
    assert build(tmp_path / "svtp", tmp_path / "out.lmdb", "svtp").words == 2
