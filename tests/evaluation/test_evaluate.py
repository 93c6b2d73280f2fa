from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dptr.data.labeled import open_labeled
from dptr.evaluation.evaluate import Report, evaluate
from dptr.inference.prediction import Prediction
from dptr.utils.errors import UserError
from dptr.utils.html import Card, Section, render_page
from dptr.utils.resize import to_array

# label, what the reader says (None: the picture is broken), confidence
TABLE = [
    ("Hello", "hello", 0.9),
    ("café", "cafe", 0.8),
    ("world", "word", 0.7),
    ("<b>&\"x'", "bx", 0.6),  # right under 36
    ("中文", "x", 0.95),  # empty under 36 and 94
    ("", "y", 0.5),
    ("- -", "z", 0.5),  # empty under 36 only
    ("lost", None, 0.0),
    ("a" * 60, "a" * 25, 0.99),  # longer than any model writes: an error, not a drop
    ("silent", "", 0.2),
    ("<script>alert(1)</script>", "scr<i>pt", 0.85),
]


class PlantedReader:
    """Knows a crop by its color, and says what the table says."""

    name = "planted"
    batch_size = 3

    def __init__(self, table: list[tuple[str, str | None, float]]):
        self.table = table
        self.calls: list[int] = []

    def views(self, image: Image.Image) -> list[np.ndarray]:
        return [to_array(image, 8, 16)]

    def predict_views(self, views: Sequence[Sequence[np.ndarray]]) -> list[Prediction]:
        assert {crop.shape for some in views for crop in some} == {(8, 16, 3)}
        self.calls.append(len(views))
        rows = [self.table[int(crop[0, 0, 0]) // 10] for (crop,) in views]
        return [Prediction(text or "", confidence, ()) for _, text, confidence in rows]


def picture(index: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20 + index, 10), (10 * index, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_folder(folder: Path, table: list[tuple[str, str | None, float]]) -> Path:
    folder.mkdir()
    for index, (_, text, _) in enumerate(table):
        (folder / f"{index}.png").write_bytes(picture(index) if text is not None else b"broken")
    lines = [f"{index}.png\t{label}\n" for index, (label, _, _) in enumerate(table)]
    (folder / "labels.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "crops", TABLE)


def test_numbers_are_those_counted_by_hand(data: Path) -> None:
    result = evaluate(PlantedReader(TABLE), [data]).results[0]
    # Under 36: hello, cafe, bx right; world, a*60, silent, scriptalert1script wrong; the others dropped.
    assert (result.data, result.protocol, result.n, result.correct) == (str(data), "36", 7, 3)
    assert result.dropped == {"unreadable image": 1, "empty under protocol": 2, "empty label": 1}
    assert result.word_accuracy == 3 / 7
    # scriptalert1script (18) against script with ip out of order: s c r i p t
    assert result.one_minus_ned == pytest.approx((3 + 4 / 5 + 25 / 60 + 0 + 6 / 18) / 7)
    assert result.cer == pytest.approx((1 + 35 + 6 + 12) / (5 + 4 + 5 + 2 + 60 + 6 + 18))
    assert result.calibration_error == pytest.approx((0.1 + 0.2 + 0.4 + 0.7 + 0.99 + 0.2 + 0.85) / 7, abs=1e-9)
    assert (result.sure_from, result.sure_share) == (None, None)  # the surest, 0.99, is wrong
    assert result.images_per_second > 0


def test_pictures_without_text_count_where_asked_for(tmp_path: Path) -> None:
    table: list[tuple[str, str | None, float]] = [("", "", 0.9), (" ", "-", 0.8), ("", "x", 0.7), ("- -", "", 0.6)]
    reader, data = PlantedReader(table), write_folder(tmp_path / "silent", table)
    result = evaluate(reader, [data], allow_empty=True).results[0]
    assert (result.n, result.correct, result.cer) == (3, 1, None)
    assert result.dropped == {"empty under protocol": 1}
    assert evaluate(reader, [data]).results[0].n == 0


def test_every_crop_is_kept_or_counted_under_every_protocol(data: Path) -> None:
    reader = PlantedReader(TABLE)
    report = evaluate(reader, [data], ["36", "62", "94", "native"])
    assert [result.n + sum(result.dropped.values()) for result in report.results] == [len(TABLE)] * 4
    assert [result.n for result in report.results] == [7, 7, 8, 9]
    # 62 and 94 mind the case of Hello, 94 and native the signs around b, native the accent of café.
    assert [result.correct for result in report.results] == [3, 2, 1, 0]
    assert sum(reader.calls) == len(TABLE) - 1, "each readable crop is read once, whatever the number of protocols"
    assert max(reader.calls) <= reader.batch_size
    errors = {(error.protocol, error.label) for error in report.errors}
    assert len(errors) == len(report.errors) == sum(result.n - result.correct for result in report.results)
    assert report.drops.counts["empty label"] == 1
    named = {(key, reason) for reason, rows in report.drops.examples.items() for key, _ in rows}
    assert (f"{data}/7.png", "unreadable image") in named and (f"{data}/4.png", "empty under protocol 94") in named
    assert report.drops.counts["unreadable image"] == 1


def test_lmdb_gives_what_the_folder_gives(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    from dptr.data.lmdb import write_lmdb

    samples = [((data / f"{index}.png").read_bytes(), label) for index, (label, _, _) in enumerate(TABLE)]
    write_lmdb(tmp_path / "lmdb", samples)
    report = evaluate(PlantedReader(TABLE), [data, tmp_path / "lmdb", data])
    folder, lmdb = report.results  # the folder named twice is judged once
    assert lmdb.data == str(tmp_path / "lmdb")
    for name in ("n", "correct", "word_accuracy", "one_minus_ned", "cer", "calibration_error", "dropped"):
        assert getattr(folder, name) == getattr(lmdb, name), name


def test_json_has_the_documented_fields(data: Path) -> None:
    report = evaluate(PlantedReader(TABLE), [data], ["36", "94"])
    stored = json.loads(json.dumps(report.to_json()))
    assert stored["model"] == "planted"
    assert [(row["data"], row["protocol"]) for row in stored["results"]] == [(str(data), "36"), (str(data), "94")]
    row = stored["results"][0]
    assert set(row) == {
        "data", "protocol", "n", "correct", "word_accuracy", "one_minus_ned", "cer", "calibration_error", "sure_from",
        "sure_share", "runaway", "dropped", "images_per_second",
    }  # fmt: skip
    assert row["word_accuracy"] == pytest.approx(3 / 7) and row["dropped"]["unreadable image"] == 1
    assert stored["dropped"]["unreadable image"]["examples"][0]["key"].endswith("7.png")


def test_tables_hold_every_result(data: Path) -> None:
    report = evaluate(PlantedReader(TABLE), [data], ["36", "native"])
    lines = report.to_terminal().splitlines()
    assert len(lines) == 3 and len({len(line) for line in lines}) == 1
    assert "42.86 %" in lines[1] and "1 unreadable image" in lines[1] and " 0.00 %" in lines[2]
    rows = report.to_markdown().splitlines()
    assert len(rows) == 4 and {row.count("|") for row in rows} == {rows[0].count("|")}
    assert "42.86 %" in rows[2]


@pytest.mark.parametrize("sure", [0.9843561, 0.9996, 0.99999996, 0.95])
def test_the_printed_threshold_accepts_the_crops_that_it_was_found_on(sure: float, tmp_path: Path) -> None:
    """Copied to ``--min-confidence``: not 1.000, and no crop below it that is wrong."""
    table: list[tuple[str, str | None, float]] = [("a", "a", sure), ("b", "b", sure), ("c", "x", sure - 3e-6)]
    report = evaluate(PlantedReader(table), [write_folder(tmp_path / "crops", table)])
    assert (report.results[0].sure_from, report.results[0].sure_share) == (sure, 2 / 3)
    for page in (report.to_terminal(), report.to_markdown(), report.to_html()):
        (printed,) = re.findall(r"([0-9.]+) \(66\.7 %\)", page)
        assert sure - 3e-6 < float(printed) <= sure


def test_a_set_without_a_crop_to_judge_has_no_rate(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "none", [("??", "x", 0.5), ("word", None, 0.5)])
    report = evaluate(PlantedReader([("??", "x", 0.5)] * 2), [data])
    assert report.results[0].n == 0 and report.results[0].word_accuracy is None
    assert report.to_json()["results"][0]["cer"] is None
    assert " - " in report.to_terminal() and "no errors" in report.to_html()


def test_all_data_sets_are_opened_before_the_first_crop_is_read(data: Path, tmp_path: Path) -> None:
    reader = PlantedReader(TABLE)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "labels.tsv").write_text("a.png no tab\n")
    with pytest.raises(UserError, match=r"labels\.tsv.*line 1"):
        evaluate(reader, [data, tmp_path / "bad"])
    with pytest.raises(UserError, match="'12': not known"):
        evaluate(reader, [data], ["12"])
    assert reader.calls == []


def test_progress_ends_at_the_total(data: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate(PlantedReader(TABLE), [data], progress=lambda *step: seen.append(step))
    assert seen[:2] == [(str(data), 0, 11), (str(data), 3, 11)] and seen[-1] == (str(data), 11, 11)


class Page(HTMLParser):
    """Balanced tags, pictures, links, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def gallery(data: Path, limit: int = 500) -> tuple[Report, Page, str]:
    report = evaluate(PlantedReader(TABLE), [data], ["36", "native"])
    html = report.to_html(limit)
    return report, Page(html), html


def test_gallery_stands_alone_and_runs_nothing(data: Path) -> None:
    report, page, html = gallery(data)
    assert len([source for source in page.sources if source.startswith("data:image/jpeg;base64,")]) == len(
        report.errors
    )
    assert all(source.startswith(("data:image/jpeg;base64,", "#s")) for source in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in html and "@import" not in html and "default-src 'none'" in html


def test_gallery_escapes_labels_and_shows_them(data: Path) -> None:
    _, page, _ = gallery(data)
    assert "i" not in page.tags and "b" not in page.tags
    text = "".join(page.texts)
    assert "<script>alert(1)</script>" in text and "scr<i>pt" in text and "中文" in text


def test_page_escapes_every_text() -> None:
    card = Card(Image.new("L", (4, 4)), '" onerror="x', "<i>", 0.5, ["<u>"])
    section = Section({"data": "<s>", "protocol": "<b>", "crops": "<em>"}, [card], 1)
    page = Page(render_page("<a>", "<small>", [section]))
    assert not {"i", "u", "s", "b", "em"} & set(page.tags) and page.tags.count("small") == 1
    assert page.tags.count("a") == 1 and "onerror" not in page.attributes
    assert {"<a>", "<small>", "<i>", "<u>", "<s>", "<em>"} <= set(page.texts)


def test_gallery_shows_each_error_once_the_most_confident_first(data: Path) -> None:
    _, page, html = gallery(data)
    sections = re.findall(r"<section.*?</section>", html, re.DOTALL)
    assert len(sections) == 2
    sure = [[float(value) for value in re.findall(r'value="([\d.]+)"', section)] for section in sections]
    assert sure[0] == [99.0, 85.0, 70.0, 20.0]
    assert sure[1] == sorted(sure[1], reverse=True) and len(sure[1]) == 9
    assert "(nothing)" in page.texts  # what "silent" was read as


@pytest.mark.parametrize(
    ("label", "read", "marked"),
    [
        ("हिन्दी", "हिन्दा", ("हि<mark>न्दी</mark>", "हि<mark>न्दा</mark>")),
        ("น้ำ", "นำ", ("<mark>น้ำ</mark>", "<mark>นำ</mark>")),
        ("abc", "adc", ("a<mark>b</mark>c", "a<mark>d</mark>c")),
    ],
)
def test_gallery_marks_letters_with_their_signs(label: str, read: str, marked: tuple[str, str], tmp_path: Path) -> None:
    """A vowel sign was marked alone, and torn from its letter."""
    data = write_folder(tmp_path / "set", [(label, read, 0.7)])
    html = evaluate(PlantedReader([(label, read, 0.7)]), [data], ["native"]).to_html()
    assert tuple(re.findall(r"<dd><bdi>(.*?)</bdi></dd>", html)) == marked


def test_gallery_has_the_means_of_the_text(data: Path, tmp_path: Path) -> None:
    other = write_folder(tmp_path / "other", [("word", "word", 0.5)])
    report = evaluate(PlantedReader([*TABLE, ("word", "word", 0.5)]), [data, other])
    rows = re.findall(r"<tr>(.*?)</tr>", report.to_html().split("<main>")[0])
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows[-2:]]
    assert [row[0] for row in cells] == ["mean of 2 sets", "all crops together"]
    (mean,) = report.means
    assert (
        cells[0][3] == f"{100 * mean.word_accuracy:.2f} %" and cells[1][3] == f"{100 * mean.word_accuracy_of_all:.2f} %"
    )
    assert {row.count("<td>") + row.count("<th>") for row in rows} == {len(cells[0])}


def test_gallery_names_an_empty_label_as_it_does_an_empty_reading(tmp_path: Path) -> None:
    """The truth of a picture without text was a blank cell."""
    table: list[tuple[str, str | None, float]] = [("", "x", 0.7)]
    report = evaluate(PlantedReader(table), [write_folder(tmp_path / "silent", table)], allow_empty=True)
    html = report.to_html()
    assert '<dt>truth</dt><dd><span class="nothing">(nothing)</span></dd>' in html and "<mark>x</mark>" in html


def test_gallery_pictures_are_those_of_the_errors(data: Path) -> None:
    _, page, _ = gallery(data)
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) for source in page.sources if source[0] == "d"
    ]
    assert [picture.width - 20 for picture in pictures[:4]] == [8, 10, 2, 9]  # the width tells the index


def test_gallery_is_limited_and_says_so(data: Path) -> None:
    _, page, _ = gallery(data, limit=2)
    assert len([source for source in page.sources if source[0] == "d"]) == 4
    assert "the 2 most confident of 4 errors" in "".join(page.texts)


class Oracle(PlantedReader):
    """Reads the labels of a data set in their order."""

    def __init__(self, labels: list[str]):
        super().__init__([])
        self.labels = iter(labels)

    def predict_views(self, views: Sequence[Sequence[np.ndarray]]) -> list[Prediction]:
        return [Prediction(next(self.labels), 1.0, ()) for _ in views]


@pytest.mark.skipif("DPTR_DATA" not in os.environ, reason="DPTR_DATA does not name the folder with ic15/test")
def test_the_ic15_benchmark_keeps_all_its_2077_crops() -> None:
    data = Path(os.environ["DPTR_DATA"]) / "ic15" / "test"
    dataset = open_labeled(data)
    labels = [dataset.label(index) for index in range(len(dataset))]
    for result in evaluate(Oracle(labels), [data], ["36", "94", "native"]).results:
        assert (result.n, result.correct, result.word_accuracy, result.cer, result.dropped) == (2077, 2077, 1, 0, {})
