"""What leaves a set comes back the same: crops, LMDB, JSON of Label Studio."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_label import SIZE, make_set, proposal, save_photo, told, upright
from PIL import Image

from dptr.cli.app import run
from dptr.data.labeled import open_labeled
from dptr.data.report import DropReport
from dptr.label.export import export_crops
from dptr.label.importing import import_labels
from dptr.label.item import Proposal
from dptr.label.label_studio import export_label_studio
from dptr.label.pictures import Pictures
from dptr.label.store import Store
from dptr.utils.errors import UserError

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.mark.parametrize("name", ["labeled", "labeled.lmdb"])
def test_accepted_words_are_exported_and_come_back(tmp_path: Path, name: str) -> None:
    store = make_set(
        tmp_path, ("open", 0.1, "open"), ("sure", 1.0, "sure"), (HOSTILE, 0.3, "labeled"), ("bad", 0.2, "illegible")
    )
    drops = DropReport()
    assert export_crops(store, tmp_path / name, drops) == 2 and not drops.total
    written = open_labeled(tmp_path / name)
    assert [written.label(index) for index in range(2)] == ["sure", HOSTILE]
    items = [*store.each(["sure", "labeled"])]
    for index, item in enumerate(items):
        assert np.array_equal(np.array(written.image(index)), np.array(Pictures(store).cut(item)))
    other = Store(tmp_path / "other")
    assert import_labels(other, tmp_path / name, drops) == 2 and not drops.total
    assert import_labels(other, tmp_path / name, drops) == 0  # once each
    assert drops.counts == {"word of a photograph that is in the set already": 2}
    back = [*other.each()]
    assert told(back) == [("sure", "labeled"), (HOSTILE, "labeled")]
    for item, twin in zip(items, back, strict=True):
        assert np.array_equal(np.array(Pictures(other).cut(twin)), np.array(Pictures(store).cut(item)))


def test_an_export_is_replaced_by_the_next_but_not_what_others_changed(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.1, "labeled"), ("two", 0.1, "open"))
    out = tmp_path / "labeled"
    assert export_crops(store, out, DropReport()) == 1
    store.change(2, 1, "zwei", "labeled")
    assert export_crops(store, out, DropReport()) == 2
    assert (out / "labels.tsv").read_text().splitlines()[1].endswith("\tzwei")
    (out / "labels.tsv").write_text("images/000000001.png\tmine\n")
    with pytest.raises(UserError, match="not as dptr wrote it"):
        export_crops(store, out, DropReport())
    with pytest.raises(UserError, match="the set itself"):
        export_crops(store, store.folder, DropReport())


def test_words_whose_photograph_is_gone_are_counted(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.1, "labeled"))
    path = save_photo(tmp_path / "gone.png")
    store.add(path, 1, SIZE, [proposal("two", state="labeled")])
    os.remove(path)
    drops = DropReport()
    assert export_crops(store, tmp_path / "out", drops) == 1
    assert drops.counts == {"unreadable image": 1}
    assert json.loads((tmp_path / "out" / "import.json").read_text())["dropped"]["unreadable image"]["count"] == 1


def test_label_studio_round_trip(tmp_path: Path) -> None:
    store = make_set(
        tmp_path, ("open", 0.25, "open"), ("sure", 0.995, "sure"), (HOSTILE, 0.3, "labeled"), ("", 0.2, "illegible")
    )
    slanted = Proposal(((10, 40), (60, 20), (66, 40), (16, 62)), "slanted", 0.4, "labeled")
    curved = Proposal(((10, 40), (40, 20), (70, 40), (70, 60), (40, 40), (10, 60)), "curved", 0.4, "labeled")
    whole = Proposal((), "whole", 0.4, "labeled")
    store.add(save_photo(tmp_path / "photos" / "b c.png", 1), 1, SIZE, [slanted, curved, whole])
    out = tmp_path / "label-studio.json"
    assert export_label_studio(store, out) == 7
    assert export_label_studio(store, out) == 7  # over its own
    tasks = json.loads(out.read_text())
    assert [len(task["annotations"]) for task in tasks] == [1, 1]
    assert [len(task["predictions"]) for task in tasks] == [1, 0]
    assert tasks[1]["data"]["ocr"].endswith("/photos/b%20c.png")
    other = Store(tmp_path / "other")
    drops = DropReport()
    assert import_labels(other, out, drops) == 7 and not drops.total
    assert import_labels(other, out, drops) == 0
    assert drops.counts == {"word of a photograph that is in the set already": 7}
    key = [(item.text, item.state, item.outline) for item in store.each()]
    assert sorted((item.text, item.state, item.outline) for item in other.each()) == sorted(key)
    sure = {item.text: item.confidence for item in other.each()}
    assert (sure["open"], sure["sure"]) == (0.25, 0.995)


def test_words_that_are_added_later_make_the_round_trip(tmp_path: Path) -> None:
    """One is drawn, one is taken away and brought back: both get ids behind those of the next photograph."""
    store = make_set(tmp_path, ("first", 0.5, "labeled"), ("back", 0.5, "labeled"))
    store.add(save_photo(tmp_path / "photos" / "b.png", 1), 1, SIZE, [proposal("next", state="labeled")])
    store.add_word(1, proposal("drawn", state="labeled", left=100))
    gone = store.remove(2, 1)
    store.add_word(1, Proposal(gone.outline, gone.text, gone.confidence, gone.state))
    out, drops, other = tmp_path / "label-studio.json", DropReport(), Store(tmp_path / "other")
    assert export_label_studio(store, out) == 4
    assert [len(task["annotations"][0]["result"]) for task in json.loads(out.read_text())] == [9, 3]
    assert import_labels(other, out, drops) == 4 and not drops.total
    texts = ["first", "drawn", "back", "next"]
    assert [item.text for item in store.each()] == [item.text for item in other.each()] == texts


def test_several_tasks_of_a_photograph_are_taken_together(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_photo(tmp_path / f"{name}.png")
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    tasks = [
        {"data": {"ocr": address}, "annotations": [{"result": [result("rectangle", box), result("textarea", word)]}]}
        for address, word in (("a.png", {"text": "one"}), ("b.png", {"text": "two"}), ("x/a.png", {"text": "three"}))
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    store, drops = Store(tmp_path / "set"), DropReport()
    assert import_labels(store, tmp_path / "tasks.json", drops) == 3 and not drops.total
    assert [item.text for item in store.each()] == ["one", "three", "two"] and store.photos() == (2, 0)


def result(kind: str, value: dict[str, Any], id: str = "w") -> dict[str, Any]:
    return {"id": id, "type": kind, "to_name": "image", "original_width": 200, "original_height": 100, "value": value}


def test_what_label_studio_itself_writes_is_read(tmp_path: Path) -> None:
    """As its OCR template exports it: rectangles turned by degrees, texts as lists, pictures by any address."""
    save_photo(tmp_path / "up.png")
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}
    turned = {**box, "x": 50, "rotation": 90, "width": 10, "height": 10}
    results = [
        result("rectangle", box), result("labels", {**box, "labels": ["Handwriting"]}),
        result("textarea", {**box, "text": ["Hello"]}),
        result("rectangle", turned, "t"), result("textarea", {**turned, "text": ["up"]}, "t"),
        result("rectangle", box, "n"),
        result("brush", {"rle": []}, "b"), result("textarea", {"text": ["painted"]}, "b"),
        result("rectangle", {**box, "width": 0}, "z"), result("textarea", {"text": ["flat"]}, "z"),
        result("choices", {"choices": ["sign"]}, "c"),
    ]  # fmt: skip
    annotations = [{"result": [], "was_cancelled": True}, {"result": results}]
    tasks = [
        {"data": {"ocr": "https://host.invalid/upload/1/up.png"}, "annotations": annotations},
        {"data": {"image": "/data/upload/1/gone.png"}, "annotations": [{"result": [result("rectangle", box)]}]},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    store, drops = Store(tmp_path / "set"), DropReport()
    assert import_labels(store, tmp_path / "tasks.json", drops) == 2
    hello, up = store.each()
    assert (hello.text, hello.state, hello.outline) == ("Hello", "labeled", upright(20, 20, 80, 60))
    assert up.outline == ((100, 20), (100, 40), (90, 40), (90, 20))
    assert drops.counts == {
        "neither rectangle nor polygon": 2, "a box without text": 1, "box that cannot be cut out": 1,
        "unreadable image": 1,
    }  # fmt: skip


def polygon(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {"points": [[100 * x / SIZE[0], 100 * y / SIZE[1]] for x, y in points]}


ARC = (20, 60), (60, 40), (100, 60), (90, 80), (60, 60), (30, 80)  # begins left at the top
SLANTED = (20, 20), (90, 30), (88, 50), (18, 40)


@pytest.mark.parametrize("points", [SLANTED, ARC], ids=["corners", "curve"])
@pytest.mark.parametrize("way", [1, -1], ids=["clockwise", "counter"])
def test_a_polygon_may_begin_at_any_corner(points: Sequence[tuple[float, float]], way: int, tmp_path: Path) -> None:
    """Another first corner turned the crop, and one drawn the other way round was refused."""
    save_photo(tmp_path / "a.png")
    results = []
    for start in range(len(points)):
        place = polygon([*points[start:], *points[:start]][::way])
        results += [result("polygon", place, str(start)), result("textarea", {"text": ["word"]}, str(start))]
    (tmp_path / "tasks.json").write_text(json.dumps([{"data": {"ocr": "a.png"}, "annotations": [{"result": results}]}]))
    store, drops = Store(tmp_path / "set"), DropReport()
    assert import_labels(store, tmp_path / "tasks.json", drops) == len(points) and not drops.total
    assert {item.outline for item in store.each()} == {points}


def test_a_polygon_that_dptr_wrote_begins_where_its_text_does(tmp_path: Path) -> None:
    """Text upside down, which the shape alone does not tell."""
    for name, kept in (("ours", True), ("theirs", False)):
        save_photo(tmp_path / "a.png")
        place = result("polygon", polygon([*SLANTED[2:], *SLANTED[:2]])) | (
            {"meta": {"dptr": {"state": "labeled"}}} if kept else {}
        )
        text = result("textarea", {"text": ["word"]})
        task = {"data": {"ocr": "a.png"}, "annotations": [{"result": [place, text]}]}
        (tmp_path / f"{name}.json").write_text(json.dumps([task]))
    for name, begin in (("ours", SLANTED[2]), ("theirs", SLANTED[0])):
        store = Store(tmp_path / name)
        assert import_labels(store, tmp_path / f"{name}.json", DropReport()) == 1
        assert [item.outline[0] for item in store.each()] == [begin]


@pytest.mark.parametrize("parent", [None, 7], ids=["same ids", "parent named"])
def test_an_annotation_that_began_with_a_prediction_takes_its_place(tmp_path: Path, parent: int | None) -> None:
    """Label Studio copies the regions with their ids; one was corrected, one taken away, one is new."""
    save_photo(tmp_path / "a.png")
    boxes = [{**BOX, "x": 10 * place, "width": 8} for place in range(4)]

    def word(place: int, text: str) -> list[dict[str, Any]]:
        name = f"w{place}"
        return [result("rectangle", boxes[place], name), result("textarea", {"text": [text]}, name)]

    task = {
        "data": {"ocr": "a.png"},
        "annotations": [{"result": word(0, "right") + word(3, "new"), "parent_prediction": parent}],
        "predictions": [{"id": 7, "result": word(0, "rihgt") + word(1, "gone")}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    store, drops = Store(tmp_path / "set"), DropReport()
    left = [] if parent else [("gone", "open")]  # nobody says that it was taken away
    assert import_labels(store, tmp_path / "tasks.json", drops) == 2 + len(left) and not drops.total
    assert told([*store.each()]) == [("right", "labeled"), ("new", "labeled"), *left]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "no list of tasks"),
        ("[{}]", "no 'data' in it"),
        ('[{"data": {}}]', "no 'ocr' or 'image'"),
        ("[", "not valid JSON"),
        ('[{"data": {"ocr": "a.png"}, "annotations": [{"result": 3}]}]', "'result' is '3'"),
        ('[{"data": {"ocr": "a.png"}, "annotations": [12]}]', "annotation '12' is no object"),
        ('[{"data": {"ocr": "a.png"}, "annotations": 5}]', "'annotations' is '5'"),
        ('[{"data": {"ocr": "a.png"}, "annotations": {"result": []}}]', "'annotations' is .*, a dict"),
        ('[{"data": {"ocr": "a.png"}, "predictions": {"result": []}}]', "'predictions' is .*, a dict"),
        ('[{"data": {"ocr": "a.png"}, "predictions": [{"result": {}}]}]', "'result' is '{}'"),
    ],
)
def test_other_json_is_refused_in_a_line(tmp_path: Path, content: str, said: str) -> None:
    save_photo(tmp_path / "a.png")
    (tmp_path / "tasks.json").write_text(content)
    with pytest.raises(UserError, match=said):
        import_labels(Store(tmp_path / "set"), tmp_path / "tasks.json", DropReport())


BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}


@pytest.mark.parametrize(
    ("changed", "dropped", "confidence"),
    [
        ({"address": "http://[::1/a.png"}, "unreadable image", None),
        ({"address": "http://x/\0"}, "unreadable image", None),
        ({"address": "\ud800.png"}, "unreadable image", None),
        ({"address": "-"}, "unreadable image", None),
        ({"page": 10**400}, "unreadable image", None),
        ({"value": {**BOX, "x": 10**400}}, "box that cannot be cut out", None),
        ({"value": {**BOX, "width": math.inf}}, "box that cannot be cut out", None),
        ({"value": {**BOX, "rotation": math.inf}}, "box that cannot be cut out", None),
        ({"value": {"points": [[10**400, 0], [9, 0], [9, 9], [0, 9]]}}, "box that cannot be cut out", None),
        ({"value": {"points": 5}}, "box that cannot be cut out", None),
        ({"score": 10**400}, None, 1.0),
        ({"score": -(10**400)}, None, 0.0),
        ({"score": math.nan}, None, 0.5),
        ({"score": "0.9"}, None, 0.5),
        ({"score": 0.9, "meta": 5}, None, 0.9),
        ({"score": 0.9, "meta": {"dptr": 5}}, None, 0.9),
        ({"score": 0.9, "meta": {"dptr": {"confidence": math.nan}}}, None, 0.5),
        ({"predictions": [12]}, "prediction without its words", None),
        ({"predictions": [None]}, "prediction without its words", None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_odd_values_are_counted_or_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], dropped: str | None,
    confidence: float | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save_photo(tmp_path / "a.png")
    word = {
        **result("rectangle", changed.get("value", BOX)),
        **{key: changed[key] for key in changed if key != "value"},
    }
    text = result("textarea", {"text": ["odd"]})
    task = {
        "data": {"ocr": changed.get("address", "a.png"), "page": changed.get("page", 1)},
        "predictions": changed.get("predictions", [{"result": [word, text]}]),
    }
    sound = {"data": {"ocr": "a.png"}, "annotations": [{"result": [result("rectangle", BOX), text]}]}
    Path("tasks.json").write_text(json.dumps([task, sound]))
    store, drops = Store("set"), DropReport()
    assert import_labels(store, Path("tasks.json"), drops) == 2 - bool(dropped)
    assert drops.counts == ({dropped: 1} if dropped else {})
    assert [item.confidence for item in store.each()] == [*([] if confidence is None else [confidence]), 1.0]


def test_a_file_of_others_is_not_overwritten(tmp_path: Path) -> None:
    store = make_set(tmp_path, ("one", 0.1, "labeled"))
    (tmp_path / "mine.json").write_text("[\n{}\n]")
    with pytest.raises(UserError, match="nothing in it says"):
        export_label_studio(store, tmp_path / "mine.json")


def test_crops_that_cannot_be_kept_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(folder / "images" / "1.png")
    (folder / "images" / "2.png").write_bytes(b"no picture")
    rows = ["images/1.png\tone", "images/2.png\ttwo", "images/1.png\t", "images/1.png\t###"]
    (folder / "labels.tsv").write_text("\n".join(rows) + "\n")
    store, drops = Store(tmp_path / "set"), DropReport()
    assert import_labels(store, folder, drops) == 1
    assert drops.counts == {"unreadable image": 1, "label that cannot be kept": 1, "a picture named twice": 1}


def test_the_command_line_goes_both_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_set(tmp_path, ("one", 0.1, "labeled"), ("two", 0.1, "illegible")).close()
    folder = str(tmp_path / "set")
    for style, name, words in (
        ("labels.tsv", "labeled", 1), ("lmdb", "labeled.lmdb", 1), ("label-studio", "label-studio.json", 2),
    ):  # fmt: skip
        assert run(["label", "-o", folder, "--export", style]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'set' / name}\t{words} words\n"
        other = str(tmp_path / f"other-{style}")
        assert run(["label", "-o", other, "--import", str(tmp_path / "set" / name), "--no-page"]) == 0
        assert f"{words} words added" in capsys.readouterr().err
        assert len([*Store(other).each()]) == words
