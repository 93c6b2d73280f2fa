"""A job, whatever ends it and how often it begins: each input is once in its output, and no other job is mixed in."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers_batch import MODEL, draw_words, pack_tar, read_rows, read_totals, write_folder, write_parquet

from dptr.batch.blocks import Job, Record, Unfinished
from dptr.batch.inputs import find_source, open_span
from dptr.batch.items import Source
from dptr.batch.run import Run, Task, plan_ocr, plan_reading, plan_synth, run_here, run_task
from dptr.batch.schemas import READINGS
from dptr.batch.work import MOST_TRIES, Do, Work, do_block
from dptr.config.render import CorpusConfig, RenderConfig, SourceConfig
from dptr.config.train import SynthRecipe
from dptr.inference.reader import Reader
from dptr.photo.detect import EMBEDDED
from dptr.synth.datasets import write_folder as write_rendered
from dptr.text.corpus import Corpus
from dptr.utils.errors import UserError
from dptr.utils.places import StoreError

PICTURES = draw_words(20)
SETTINGS = {"model": MODEL}


def read(source: Path, out: Path, size: int = 4, run=run_here, **settings: object) -> Record:
    return run_task(plan_reading(str(source), {**SETTINGS, **settings}, size=size), str(out), run)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "crops", PICTURES)
    return tmp_path / "crops"


def test_readings_are_those_of_the_reader(folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "also.png").write_bytes(PICTURES[0][:60])
    total = read(folder, tmp_path / "out", size=64)
    assert (total.inputs, total.rows, total.failures) == (22, 20, 2)
    rows = read_rows(tmp_path / "out")
    expected = Reader(MODEL).read([folder / row["source"] for row in rows])
    for row, reading in zip(rows, expected, strict=True):
        held = reading.to_dict()
        assert {key: row[key] for key in ("text", "confidence", "runaway", "turned", "notes")} == {
            key: held[key] for key in ("text", "confidence", "runaway", "turned", "notes")
        }
        assert [[each["text"], each["confidence"]] for each in row["characters"]] == held["characters"]
    failures = read_rows(tmp_path / "out", "failures")
    assert {row["source"] for row in failures} == {"bad.png", "also.png"}
    assert all(row["error"].startswith(row["source"]) and "\n" not in row["error"] for row in failures)
    assert read_totals(tmp_path / "out")["inputs"] == 22


def test_names_that_are_no_utf_8_are_read(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a\udcff\n.png").write_bytes(PICTURES[0])
    assert read(tmp_path / "crops", tmp_path / "out").rows == 1
    assert [row["source"] for row in read_rows(tmp_path / "out")] == ["a\\udcff\n.png"]


class Killed(BaseException):
    """What ``kill -9`` is to a process: nothing is caught."""


@dataclass(frozen=True)
class Sums:
    """A work that needs no model: the number of bytes of each picture; what is shorter than 20 is a failure."""

    source: Source
    table: str = "readings"
    schema: pa.Schema = READINGS

    def open(self) -> Do:
        def do(job: Job, block: int, isolate: bool) -> tuple[int, list[dict], list[dict]]:
            items = [item for span in job.spans(block) for item in open_span(self.source, span)]
            held = [
                {"source": item.source, "row": item.row, "text": str(len(item.content)), "error": "short"}
                for item in items
            ]
            rows = [row for row, item in zip(held, items, strict=True) if len(item.content) >= 20]
            return len(items), rows, [row for row in held if row not in rows]

        return do


def sum_up(source: Path, out: Path, run: Run = run_here) -> Record:
    found, spans = find_source(str(source))
    return run_task(Task(Sums(found), {"input": str(source)}, tuple(spans), 4), str(out), run)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", range(10))
def test_a_job_killed_at_any_write_goes_on_and_is_the_same(
    tmp_path: Path, moment: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moments are before and after the renaming of each file that the job writes."""
    folder = tmp_path / "crops"
    write_folder(folder, [*PICTURES[:5], b"no picture"])
    replace, written = os.replace, 0

    def replace_or_die(aside: str, path: str) -> None:
        nonlocal written
        written += 1
        if written > moment and not after:
            raise Killed
        replace(aside, path)
        if written > moment:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_or_die)
        with pytest.raises(Killed):
            sum_up(folder, tmp_path / "out")
    assert (tmp_path / "out" / "_finished.json").exists() == (moment == 9 and after)
    total = sum_up(folder, tmp_path / "out")
    assert (total.inputs, total.rows, total.failures) == (6, 5, 1)
    sum_up(folder, tmp_path / "whole")
    for table in ("readings", "failures"):
        assert read_rows(tmp_path / "out", table) == read_rows(tmp_path / "whole", table)
    assert len({row["source"] for row in read_rows(tmp_path / "out")}) == 5


def test_a_rerun_does_only_what_is_left(folder: Path, tmp_path: Path) -> None:
    def half(job: Job, work: Work, blocks: Sequence[int]) -> Iterator[Record | Unfinished]:
        yield from run_here(job, work, blocks[::2])
        yield Unfinished(blocks[1], "the lights went out")

    with pytest.raises(UserError, match="2 of 5 blocks are not finished; block 1: the lights went out; mend that, and"):
        sum_up(folder, tmp_path / "out", run=half)
    assert not (tmp_path / "out" / "_finished.json").exists()
    asked: list[int] = []

    def note(job: Job, work: Work, blocks: Sequence[int]) -> Iterator[Record | Unfinished]:
        asked.extend(blocks)
        return run_here(job, work, blocks)

    assert sum_up(folder, tmp_path / "out", run=note).rows == 20
    assert asked == [1, 3]
    assert sum_up(folder, tmp_path / "out", run=note).rows == 20 and asked == [1, 3]


def test_another_job_s_folder_and_a_stranger_s_are_refused(folder: Path, tmp_path: Path) -> None:
    read(folder, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for settings, expected in (
        ({"tta": 2}, "tta None, not 2"),
        ({"charset": "10"}, "charset ''"),
        ({"size": 8}, "block"),
    ):
        with pytest.raises(UserError, match=f"holds another job .{expected}"):
            read(folder, tmp_path / "out", **settings)
    write_folder(tmp_path / "others", PICTURES[:4])
    with pytest.raises(UserError, match=r"holds another job .input"):
        read(tmp_path / "others", tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    read(folder, tmp_path / "out", batch_size=2, device="cpu")  # which change only speed
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot write .*: Not a directory"):
        read(folder, tmp_path / "file" / "out")
    with pytest.raises(UserError, match=r"not empty .* and no job of dptr"):
        read(tmp_path / "others", folder)
    (tmp_path / "out" / "_dptr.json").write_text("{")
    with pytest.raises(UserError, match=r"_dptr\.json is damaged"):
        read(folder, tmp_path / "out")


def test_pictures_that_come_later_are_noted(folder: Path, tmp_path: Path) -> None:
    sum_up(folder, tmp_path / "out")
    (folder / "later.png").write_bytes(PICTURES[0])
    notes: list[str] = []
    source, spans = find_source(str(folder))
    task = Task(Sums(source), {"input": str(folder)}, tuple(spans), 4)
    assert run_task(task, str(tmp_path / "out"), run_here, notes.append).rows == 20
    assert "changed since this job began" in notes[0]


def test_files_of_strangers_that_end_the_process_are_isolated(folder: Path, tmp_path: Path) -> None:
    """A block whose process died is decoded apart, and given up at last; one that is done is not done again."""
    asked: list[bool] = []

    def do(job: Job, block: int, isolate: bool) -> tuple[int, list, list]:
        asked.append(isolate)
        raise Killed

    def run(job: Job, work: Work, blocks: Sequence[int]) -> Iterator[Record | Unfinished]:
        for _ in range(MOST_TRIES):
            with pytest.raises(Killed):
                do_block(job, work, do, blocks[0])
        yield do_block(job, work, do, blocks[0])

    with pytest.raises(UserError, match=f"the process that worked on it ended {MOST_TRIES} times"):
        read(folder, tmp_path / "out", run=run)
    assert asked == [False, False, True, True, True]
    assert read(folder, tmp_path / "out").rows == 20  # a new run tries anew
    isolated = read(folder, tmp_path / "apart", isolate=True)
    assert isolated.rows == 20
    assert read_rows(tmp_path / "apart") == read_rows(tmp_path / "out")


def test_a_store_that_does_not_answer_leaves_its_block_for_later(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, name: str) -> bytes:
        raise StoreError(f"{name}: timed out")

    task = plan_reading(str(folder), SETTINGS, size=4)
    with monkeypatch.context() as patch:
        patch.setattr("dptr.batch.inputs.Place.read", fail)
        with pytest.raises(UserError, match=r"5 of 5 blocks are not finished; block 0: .*timed out"):
            run_task(task, str(tmp_path / "out"), run_here)
    assert read(folder, tmp_path / "out").rows == 20


def test_a_full_disk_leaves_whole_files_only(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def fill(aside: str, path: str) -> None:
        if "part-000003" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(aside, path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fill)
        with pytest.raises(UserError, match=r"1 of 5 blocks are not finished; block 3: cannot write .*No space left"):
            sum_up(folder, tmp_path / "out")
    assert len(read_rows(tmp_path / "out")) == 16
    assert not [*(tmp_path / "out").rglob(".partial-*")]
    assert sum_up(folder, tmp_path / "out").rows == 20


def test_two_runs_at_once_are_refused(folder: Path, tmp_path: Path) -> None:
    def run(job: Job, work: Work, blocks: Sequence[int]) -> Iterator[Record | Unfinished]:
        with pytest.raises(UserError, match="another run writes in it"):
            sum_up(folder, tmp_path / "out")
        return run_here(job, work, blocks)

    assert sum_up(folder, tmp_path / "out", run=run).rows == 20


def test_a_machine_with_another_model_refuses(folder: Path, tmp_path: Path) -> None:
    task = plan_reading(str(folder), SETTINGS)
    with pytest.raises(UserError, match="this machine holds another"):
        run_task(replace(task, work=replace(task.work, digest="0" * 16)), str(tmp_path / "out"), run_here)


def test_pages_of_documents_and_photographs(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    photograph = Path(__file__).parents[1] / "golden" / "photograph.jpg"
    (tmp_path / "in" / "photo.jpg").write_bytes(photograph.read_bytes())
    with Image.open(photograph) as picture:
        picture.convert("RGB").save(tmp_path / "in" / "two.pdf", save_all=True, append_images=[picture.convert("RGB")])
    (tmp_path / "in" / "bad.pdf").write_bytes(b"%PDF-1.4 nothing")
    task = plan_ocr(str(tmp_path / "in"), SETTINGS, {"dpi": 72, "text_layer": "ignore"})
    total = run_task(task, str(tmp_path / "out"), run_here)
    assert (total.inputs, total.rows, total.failures) == (3, 3, 1)
    rows = read_rows(tmp_path / "out", "pages")
    assert [(row["source"], row["page"]) for row in rows] == [("photo.jpg", 1), ("two.pdf", 1), ("two.pdf", 2)]
    assert "bread" in rows[0]["text"] and json.loads(rows[0]["json"])["text"] == rows[0]["text"]
    assert [row["source"] for row in read_rows(tmp_path / "out", "failures")] == ["bad.pdf"]


def test_names_are_not_files_of_the_same_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--charset 10`` means the digits, also where a file is called 10."""
    monkeypatch.chdir(tmp_path)
    Path("10").write_text("abc")
    for name in (MODEL, "ppocr"):
        Path(name).mkdir()
    task = plan_reading(str(folder), {**SETTINGS, "charset": "10"})
    assert task.work.settings["charset"] == "10" and task.work.settings["model"] == MODEL
    assert task.asked["charset"] == "0123456789"
    assert plan_reading(str(folder), {**SETTINGS, "charset": "./10"}).asked["charset"] == "abc"
    pages = plan_ocr(str(folder), {**SETTINGS, "detector": "ppocr"}, {})
    assert pages.work.settings["detector"] == pages.asked["detector"] == "ppocr"


def test_another_detector_in_the_same_file_is_another_job(folder: Path, tmp_path: Path) -> None:
    detector = tmp_path / "detector.onnx"

    def plan() -> Task:
        return plan_ocr(str(folder), {**SETTINGS, "detector": str(detector)}, {})

    def do_nothing(job: Job, work: Work, blocks: Sequence[int]) -> Iterator[Record | Unfinished]:
        yield from ()

    detector.write_bytes(EMBEDDED.read_bytes())
    task = plan()
    run_task(task, str(tmp_path / "out"), do_nothing)
    run_task(plan(), str(tmp_path / "out"), do_nothing)  # the same job
    network = onnx.load(EMBEDDED)
    network.producer_name = "another"
    onnx.save(network, detector)
    with pytest.raises(UserError, match=r"holds another job .detector"):
        run_task(plan(), str(tmp_path / "out"), run_here)
    with pytest.raises(UserError, match=r"detector .*: this machine holds another"):
        run_task(task, str(tmp_path / "elsewhere"), run_here)


def test_archives_know_their_inputs_only_when_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for shard in range(3):
        members = [(f"{number}.png", PICTURES[number]) for number in range(shard + 1)]
        (tmp_path / "in" / f"{shard}.tar").write_bytes(pack_tar(members))
    total = read(tmp_path / "in", tmp_path / "out")
    assert (total.inputs, total.rows) == (6, 6)
    assert [(row["source"], row["name"]) for row in read_rows(tmp_path / "out")][:2] == [
        ("0.tar", "0.png"),
        ("1.tar", "0.png"),
    ]


@pytest.mark.slow
def test_rendered_crops_are_those_of_dptr_synth(tmp_path: Path) -> None:
    recipe = SynthRecipe()
    write_rendered(recipe, 0, 10, tmp_path / "folder")
    expected = [line.split("\t") for line in (tmp_path / "folder" / "labels.tsv").read_text().splitlines()]
    for size in (4, 10):
        total = run_task(plan_synth(recipe, 10, size), str(tmp_path / f"{size}"), run_here)
        assert total.rows == 10 and total.failures == 0
        rows = read_rows(tmp_path / f"{size}", "crops")
        assert [row["number"] for row in rows] == [*range(10)]
        assert [row["label"] for row in rows] == [label for _, label in expected]
        assert [row["image"] for row in rows] == [(tmp_path / "folder" / name).read_bytes() for name, _ in expected]
    with pytest.raises(UserError, match=r"holds another job .count 10, not 12"):
        run_task(plan_synth(recipe, 12, 4), str(tmp_path / "4"), run_here)
    read(tmp_path / "4" / "crops", tmp_path / "read")  # what is rendered can be read
    assert len(read_rows(tmp_path / "read")) == 10


def test_a_job_of_other_texts_does_not_go_on(
    font_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another version draws them, or another word list under the same name."""
    random = CorpusConfig(sources=(SourceConfig(kind="pattern", patterns=("random",)),), heldout=0)
    recipe = SynthRecipe(charset="36", corpus=random, render=RenderConfig(fonts=(str(font_folder),)))
    with monkeypatch.context() as earlier:
        earlier.setattr(Corpus, "word", lambda self, index: f"v{index}" if index == 999 else f"w{index}")
        run_task(plan_synth(recipe, 2, 2), str(tmp_path / "job"), run_here)
    monkeypatch.setattr(Corpus, "word", lambda self, index: f"w{index}")
    with pytest.raises(UserError, match=r"holds another job .renderer"):
        run_task(plan_synth(recipe, 2, 2), str(tmp_path / "job"), run_here)


def test_parquet_parts_are_one_table(folder: Path, tmp_path: Path) -> None:
    write_parquet(tmp_path / "in" / "a.parquet", PICTURES)
    read(tmp_path / "in", tmp_path / "out", size=8)
    table = pq.read_table(tmp_path / "out" / "readings")
    assert table.num_rows == 20 and table.column("row").to_pylist() == [*range(20)]
